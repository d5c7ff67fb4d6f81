//! Pure. A request of either method of the service.

use crate::wire::xds::{DeltaDiscoveryRequest, DiscoveryRequest, Node};

/// Which method of the service the client called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `DeltaAggregatedResources`: differences.
    Delta,
    /// `StreamAggregatedResources`: state of the world.
    Sotw,
}

/// A request of either method.
#[derive(Debug, Clone)]
pub enum Request {
    /// Of `DeltaAggregatedResources`.
    Delta(DeltaDiscoveryRequest),
    /// Of `StreamAggregatedResources`.
    Sotw(DiscoveryRequest),
}

impl Request {
    /// The client's node, which only the first request must carry.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Delta(request) => request.node.as_ref(),
            Self::Sotw(request) => request.node.as_ref(),
        }
    }
}
