//! The stream of one proxy: receives requests and new configurations, sends responses.

use super::connections::{Connection, Guard};
use super::discovery::Discovery;
use super::node::{self, Caller, Claim, NodeError};
use super::quota::{Holder, Ticket};
use crate::flow::Scope;
use crate::metrics::type_label;
use crate::offer::Member;
use crate::snapshot::Snapshot;
use api::identity::SpiffeId;
use api::model::Kind;
use api::process::serve::{CloseAt, CloseCause, Peer};
use api::wire::xds::NodeInfo;
use api::xds::accept::{Requests, StreamItem};
use api::xds::server::{self, Mode, Request, Response};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tonic::Status;

/// The session of one proxy's stream.
pub(super) struct Session {
    discovery: Discovery,
    peer: Option<Peer>,
    protocol: server::Session,
    send: mpsc::Sender<StreamItem>,
    /// The newest rejection that was reported, by type, so that each is logged once.
    reported: BTreeMap<Kind, String>,
    /// When the stream must end: at its maximum age, or shortly before its client's certificate expires.
    until: Option<CloseAt>,
    /// The size of the client's subscriptions when last computed.
    weighed: usize,
    /// Upper bound of what was added since.
    added: usize,
}

/// The session's state after the first request.
struct Subscribed {
    claim: Claim,
    member: Member,
    guard: Guard,
    node: String,
    /// Counts the stream until it ends.
    ticket: Ticket,
}

impl Session {
    pub(super) fn new(
        mode: Mode,
        peer: Option<Peer>,
        discovery: Discovery,
        send: mpsc::Sender<StreamItem>,
    ) -> Self {
        let protocol = server::Session::new(mode);
        Self { discovery, peer, protocol, send, reported: BTreeMap::new(), until: None, weighed: 0, added: 0 }
    }

    /// Sets when the stream must end.
    pub(super) fn until(self, until: Option<CloseAt>) -> Self {
        Self { until, ..self }
    }

    /// Serves until either side ends the stream. The session is on the heap, because the future holds its arguments twice.
    pub(super) async fn run(mut self: Box<Self>, mut requests: Requests) {
        // A stream lasts for hours, so what only its beginning needs is on the heap until then.
        let Some(first) = Box::pin(self.first(&mut requests)).await else { return };
        if !self.is_configured().await {
            return;
        }
        let mut known = match Box::pin(self.greet(&first)).await {
            Ok(known) => known,
            Err(status) => return self.turn_away(status).await,
        };
        tracing::info!(node = known.node, "proxy connected");
        self.discovery.metrics.xds.inc();
        match self.take(first, &mut known) {
            Ok(responses) => self.converse(responses, &mut requests, &mut known).await,
            Err(status) => self.turn_away(status).await,
        }
        self.discovery.metrics.xds.dec();
        tracing::info!(node = known.node, "proxy disconnected");
    }

    /// Waits for the first request. It must arrive soon, because the stream belongs to no known client until then.
    async fn first(&mut self, requests: &mut Requests) -> Option<Request> {
        let turn = self.discovery.quota.turn(self.peer.as_ref().map(|peer| peer.address.ip())).await;
        if turn.is_none() {
            self.turn_away(Status::resource_exhausted("too many streams from this address are starting"))
                .await;
            return None;
        }
        let first = tokio::time::timeout(FIRST_LIMIT, requests.next()).await;
        drop(turn);
        let status = match first {
            Ok(Some(Ok(request))) => return Some(request),
            Ok(Some(Err(status))) => status,
            Ok(None) => return None,
            Err(_) => Status::deadline_exceeded("timed out waiting for the first request"),
        };
        self.turn_away(status).await;
        None
    }

    fn turn_away(&self, status: Status) -> impl Future<Output = ()> + use<> {
        self.discovery.metrics.denied.inc();
        tracing::warn!(error = status.message(), peer = self.peer_name(), "a proxy's stream is rejected");
        let (send, item) = (self.send.clone(), Box::new(Err(status)));
        async move {
            let _ = send.send(item).await;
        }
    }

    /// Waits until the folder has been read. Before that, objects not read yet would look deleted, and a reconnecting
    /// proxy would lose its configuration. Returns false if pilot ends first.
    async fn is_configured(&mut self) -> bool {
        let drain = self.discovery.drain.clone();
        tokio::select! {
            read = self.discovery.snapshots.wait_for(|snapshot| snapshot.generation > 0) => read.is_ok(),
            () = drain.cancelled() => false,
        }
    }

