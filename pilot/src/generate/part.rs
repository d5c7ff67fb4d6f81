//! Pure. What proxies share, in parts, each with its cause: what it is made from. Whoever keeps parts from one snapshot
//! to the next makes only those anew whose cause differs, so that one change among thousands of services costs little.
//!
//! Objects of a catalog never change in place, so that causes are compared by their pointers. A part must not depend
//! on anything that is neither in its cause nor in the part of the scope that proxies share.

use super::{View, cluster, gateway, of_service, outbound, workload};
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::gateway::Gateway;
use crate::catalog::policy::{Mesh, PeerAuthentication, Sidecar};
use crate::catalog::route::RouteSet;
use crate::catalog::service::Service;
use crate::catalog::workload::Workload;
use crate::flow::Scope;
use crate::snapshot::Snapshot;
use api::model::Resource;
use std::sync::Arc;

/// What proxies of a scope share under a snapshot.
pub struct Parts<'a> {
    view: View<'a>,
}

/// What the clusters and endpoints of one service are made from.
#[derive(Debug, Clone)]
pub struct ServiceCause {
    mesh: Arc<Mesh>,
    policies: Arc<Vec<Arc<PeerAuthentication>>>,
    service: Arc<Service>,
    rule: Option<Arc<DestinationRule>>,
    pods: Vec<Arc<Workload>>,
    /// It is an ExternalName Service whose target is there.
    alias: bool,
}

/// What listeners, routes and names are made from.
#[derive(Debug, Clone)]
pub struct RestCause {
    mesh: Arc<Mesh>,
    sidecars: Arc<Vec<Arc<Sidecar>>>,
    gateways: Arc<Vec<Arc<Gateway>>>,
    route_sets: Arc<Vec<Arc<RouteSet>>>,
    services: Vec<Arc<Service>>,
    rules: Vec<Option<Arc<DestinationRule>>>,
    /// Of headless services, and a gateway's own.
    pods: Vec<Arc<Workload>>,
}

impl<'a> Parts<'a> {
    /// Of this snapshot, for proxies like this one.
    pub fn new(snapshot: &'a Snapshot, scope: &'a Scope) -> Self {
        Self { view: View::new(&snapshot.catalog, scope) }
    }

    /// The services that these proxies see, one for each host.
    pub fn services(&self) -> &[Arc<Service>] {
        self.view.services()
    }

    /// What the resources of a service are made from.
    pub fn cause(&self, service: &Arc<Service>) -> ServiceCause {
        let catalog = self.view.catalog;
        ServiceCause {
            mesh: catalog.shared_mesh(),
            policies: catalog.shared_policies(),
            service: service.clone(),
            rule: self.view.shared_rule(&service.host),
            pods: catalog.members(service).cloned().collect(),
            alias: self.view.is_alias(service),
        }
    }

    /// The clusters of a service and their endpoints.
    pub fn of_service(&self, service: &Service) -> Vec<Resource> {
        of_service(&self.view, service)
    }

    /// What all else is made from.
    pub fn rest_cause(&self) -> RestCause {
        let View { catalog, scope, .. } = self.view;
        let services = self.view.services().to_vec();
        let own = catalog.workload_of(scope).filter(|_| scope.gateway);
        let headless = services.iter().filter(|s| s.headless).flat_map(|s| catalog.pods_of(s));
        RestCause {
            mesh: catalog.shared_mesh(),
            sidecars: catalog.shared_sidecars(),
            gateways: catalog.shared_gateways(),
            route_sets: catalog.shared_route_sets(),
            rules: services.iter().map(|s| self.view.shared_rule(&s.host)).collect(),
            pods: headless.chain(own).cloned().collect(),
            services,
        }
    }

    /// Listeners, routes, names, and the clusters that stand for no service.
    pub fn rest(&self) -> Vec<Resource> {
        let view = &self.view;
        let gate = view.scope.gateway;
        let fixed = cluster::fixed(view).into_iter().map(|c| Resource::Cluster(Box::new(c)));
        let (listeners, routes) =
            if gate { gateway::listeners_and_routes(view) } else { outbound::listeners_and_routes(view) };
        let names = (!gate).then(|| Resource::Names(workload::names(view)));
        fixed
            .chain(listeners.into_iter().map(Resource::Listener))
            .chain(routes.into_iter().map(Resource::Route))
            .chain(names)
            .collect()
    }
}

impl PartialEq for ServiceCause {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mesh, &other.mesh)
            && Arc::ptr_eq(&self.policies, &other.policies)
            && Arc::ptr_eq(&self.service, &other.service)
            && self.alias == other.alias
            && same(self.rule.as_slice(), other.rule.as_slice())
            && same(&self.pods, &other.pods)
    }
}

impl PartialEq for RestCause {
    fn eq(&self, other: &Self) -> bool {
        let rules = || self.rules.iter().zip(&other.rules).all(|(a, b)| same(a.as_slice(), b.as_slice()));
        Arc::ptr_eq(&self.mesh, &other.mesh)
            && Arc::ptr_eq(&self.sidecars, &other.sidecars)
            && Arc::ptr_eq(&self.gateways, &other.gateways)
            && Arc::ptr_eq(&self.route_sets, &other.route_sets)
            && same(&self.services, &other.services)
            && rules()
            && same(&self.pods, &other.pods)
    }
}

/// The same objects in the same order.
fn same<T>(one: &[Arc<T>], other: &[Arc<T>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| Arc::ptr_eq(a, b))
}
