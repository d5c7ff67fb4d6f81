//! The state that all streams share.

use super::connections::Connections;
use super::quota::Quota;
use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::snapshot::Snapshot;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The state that all streams share.
#[derive(Clone)]
pub struct Discovery {
    /// The newest configuration.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Encoded resources, shared between proxies.
    pub offers: Offers,
    /// The open streams.
    pub connections: Connections,
    /// Limits on the streams of each client.
    pub quota: Quota,
    /// Metrics.
    pub metrics: Metrics,
    /// Whether clients must present a certificate that matches their node.
    pub identities: bool,
    /// Whether a proxy's Pod must be known. Outside a cluster, a proxy may run without one; it gets no secrets then.
    pub pods: bool,
    /// Ends all streams when cancelled.
    pub drain: CancellationToken,
}
