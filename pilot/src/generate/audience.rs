//! Pure. What decides which resources a proxy has in common with others: proxies of one audience are offered the same. It
//! is all that generators learn of a proxy, so that what is shared cannot depend on who of them came first.

use crate::catalog::gateway_port::GateTarget;
use crate::catalog::visibility::Labels;
use crate::flow::Scope;
use crate::snapshot::Snapshot;

/// Proxies that are offered the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audience {
    /// Gateways, or sidecars.
    pub gateway: bool,
    /// Of their pods.
    pub namespace: String,
    /// They know Istio's own filters.
    pub istio_extensions: bool,
    /// Their pods have IPv6 addresses that others reach.
    pub ipv6: bool,
    /// They take HTTP/1.0.
    pub http_10: bool,
    /// Those labels of their pods that some object selects by.
    pub labels: Labels,
    /// What the Services of a gateway's pod lead to.
    pub targets: Vec<GateTarget>,
}

impl Audience {
    /// The audience of a proxy.
    pub fn of(snapshot: &Snapshot, scope: &Scope) -> Self {
        let mut audience = Self::exact(snapshot, scope);
        audience.labels.retain(|name, value| snapshot.selects_by(name, value));
        audience
    }

    /// The same, with all labels: what nothing selects by must not show.
    pub fn exact(snapshot: &Snapshot, scope: &Scope) -> Self {
        let catalog = &snapshot.catalog;
        let pod = catalog.workload_of(scope).filter(|_| scope.gateway);
        Self {
            gateway: scope.gateway,
            namespace: scope.namespace.clone(),
            istio_extensions: scope.istio_extensions,
            ipv6: scope.ipv6(),
            http_10: scope.http_10,
            labels: scope.labels.clone(),
            targets: pod.map(|pod| catalog.gate_targets(pod)).unwrap_or_default(),
        }
    }
}
