//! Pure. Generates the resources of a proxy from a snapshot and the proxy's scope. There are no other inputs, so
//! resources shared between proxies cannot depend on anything outside the key by which they are shared.

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

pub use workload::CLUSTER_ID;

use crate::flow::Scope;
use crate::snapshot::Snapshot;
use api::model::Resource;
use audience::Audience;
use inbound::Inbound;
use outline::Outline;
use std::sync::Arc;

/// Generates the resources that all proxies of an audience share: those of one namespace and, at gateways, with equal
/// labels.
pub fn shared(snapshot: &Snapshot, scope: &Scope) -> Vec<Resource> {
    let audience = Audience::of(snapshot, scope);
    let outline = Outline::new(&snapshot.catalog, &Arc::new(audience));
    let upstream = |(service, rule)| outline.upstream(&snapshot.catalog, service, rule);
    let of_services = outline.called().map(upstream).flat_map(|upstream| outline::of_service(&upstream));
    of_services.chain(outline.resources()).collect()
}

/// Generates the resources of a single workload: its inbound side.
pub fn own(snapshot: &Snapshot, scope: &Scope) -> Vec<Resource> {
    Inbound::of(&snapshot.catalog, scope).resources()
}

/// Returns the workload at an address, requested as `/<address>` (or `<network>/<address>`).
pub fn workload(snapshot: &Snapshot, name: &str) -> Option<Resource> {
    workload::by_name(&snapshot.catalog, name).map(Resource::Workload)
}