    async fn converse(&mut self, first: Vec<Response>, requests: &mut Requests, known: &mut Subscribed) {
        if !self.deliver(first, known).await {
            return;
        }
        let drain = self.discovery.drain.clone();
        let until = self.until;
        let mut parted = std::pin::pin!(async {
            match until {
                Some(CloseAt { at, cause }) => {
                    tokio::time::sleep_until(at).await;
                    cause
                }
                None => std::future::pending().await,
            }
        });
        loop {
            let deferred = self.protocol.is_holding_back();
            let responses = tokio::select! {
                request = requests.next() => match request {
                    Some(Ok(request)) => match self.take(request, known) {
                        Ok(responses) => responses,
                        Err(status) => return self.turn_away(status).await,
                    },
                    // The request was too large, or the connection broke, in which case no response is received.
                    Some(Err(status)) => return drop(self.send.send(Box::new(Err(status))).await),
                    None => return,
                },
                more = known.member.changed() => {
                    if !more {
                        return;
                    }
                    if let Err(error) = Box::pin(renew(known)).await {
                        return self.turn_away(refusal(&error)).await;
                    }
                    self.protocol.push(known.member.offer())
                }
                () = tokio::time::sleep(HOLD_LIMIT), if deferred => self.protocol.release(known.member.offer()),
                () = drain.cancelled() => {
                    let leave = Status::unavailable("pilot is shutting down");
                    let _ = self.send.send(Box::new(Err(leave))).await;
                    return;
                }
                cause = &mut parted => return self.part(cause).await,
            };
            if !self.deliver(responses, known).await {
                return;
            }
        }
    }

    /// Ends the stream so that the proxy reconnects. At its maximum age, it ends without an error: nothing is wrong.
    async fn part(&mut self, cause: CloseCause) {
        if cause == CloseCause::Certificate {
            let reason = "the client certificate of this stream expires; reconnect with a renewed one";
            let _ = self.send.send(Box::new(Err(Status::unavailable(reason)))).await;
        }
    }

    /// Processes a request, unless it exceeds the limits of a stream.
    fn take(&mut self, request: Request, known: &mut Subscribed) -> Result<Vec<Response>, Status> {
        self.protocol.check(&request).map_err(|excess| Status::resource_exhausted(excess.to_string()))?;
        let weight = request.weight();
        let responses = self.protocol.request(request, known.member.offer());
        if weight > 0 && !self.holds(weight, &mut known.ticket) {
            return Err(Status::resource_exhausted("its streams subscribe to too many names"));
        }
        Ok(responses)
    }

    /// Adds the size of a request's names. Computing the exact size visits all names, so it is done only occasionally.
    fn holds(&mut self, added: usize, ticket: &mut Ticket) -> bool {
        self.added += added;
        if self.added <= self.weighed.max(SLACK) && ticket.hold(self.weighed + self.added) {
            return true;
        }
        (self.weighed, self.added) = (self.protocol.weight(), 0);
        ticket.hold(self.weighed)
    }

    #[expect(clippy::disallowed_methods, reason = "the shell notes when a stream began")]
    async fn greet(&mut self, first: &Request) -> Result<Subscribed, Status> {
        let node = first.node().ok_or_else(|| Status::invalid_argument("the first request has no node"))?;
        let info = NodeInfo::from(node);
        let claim = node::claim(&info, self.caller()).map_err(|error| refusal(&error))?;
        self.settle(&claim).await;
        if self.discovery.pods {
            let catalog = self.discovery.snapshots.borrow().catalog.clone();
            claim.prove(&catalog).map_err(|error| refusal(&error))?;
        }
        let choose = |snapshot: &Snapshot| claim.scope(&snapshot.catalog, None);
        let member = self.discovery.offers.join(choose).await.map_err(|error| refusal(&error))?;
        let scope = member.offer().scope().clone();
        let identity = self.caller().identity.map(SpiffeId::to_string).unwrap_or_default();
        let ticket = self.discovery.quota.take(holder(&scope, self.caller(), &identity));
        let ticket = ticket.ok_or_else(|| Status::resource_exhausted("the client has too many streams"))?;
        let guard = self.discovery.connections.add(Connection {
            node: info.id.clone(),
            user_agent: info.user_agent.chars().take(MAX_USER_AGENT).collect(),
            scope,
            identity,
            address: self.peer_name(),
            since: SystemTime::now(),
            status: BTreeMap::new(),
            generation: 0,
            deferred: false,
        });
        Ok(Subscribed { claim, member, guard, node: info.id, ticket })
    }

