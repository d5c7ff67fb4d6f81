//! The state that all streams share.

use super::connections::Connections;
use super::node::Caller;
use super::quota::Quota;
use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::replica::Replicas;
use crate::snapshot::Snapshot;
use crate::verdict::Channel;
use api::process::serve::Peer;
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
    /// The verdicts on objects, and what this replica's proxies have acknowledged.
    pub verdicts: Channel,
    /// The other replicas of pilot.
    pub replicas: Replicas,
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

impl Discovery {
    /// What a connection shows about the client at its other end.
    pub(super) fn caller<'a>(&self, peer: Option<&'a Peer>) -> Caller<'a> {
        let address = peer.map(|peer| peer.address.ip().to_canonical());
        Caller {
            identity: peer.and_then(|peer| peer.identity.as_ref()).filter(|_| self.identities),
            address: address.filter(|address| !address.is_loopback()),
        }
    }
}
