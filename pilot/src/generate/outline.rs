//! Pure. The shared resources of an audience, in parts that carry their inputs: one for each service (`Upstream`), and
//! one for listeners, routes and names. A caller that keeps the parts from one snapshot to the next regenerates only
//! those whose inputs differ, so a change to one of thousands of services is cheap.
//!
//! A part sees nothing of the catalog except the inputs that it is compared by, so no stale part can be kept.

use super::audience::Audience;
use super::upstream::Upstream;
use super::view::View;
use super::{cluster, gateway, outbound, workload};
use crate::catalog::Catalog;
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::service::Service;
use api::model::Resource;
use api::model::cluster::Discovery;
use std::collections::HashSet;
use std::sync::Arc;

/// The inputs of all shared resources except those of services. Equal values give equal resources.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline(View);

impl Outline {
    /// Computes what proxies of an audience see of a catalog.
    pub fn new(catalog: &Catalog, audience: &Arc<Audience>) -> Self {
        Self(View::new(catalog, audience))
    }

    /// The visible services with their DestinationRules, sorted by host.
    pub fn called(&self) -> impl Iterator<Item = (&Arc<Service>, Option<&Arc<DestinationRule>>)> {
        self.0.called()
    }

    /// The inputs of a service's clusters and endpoints.
    pub fn upstream(
        &self,
        catalog: &Catalog,
        service: &Arc<Service>,
        rule: Option<&Arc<DestinationRule>>,
    ) -> Upstream {
        Upstream::new(&self.0.scope, catalog.backing(service), rule)
    }

    /// Generates listeners, routes, names, and the clusters that belong to no service.
    pub fn resources(&self) -> Vec<Resource> {
        let view = &self.0;
        let gate = view.scope.gateway;
        let fixed = cluster::fixed(view.mesh()).into_iter().map(|c| Resource::Cluster(Box::new(c)));
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

/// Generates the clusters of a service and their endpoints.
pub fn of_service(upstream: &Upstream) -> Vec<Resource> {
    let clusters = cluster::clusters(upstream);
    // A proxy requests endpoints of EDS clusters only. It would never request others, and pilot would wait for it.
    let requested: HashSet<&str> = clusters
        .iter()
        .filter(|c| matches!(c.discovery, Discovery::Eds(_)))
        .map(|c| c.name.as_str())
        .collect();
    let endpoints = upstream.assignments().into_iter().filter(|e| requested.contains(e.cluster.as_str()));
    let endpoints: Vec<Resource> = endpoints.map(Resource::Endpoints).collect();
    clusters.into_iter().map(|c| Resource::Cluster(Box::new(c))).chain(endpoints).collect()
}
