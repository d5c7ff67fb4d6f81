//! Pure. From a snapshot to the resources of one proxy. The inputs are the snapshot and the proxy's scope, nothing
//! else, so that what is shared between proxies cannot depend on anything that the sharing does not know.

pub mod outline;
pub mod secret;
mod gateway;

mod cluster;

pub mod upstream;
mod outbound;
mod route;
mod workload;
mod opaque;

pub mod inbound;

mod http_route;
mod spelling;

mod mesh_tls;
mod view;

mod filters;
mod http_connection;
mod import;

pub mod audience;

#[cfg(test)]
mod tests;

use crate::flow::Scope;
use crate::snapshot::Snapshot;
use api::model::Resource;
use audience::Audience;
use inbound::Inbound;
use outline::Outline;
use std::sync::Arc;
use view::View;

/// Resources that all proxies of a namespace (and, at gateways, of equal labels) have in common.
pub fn shared(snapshot: &Snapshot, scope: &Scope) -> Vec<Resource> {
    let audience = Audience::of(snapshot, scope);
    let outline = Outline::new(&snapshot.catalog, &Arc::new(audience));
    let upstream = |(service, rule)| outline.upstream(&snapshot.catalog, service, rule);
    let of_services = outline.called().map(upstream).flat_map(|upstream| outline::of_service(&upstream));
    of_services.chain(outline.resources()).collect()
}

/// Resources of one workload alone: its inbound side.
pub fn own(snapshot: &Snapshot, scope: &Scope) -> Vec<Resource> {
    Inbound::of(&snapshot.catalog, scope).resources()
}

/// The workload at an address, asked for as `/<address>` (or `<network>/<address>`).
pub fn workload(snapshot: &Snapshot, name: &str) -> Option<Resource> {
    workload::by_name(&snapshot.catalog, name).map(Resource::Workload)
}

/// Id of the cluster that all workloads of a catalog run in.
pub const CLUSTER_ID: &str = "Kubernetes";
