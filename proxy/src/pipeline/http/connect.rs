//! Gets a connection to an endpoint within the limits of its cluster. Used by attempts, by mirrored copies and by
//! requests of filters.

use crate::flow::refusal::Refusal;
use crate::pipeline::upstream::{Host, OpenConnection, Permit, Upstream};
use crate::pipeline::world::Thread;
use crate::policy::retry::Outcome;
use crate::send::connect::Dial;
use crate::send::{ConnectionKind, Lease, SendError};
use std::rc::Rc;
use std::time::Duration;

/// Why a request got no response.
pub(super) struct Failure {
    /// The outcome for the retry policy; `None`: no retry is possible.
    pub(super) outcome: Option<Outcome>,
    pub(super) refusal: Refusal,
}

impl Failure {
    pub(super) fn of(error: &SendError) -> Self {
        let outcome = match error {
            SendError::Connect(_) => Some(Outcome::ConnectFailed),
            SendError::Closed { sent, .. } => Some(Outcome::Reset { sent: *sent }),
            SendError::Reset | SendError::Protocol(_) | SendError::Malformed(_) => {
                Some(Outcome::Reset { sent: true })
            }
            SendError::Refused => Some(Outcome::Refused),
            SendError::Body => None,
        };
        Self { outcome, refusal: Refusal::of(error) }
    }
}

/// Opens a connection as soon as the cluster's limits allow it, or takes one that becomes free meanwhile. Keeps the
/// endpoint's certificates if `keeps_certificates` is set.
pub(super) async fn connect(
    thread: &Rc<Thread>,
    upstream: &Rc<Upstream>,
    host: &Rc<Host>,
    kind: &ConnectionKind,
    keeps_certificates: bool,
) -> Result<Lease, Failure> {
    let limits = upstream.cluster().model.limits;
    let mut pending: Option<Permit> = None;
    let permit = loop {
        if let Some(permit) = upstream.permit(limits.max_connections, |g| &g.connections) {
            break permit;
        }
        if pending.is_none() {
            pending = upstream.permit(limits.max_pending, |g| &g.pending);
        }
        if pending.is_none() {
            upstream.stats.upstream_rq_pending_overflow.add(1);
            return Err(Failure { outcome: None, refusal: Refusal::overflow() });
        }
        // Another thread may free a connection without waking this one, so look again soon.
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Some(lease) = host.pool.ready(kind) {
            return Ok(lease);
        }
    };
    let dial = Dial { keeps_certificates, ..upstream.dial(host, Some(kind), thread.mark) };
    let opened = |stream: &crate::io::Stream| {
        let leaf = stream.peer_certificates().first();
        let peer = leaf.and_then(|leaf| api::identity::peer_identity(leaf).ok());
        let principal = peer.map_or(0, |id| thread.telemetry.principal(id.principal()));
        (OpenConnection::new(upstream, permit), principal)
    };
    host.pool.dial(kind, &dial, opened).await.map_err(|error| {
        upstream.stats.upstream_cx_connect_fail.add(1);
        Failure::of(&error)
    })
}

const LOOK_AGAIN: Duration = Duration::from_millis(5);
