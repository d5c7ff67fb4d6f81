//! Pure. The inputs of the clusters and endpoints of one service, for the proxies of one audience. Clusters and
//! endpoints depend on nothing else.

use super::audience::Audience;
use super::workload::CLUSTER_ID;
use crate::catalog::backing::Backing;
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::policy::Mesh;
use crate::catalog::same::Same;
use crate::catalog::service::{Resolution, Service, ServiceEndpoint, ServicePort};
use crate::catalog::visibility::selects;
use crate::flow::Protocol;
use api::model::endpoint::{Endpoint, EndpointWorkload, LoadAssignment, LocalityEndpoints};
use api::name::ClusterName;
use std::sync::Arc;

/// An upstream service. Equal values give equal resources.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Whether the proxies are gateways.
    pub(super) gateway: bool,
    /// Whether they support Istio's own filters.
    pub(super) istio_extensions: bool,
    /// The service and everything that its endpoints depend on.
    pub(super) backing: Backing,
    rule: Option<Same<DestinationRule>>,
}

impl Upstream {
    pub(super) fn new(audience: &Audience, backing: Backing, rule: Option<&Arc<DestinationRule>>) -> Self {
        let Audience { gateway, istio_extensions, .. } = *audience;
        Self { gateway, istio_extensions, backing, rule: rule.map(Into::into) }
    }

    /// Whether this was made for exactly this service and rule.
    pub fn is_of(&self, service: &Arc<Service>, rule: Option<&Arc<DestinationRule>>) -> bool {
        let same_rule = match (&self.rule, rule) {
            (Some(own), Some(other)) => Arc::ptr_eq(&own.0, other),
            (None, None) => true,
            _ => false,
        };
        same_rule && Arc::ptr_eq(self.backing.service(), service)
    }

    /// The service.
    pub(super) fn service(&self) -> &Service {
        self.backing.service()
    }

    /// The settings of the mesh.
    pub(super) fn mesh(&self) -> &Mesh {
        self.backing.mesh()
    }

    /// The DestinationRule that applies to the service.
    pub(super) fn rule(&self) -> Option<&DestinationRule> {
        self.rule.as_deref()
    }

    /// The endpoints of all clusters that can have some.
    pub(super) fn assignments(&self) -> Vec<LoadAssignment> {
        let service = self.service();
        if service.resolution != Resolution::Endpoints {
            return vec![];
        }
        let mut assignments = vec![];
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let subsets = self.rule().into_iter().flat_map(|r| &r.subsets);
            for subset in std::iter::once("").chain(subsets.map(|s| s.name.as_str())) {
                let cluster = ClusterName::outbound(&service.host, port.number, subset).to_string();
                assignments.push(self.assignment(port, subset, cluster));
            }
        }
        assignments
    }

    /// The endpoints of a port, or of a subset of it, in their xDS form.
    pub(super) fn assignment(&self, port: &ServicePort, subset: &str, cluster: String) -> LoadAssignment {
        let labels = self.rule().and_then(|r| r.subset(subset)).map(|s| &s.labels);
        let chosen = |e: &ServiceEndpoint| labels.is_none_or(|l| selects(l, &e.labels));
        let endpoints: Vec<Endpoint> =
            self.backing.endpoints(port).into_iter().filter(chosen).map(endpoint).collect();
        let localities = if endpoints.is_empty() {
            vec![]
        } else {
            vec![LocalityEndpoints { endpoints, ..LocalityEndpoints::default() }]
        };
        LoadAssignment { cluster, localities }
    }
}

fn endpoint(from: ServiceEndpoint) -> Endpoint {
    let workload = from.workload.map(|w| EndpointWorkload {
        name: w.workload_name.clone(),
        namespace: w.namespace.clone(),
        canonical_name: w.canonical_name.clone(),
        canonical_revision: w.canonical_revision.clone(),
        cluster_id: CLUSTER_ID.into(),
    });
    Endpoint {
        address: from.address,
        health: from.health,
        hostname: String::new(),
        weight: from.weight,
        mtls: from.mtls,
        workload,
    }
}
