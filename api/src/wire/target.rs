//! Pure. What a client supports, as far as it decides what can be sent to it.

use super::xds::NodeInfo;

/// The properties of a client that decide what can be sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Target {
    /// It has Istio's own filters (`istio.alpn`, `istio.stats`, peer metadata). Stock Envoy refuses a listener with
    /// these filters, so they are omitted for it.
    pub istio_extensions: bool,
}

impl Target {
    /// Reads the properties from a node's list of extensions.
    pub fn of(node: &NodeInfo) -> Self {
        let has = |name: &&str| node.extensions.iter().any(|e| e == name);
        Self { istio_extensions: Self::ISTIO_EXTENSIONS.iter().all(has) }
    }

    /// A node that lists all of these extensions has Istio's filters.
    pub const ISTIO_EXTENSIONS: [&str; 2] = ["istio.alpn", "istio.stats"];
}
