//! Pure. The workload at an address, and the host names that the proxy's DNS server resolves.
//!
//! Istio: `istio.workload.Address` (requested on demand by address) and `istio.networking.nds.v1.NameTable`.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A workload: its names, addresses and labels, for telemetry and identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// `<cluster>/<group>/<kind>/<namespace>/<name>`; xDS clients can also request it as `/<address>`.
    pub uid: String,
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Trust domain; empty: `cluster.local`.
    pub trust_domain: String,
    /// Service account.
    pub service_account: String,
    /// Name of the Deployment, StatefulSet or Job: the `workload` label of metrics.
    pub workload_name: String,
    /// Label `service.istio.io/canonical-name` or its fallbacks.
    pub canonical_name: String,
    /// Label `service.istio.io/canonical-revision` or its fallbacks.
    pub canonical_revision: String,
    /// Label `app` of the pod, for the metric label of that name.
    pub app: String,
    /// Label `version` of the pod, for the metric label of that name.
    pub version: String,
    /// Cluster id, such as `Kubernetes`.
    pub cluster_id: String,
}

/// The host names that a proxy's DNS server resolves itself; queries for other names are forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameTable {
    /// Fully qualified host to addresses.
    pub hosts: BTreeMap<String, NameInfo>,
}

/// The addresses and the origin of one host name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameInfo {
    /// Addresses, at most a few: the service's VIP, or a headless service's endpoints.
    pub addresses: Vec<IpAddr>,
    /// `Kubernetes` or `External`.
    pub registry: String,
    /// Short name, for queries without a domain.
    pub short_name: String,
    /// Namespace of the service.
    pub namespace: String,
}
