//! Pure. The inputs of the clusters and endpoints of one service, for the proxies of one audience. Clusters and
//! endpoints depend on nothing else.

use super::audience::Audience;
use super::workload::CLUSTER_ID;
use crate::catalog::backing::Backing;
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::node::{self, Distribution, Finest, Position};
use crate::catalog::policy::Mesh;
use crate::catalog::same::Same;
use crate::catalog::service::{Resolution, Service, ServiceEndpoint, ServicePort};
use crate::catalog::visibility::selects;
use crate::flow::Protocol;
use api::model::endpoint::{Endpoint, EndpointWorkload, Health, LoadAssignment, Locality, LocalityEndpoints};
use api::name::ClusterName;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Where the proxies are, as far as this service's endpoints are chosen by it.
    position: Position,
}

impl Upstream {
    pub(super) fn new(audience: &Audience, backing: Backing, rule: Option<&Arc<DestinationRule>>) -> Self {
        let Audience { gateway, istio_extensions, .. } = *audience;
        let Position { locality, node } = &audience.position;
        let distribution = backing.service().distribution;
        let near = distribution != Distribution::Any || rule.is_some_and(|rule| rule.detects_outliers());
        let position = Position {
            locality: locality.clone().filter(|_| near),
            node: if distribution == Distribution::SameNode { node.clone() } else { String::new() },
        };
        Self { gateway, istio_extensions, backing, rule: rule.map(Into::into), position }
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
        let endpoints = self.backing.endpoints(port).into_iter().filter(chosen);
        LoadAssignment { cluster, localities: by_place(endpoints, &self.position, self.finest(port, subset)) }
    }

    /// How finely clients distinguish where endpoints are. `None`: they use all endpoints equally.
    ///
    /// Without outlier detection, only the Service itself asks for near endpoints: clients would hold on to near ones that
    /// fail.
    fn finest(&self, port: &ServicePort, subset: &str) -> Option<Finest> {
        let ejects = || self.rule().is_some_and(|rule| rule.effective(port.number, subset).outlier.is_some());
        match self.service().distribution {
            Distribution::SameZone => Some(Finest::Zone),
            Distribution::SameNode => Some(Finest::Node),
            Distribution::Any => ejects().then_some(Finest::SubZone),
        }
    }
}

/// Endpoints of one locality.
type Group = (Arc<Locality>, Vec<Endpoint>);

/// Groups endpoints by priority and locality. Priorities are numbered from 0 without gaps. Draining endpoints have the last
/// one: the health of those that take requests decides whether requests go to farther ones.
fn by_place(
    endpoints: impl Iterator<Item = ServiceEndpoint>,
    from: &Position,
    finest: Option<Finest>,
) -> Vec<LocalityEndpoints> {
    let nowhere = Arc::new(Locality::default());
    let mut groups: BTreeMap<(usize, [String; 3]), Group> = BTreeMap::new();
    for made in endpoints {
        let node = made.workload.as_ref().map(|pod| pod.node.as_str());
        let rank = match finest {
            None => 0,
            Some(_) if made.health == Health::Draining => usize::MAX,
            Some(finest) => node::distance(from, (made.locality.as_deref(), node), finest),
        };
        let place = made.locality.clone().unwrap_or_else(|| nowhere.clone());
        let order = [place.region.clone(), place.zone.clone(), place.sub_zone.clone()];
        groups.entry((rank, order)).or_insert_with(|| (place, vec![])).1.push(endpoint(made));
    }
    let ranks: BTreeSet<usize> = groups.keys().map(|(rank, _)| *rank).collect();
    let priority = |rank: &usize| ranks.iter().position(|one| one == rank).unwrap_or_default() as u32;
    let made = groups.iter_mut().map(|((rank, _), (place, endpoints))| LocalityEndpoints {
        locality: Locality::clone(place),
        priority: priority(rank),
        weight: None,
        endpoints: std::mem::take(endpoints),
    });
    made.collect()
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
