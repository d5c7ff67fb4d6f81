//! Pure. What the proxies of an audience share, in parts that know what they are made from: one for each service
//! (`Upstream`), and one for listeners, routes and names. Whoever keeps parts from one snapshot to the next makes only
//! those anew of which that differs, so that one change among thousands of services costs little.
//!
//! A part sees nothing of the catalog but what it is compared by, so that none can be kept that should have changed.

use super::audience::Audience;
use super::upstream::Upstream;
use super::{View, cluster, gateway, outbound, workload};
use crate::catalog::Catalog;
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::service::Service;
use api::model::Resource;
use api::model::cluster::Discovery;
use std::collections::HashSet;
use std::sync::Arc;

/// All that proxies share but the resources of services. Equal ones make equal resources.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline(View);

impl Outline {
    /// What these proxies see of a catalog.
    pub fn new(catalog: &Catalog, audience: &Arc<Audience>) -> Self {
        Self(View::new(catalog, audience))
    }

    /// The services that they call and the rules for that, sorted by host.
    pub fn called(&self) -> impl Iterator<Item = (&Arc<Service>, Option<&Arc<DestinationRule>>)> {
        self.0.called()
    }

    /// What the clusters and endpoints of a service are made from.
    pub fn upstream(
        &self,
        catalog: &Catalog,
        service: &Arc<Service>,
        rule: Option<&Arc<DestinationRule>>,
    ) -> Upstream {
        Upstream::new(&self.0.scope, catalog.backing(service), rule)
    }

    /// Listeners, routes, names, and the clusters that stand for no service.
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

/// The clusters of a service, and their endpoints.
pub fn of_service(upstream: &Upstream) -> Vec<Resource> {
    let clusters = cluster::clusters(upstream);
    // A proxy asks for the endpoints of no other cluster. What it is offered and does not ask for would be waited for.
    let asked: HashSet<&str> = clusters
        .iter()
        .filter(|c| matches!(c.discovery, Discovery::Eds(_)))
        .map(|c| c.name.as_str())
        .collect();
    let endpoints = upstream.assignments().into_iter().filter(|e| asked.contains(e.cluster.as_str()));
    let endpoints: Vec<Resource> = endpoints.map(Resource::Endpoints).collect();
    clusters.into_iter().map(|c| Resource::Cluster(Box::new(c))).chain(endpoints).collect()
}
