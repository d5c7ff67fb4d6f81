//! Pure. The workload that a proxy belongs to.

use api::name::{NodeId, NodeKind};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The workload that a proxy belongs to.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Sidecar or gateway.
    pub kind: NodeKind,
    /// Pod name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// The pod's address.
    pub address: IpAddr,
    /// Service account; empty when unknown.
    pub service_account: String,
    /// Trust domain of its identity.
    pub trust_domain: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Name of the pod's owner, such as a Deployment.
    pub workload_name: String,
    /// Cluster id.
    pub cluster_id: String,
    /// Domain of the pod's own names, such as `default.svc.cluster.local`.
    pub domain: String,
}

impl Pod {
    /// The node ID that is sent to the control plane.
    pub fn node_id(&self) -> NodeId {
        NodeId {
            kind: self.kind,
            ip: self.address,
            pod: self.name.clone(),
            namespace: self.namespace.clone(),
            domain: self.domain.clone(),
        }
    }
}
