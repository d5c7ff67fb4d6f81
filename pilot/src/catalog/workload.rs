//! Pure. Workloads: pods as the mesh sees them.

use super::visibility::Labels;
use api::name::NodeKind;
use std::net::IpAddr;

/// A pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// Name of the pod.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its addresses; empty before it has one.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// Its service account, `default` when not named.
    pub service_account: String,
    /// Its `Ready` condition.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// It has succeeded or failed: its address is no longer its own.
    pub finished: bool,
    /// It has a sidecar or is a gateway (label `security.istio.io/tlsMode: istio`).
    pub mtls: bool,
    /// It shares its node's network: no sidecar.
    pub host_network: bool,
    /// The proxy that one of its containers runs, where its command line tells.
    pub proxy: Option<NodeKind>,
    /// Its proxy takes HTTP/1.0 (`ISTIO_META_HTTP10: "1"` in its environment).
    pub http_10: bool,
    /// Name of its Deployment, StatefulSet or Job, else its own.
    pub workload_name: String,
    /// Ports its containers declare.
    pub ports: Vec<ContainerPort>,
    /// Canonical service, by Istio's labels.
    pub canonical_name: String,
    /// Canonical revision, by Istio's labels; `latest` when unknown.
    pub canonical_revision: String,
}

impl Workload {
    /// The number of the container port of that name.
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