    /// Waits a while for the Pod that the proxy claims to be. A proxy can connect before pilot learns of its Pod, and
    /// without the Pod it would get neither its ports nor the policies that select it.
    async fn settle(&mut self, claim: &Claim) {
        let mut snapshots = self.discovery.snapshots.clone();
        let known = snapshots.wait_for(|snapshot| claim.is_proven(&snapshot.catalog));
        tokio::select! {
            _ = tokio::time::timeout(POD_LIMIT, known) => {}
            () = self.discovery.drain.cancelled() => {}
            () = self.send.closed() => {}
        }
    }

    fn caller(&self) -> Caller<'_> {
        self.discovery.caller(self.peer.as_ref())
    }

    /// Sends responses in order. Returns false if the proxy has disconnected.
    #[expect(clippy::disallowed_methods, reason = "the shell measures how long a change took")]
    async fn deliver(&mut self, responses: Vec<Response>, known: &Subscribed) -> bool {
        for response in responses {
            let metrics = &self.discovery.metrics;
            if let Some(kind) = Kind::from_type_url(response.type_url()) {
                let label = type_label(kind);
                metrics.pushes.with_label_values(&[label]).inc();
                metrics.config_size.with_label_values(&[label]).observe(response.size() as f64);
            }
            if self.send.send(Box::new(Ok(response))).await.is_err() {
                return false;
            }
            let observed = known.member.offer().observed();
            metrics.convergence.observe(Instant::now().saturating_duration_since(observed).as_secs_f64());
        }
        let status = self.protocol.status();
        self.report_refusals(&status, &known.node);
        known.guard.update(status, known.member.offer().generation(), self.protocol.is_holding_back());
        true
    }

    fn report_refusals(&mut self, status: &BTreeMap<Kind, Box<server::Status>>, node: &str) {
        for (kind, status) in status {
            let Some(nack) = &status.nack else {
                self.reported.remove(kind);
                continue;
            };
            if self.reported.get(kind) != Some(&nack.nonce) {
                self.reported.insert(*kind, nack.nonce.clone());
                let label = type_label(*kind);
                self.discovery.metrics.rejects.with_label_values(&[label]).inc();
                let reason: String = nack.detail.chars().take(MAX_LOGGED).collect();
                tracing::warn!(node, kind = label, reason, "a proxy rejected its configuration");
            }
        }
    }

    fn peer_name(&self) -> String {
        self.peer.as_ref().map(|p| p.address.to_string()).unwrap_or_default()
    }
}

/// Switches to the newest configuration, in which the proxy's Pod may have changed or been deleted.
async fn renew(known: &mut Subscribed) -> Result<(), NodeError> {
    let before = known.member.offer().scope().clone();
    let Subscribed { claim, member, .. } = known;
    member.renew(|snapshot: &Snapshot| claim.scope(&snapshot.catalog, Some(&before))).await?;
    let scope = known.member.offer().scope();
    if !Arc::ptr_eq(scope, &before) {
        tracing::info!(node = known.node, "the proxy's pod has changed");
        known.guard.rescope(scope.clone());
    }
    Ok(())
}

fn refusal(error: &NodeError) -> Status {
    match error {
        NodeError::Invalid(_) => Status::invalid_argument(error.to_string()),
        NodeError::Denied { .. } | NodeError::Foreign { .. } => Status::permission_denied(error.to_string()),
    }
}

/// Returns the holder whose streams this one is counted with.
fn holder(scope: &Scope, caller: Caller, identity: &str) -> Holder {
    if scope.proven {
        Holder::Pod(scope.namespace.clone(), scope.pod.clone())
    } else if caller.identity.is_none() && caller.address.is_none() {
        Holder::Machine
    } else {
        Holder::Identity(identity.to_owned())
    }
}

/// How long changes wait for the proxy to acknowledge what they depend on.
const HOLD_LIMIT: Duration = Duration::from_secs(5);
/// Timeout for the first request.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// How long a proxy waits until pilot learns of its Pod.
const POD_LIMIT: Duration = Duration::from_secs(3);
/// Bytes of names that may be added before the exact size is computed again, however small the stream is.
const SLACK: usize = 64 << 10;
/// Maximum length of a proxy's version in debug pages.
const MAX_USER_AGENT: usize = 256;
/// Maximum length of a proxy's rejection message in logs.
const MAX_LOGGED: usize = 1000;
