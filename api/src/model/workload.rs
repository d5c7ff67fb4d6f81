//! Pure. Who lives at an address, and which names the mesh's DNS answers.
//!
//! Istio: `istio.workload.Address` (asked for on demand by address) and `istio.networking.nds.v1.NameTable`.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A workload as telemetry and identity see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// `<cluster>/<group>/<kind>/<namespace>/<name>`; for xDS also found by `/<address>`.
    pub uid: String,
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Trust domain; empty = `cluster.local`.
    pub trust_domain: String,
    /// Service account.
    pub service_account: String,
    /// Name of the Deployment, StatefulSet or Job: the `workload` label of metrics.
    pub workload_name: String,
    /// Label `service.istio.io/canonical-name` or its fallbacks.
    pub canonical_name: String,
    /// Label `service.istio.io/canonical-revision` or its fallbacks.
    pub canonical_revision: String,
    /// Label `app`, for the metric label of that name.
    pub app: String,
    /// Label `version`, for the metric label of that name.
    pub version: String,
    /// Cluster id, such as `Kubernetes`.
    pub cluster_id: String,
}

/// The names that a proxy's DNS server answers itself; all others are forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameTable {
    /// Fully qualified host to addresses.
    pub hosts: BTreeMap<String, NameInfo>,
}

/// What is known of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameInfo {
    /// Addresses, at most a few: the service's VIP, or a headless service's endpoints.
    pub addresses: Vec<IpAddr>,
    /// `Kubernetes` or `External`.
    pub registry: String,
    /// Short name, for names without a domain.
    pub short_name: String,
    /// Namespace of the service.
    pub namespace: String,
}
