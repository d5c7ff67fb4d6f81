//! Pure. From a snapshot to the resources of one proxy. The inputs are the snapshot and the proxy's scope, nothing
//! else, so that what is shared between proxies cannot depend on anything that the sharing does not know.

pub mod part;
pub mod secret;

mod cluster;
mod inbound;
mod gateway;
mod outbound;
mod route;
mod workload;

mod opaque;

mod http_route;
mod spelling;

mod mesh_tls;
mod view;

mod http_connection;
mod import;

#[cfg(test)]
mod tests;

use crate::catalog::service::{Resolution, Service};
use crate::flow::{Protocol, Scope};
use crate::snapshot::Snapshot;
use api::model::Resource;
use api::model::cluster::Discovery;
use api::model::endpoint::LoadAssignment;
use api::name::ClusterName;
use part::Parts;
use std::collections::HashSet;
use view::View;

/// Resources that all proxies of a namespace (and, at gateways, of equal labels) have in common.
pub fn shared(snapshot: &Snapshot, scope: &Scope) -> Vec<Resource> {
    let parts = Parts::new(snapshot, scope);
    let services = parts.services().iter().flat_map(|service| parts.of_service(service));
    services.chain(parts.rest()).collect()
}

/// Resources of one workload alone: its inbound side.
pub fn own(snapshot: &Snapshot, scope: &Scope) -> Vec<Resource> {
    if scope.gateway {
        return vec![];
    }
    let catalog = &snapshot.catalog;
    let (ports, settings) = inbound::of_workload(catalog, scope);
    let mut resources: Vec<Resource> = inbound::clusters(&ports, catalog.mesh().connect_timeout)
        .into_iter()
        .map(|c| Resource::Cluster(Box::new(c)))
        .collect();
    resources.push(Resource::Listener(inbound::listener(&ports, &settings)));
    resources
}

/// The workload at an address, asked for as `/<address>` (or `<network>/<address>`).
pub fn workload(snapshot: &Snapshot, name: &str) -> Option<Resource> {
    workload::by_name(&snapshot.catalog, name).map(Resource::Workload)
}

/// The clusters of a service and their endpoints.
fn of_service(view: &View, service: &Service) -> Vec<Resource> {
    if view.is_alias(service) {
        return vec![];
    }
    let clusters = cluster::clusters(view, service);
    // A proxy asks for the endpoints of no other cluster. What it is offered and does not ask for would be waited for.
    let asked: HashSet<&str> = clusters
        .iter()
        .filter(|c| matches!(c.discovery, Discovery::Eds(_)))
        .map(|c| c.name.as_str())
        .collect();
    let endpoints = endpoints(view, service).into_iter().filter(|e| asked.contains(e.cluster.as_str()));
    let endpoints: Vec<Resource> = endpoints.map(Resource::Endpoints).collect();
    clusters.into_iter().map(|c| Resource::Cluster(Box::new(c))).chain(endpoints).collect()
}

fn endpoints(view: &View, service: &Service) -> Vec<LoadAssignment> {
    if service.resolution != Resolution::Endpoints {
        return vec![];
    }
    let mut assignments = vec![];
    for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
        let subsets = view.destination_rule(&service.host).into_iter().flat_map(|r| &r.subsets);
        for subset in std::iter::once("").chain(subsets.map(|s| s.name.as_str())) {
            let cluster = ClusterName::outbound(&service.host, port.number, subset).to_string();
            assignments.push(view.assignment(service, port, subset, cluster));
        }
    }
    assignments
}

/// Id of the cluster that all workloads of a catalog run in.
pub const CLUSTER_ID: &str = "Kubernetes";
