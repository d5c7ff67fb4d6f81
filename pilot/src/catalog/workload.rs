//! Pure. Workloads: pods as the mesh sees them.

use super::visibility::Labels;
use api::model::endpoint::Locality;
use api::name::NodeKind;
use std::net::IpAddr;
use std::sync::Arc;

/// A pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// Name of the pod.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its addresses; empty before one is assigned.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// Its service account; `default` if the pod names none.
    pub service_account: String,
    /// Whether its `Ready` condition is true.
    pub ready: bool,
    /// Whether only Kubernetes' contact with its node is lost: its containers were ready when the node was last heard from.
    pub cut_off: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it has succeeded or failed; its address may then belong to another pod.
    pub finished: bool,
    /// Whether it has a sidecar or is a gateway (label `security.istio.io/tlsMode: istio`).
    pub mtls: bool,
    /// Name of its node; empty before it is scheduled.
    pub node: String,
    /// The locality that its labels set; absent: its node's.
    pub locality: Option<Arc<Locality>>,
    /// Whether it uses its node's network and so has no sidecar.
    pub host_network: bool,
    /// The kind of proxy that one of its containers runs, if its command line shows it.
    pub proxy: Option<NodeKind>,
    /// Whether its proxy accepts HTTP/1.0 (`ISTIO_META_HTTP10: "1"` in its environment).
    pub http_10: bool,
    /// Name of its Deployment, StatefulSet or Job, else of the pod.
    pub workload_name: String,
    /// Ports that its containers declare.
    pub ports: Vec<ContainerPort>,
    /// Canonical service, by Istio's labels.
    pub canonical_name: String,
    /// Canonical revision, by Istio's labels; `latest` when unknown.
    pub canonical_revision: String,
}

impl Workload {
    /// Returns the number of the container port with this name.
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|p| p.name == name).map(|p| p.number)
    }
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name; may be empty.
    pub name: String,
    /// Its number.
    pub number: u16,
}
