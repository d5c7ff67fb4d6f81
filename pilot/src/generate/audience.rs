//! Pure. The properties of a proxy that decide which shared resources it gets. Proxies of one audience get the same.
//! Generators learn nothing else about a proxy, so shared resources cannot depend on which proxy connected first.

use crate::catalog::gateway_port::GatewayTarget;
use crate::catalog::node::Position;
use crate::catalog::visibility::Labels;
use crate::flow::Scope;
use crate::snapshot::Snapshot;

/// A set of proxies that get the same shared resources.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audience {
    /// Whether they are gateways rather than sidecars.
    pub gateway: bool,
    /// The namespace of their pods.
    pub namespace: String,
    /// Whether they support Istio's own filters.
    pub istio_extensions: bool,
    /// Whether their pods have reachable IPv6 addresses.
    pub ipv6: bool,
    /// Whether they accept HTTP/1.0.
    pub http_10: bool,
    /// Those of their pods' labels that some object selects by.
    pub labels: Labels,
    /// Where their pods are, as far as the choice of an endpoint depends on it.
    pub position: Position,
    /// The ports of a gateway's pod that Services target.
    pub targets: Vec<GatewayTarget>,
}

impl Audience {
    /// Returns the audience of a proxy.
    pub fn of(snapshot: &Snapshot, scope: &Scope) -> Self {
        let mut audience = Self::exact(snapshot, scope);
        audience.labels.retain(|name, value| snapshot.selects_by(name, value));
        if !snapshot.catalog.prefers_nodes() {
            audience.position.node.clear();
        }
        if !snapshot.catalog.prefers_localities() {
            audience.position.locality = None;
        }
        audience
    }

    /// Returns the audience with all labels. For comparison: labels that no object selects by must not affect
    /// resources.
    pub fn exact(snapshot: &Snapshot, scope: &Scope) -> Self {
        let catalog = &snapshot.catalog;
        let pod = catalog.workload_of(scope);
        let position = pod.map(|pod| Position { locality: catalog.locality_of(pod), node: pod.node.clone() });
        let pod = pod.filter(|_| scope.gateway);
        Self {
            gateway: scope.gateway,
            namespace: scope.namespace.clone(),
            istio_extensions: scope.istio_extensions,
            ipv6: scope.ipv6(),
            http_10: scope.http_10,
            labels: scope.labels.clone(),
            position: position.unwrap_or_default(),
            targets: pod.map(|pod| catalog.gateway_targets(pod)).unwrap_or_default(),
        }
    }
}
