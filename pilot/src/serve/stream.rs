//! One proxy's stream: requests and new configurations in, responses out.

use super::Discovery;
use super::connections::{Connection, Guard};
use super::node::{self, NodeError};
use crate::flow::Scope;
use crate::metrics::type_label;
use crate::offer::ProxyOffer;
use api::identity::SpiffeId;
use api::model::Kind;
use api::process::serve::Peer;
use api::wire::xds::{Node, NodeInfo};
use api::xds::server::{self, Mode, Request, Response};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tonic::Status;

/// Requests of a stream, whichever method it uses.
pub(super) type Inbound = BoxStream<'static, Result<Request, Status>>;

/// One proxy's stream.
pub(super) struct Session {
    discovery: Discovery,
    peer: Option<Peer>,
    protocol: server::Session,
    send: mpsc::Sender<Result<Response, Status>>,
    /// Newest refusal that was reported, by type, so that each is logged once.
    reported: BTreeMap<Kind, String>,
}

/// What is known after the first request.
struct Known {
    scope: Arc<Scope>,
    offer: ProxyOffer,
    guard: Guard,
    node: String,
}

impl Session {
    pub(super) fn new(
        mode: Mode,
        peer: Option<Peer>,
        discovery: Discovery,
        send: mpsc::Sender<Result<Response, Status>>,
    ) -> Self {
        Self { discovery, peer, protocol: server::Session::new(mode), send, reported: BTreeMap::new() }
    }

    /// Serves until either side ends the stream.
    pub(super) async fn run(mut self, mut requests: Inbound) {
        let Some(Ok(first)) = requests.next().await else { return };
        if !self.is_configured().await {
            return;
        }
        let mut known = match self.greet(&first).await {
            Ok(known) => known,
            Err(error) => {
                self.discovery.metrics.denied.inc();
                tracing::warn!(%error, peer = self.peer_name(), "a proxy is turned away");
                let _ = self.send.send(Err(refusal(&error))).await;
                return;
            }
        };
        tracing::info!(node = known.node, "proxy connected");
        self.discovery.metrics.xds.inc();
        self.converse(first, &mut requests, &mut known).await;
        self.discovery.metrics.xds.dec();
        tracing::info!(node = known.node, "proxy disconnected");
    }

    /// Waits until the folder has been read: what nobody knows yet would look as if it were gone, and a proxy that comes
    /// back would lose all that it has. False when pilot ends before.
    async fn is_configured(&mut self) -> bool {
        let drain = self.discovery.drain.clone();
        tokio::select! {
            read = self.discovery.snapshots.wait_for(|snapshot| snapshot.generation > 0) => read.is_ok(),
            () = drain.cancelled() => false,
        }
    }

    async fn converse(&mut self, first: Request, requests: &mut Inbound, known: &mut Known) {
        let responses = self.protocol.request(first, &known.offer);
        if !self.deliver(responses, known).await {
            return;
        }
        let drain = self.discovery.drain.clone();
        let mut snapshots = self.discovery.snapshots.clone();
        loop {
            let held = self.protocol.held();
            let responses = tokio::select! {
                request = requests.next() => match request {
                    Some(Ok(request)) => self.protocol.request(request, &known.offer),
                    Some(Err(_)) | None => return,
                },
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    known.offer = self.discovery.offers.offer(&mut snapshots, &known.scope).await;
                    self.protocol.push(&known.offer)
                }
                () = tokio::time::sleep(HOLD_LIMIT), if held => self.protocol.release(&known.offer),
                () = drain.cancelled() => {
                    let _ = self.send.send(Err(Status::unavailable("pilot is going away"))).await;
                    return;
                }
            };
            if !self.deliver(responses, known).await {
                return;
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the shell notes when a stream began")]
    async fn greet(&mut self, first: &Request) -> Result<Known, NodeError> {
        let node =
            node_of(first).ok_or_else(|| NodeError::Invalid("the first request carries none".into()))?;
        let info = NodeInfo::from(node);
        let peer = self.peer.as_ref().and_then(|p| p.identity.as_ref());
        let scope = Arc::new(node::scope(&info, peer.filter(|_| self.discovery.identities))?);
        let offer = self.discovery.offers.offer(&mut self.discovery.snapshots.clone(), &scope).await;
        let guard = self.discovery.connections.add(Connection {
            node: info.id.clone(),
            user_agent: info.user_agent,
            scope: scope.clone(),
            identity: peer.map(SpiffeId::to_string).unwrap_or_default(),
            address: self.peer_name(),
            since: SystemTime::now(),
            status: BTreeMap::new(),
            generation: 0,
            held: false,
        });
        Ok(Known { scope, offer, guard, node: info.id })
    }

    /// Sends responses in order; false when the proxy is gone.
    #[expect(clippy::disallowed_methods, reason = "the shell measures how long a change took")]
    async fn deliver(&mut self, responses: Vec<Response>, known: &Known) -> bool {
        let metrics = self.discovery.metrics.clone();
        for response in responses {
            if let Some(kind) = Kind::from_type_url(response.type_url()) {
                let label = type_label(kind);
                metrics.pushes.with_label_values(&[label]).inc();
                metrics.config_size.with_label_values(&[label]).observe(size(&response) as f64);
            }
            if self.send.send(Ok(response)).await.is_err() {
                return false;
            }
            let made = self.discovery.snapshots.borrow().made;
            metrics.convergence.observe(Instant::now().saturating_duration_since(made).as_secs_f64());
        }
        let status = self.protocol.status();
        self.report_refusals(&status, &known.node);
        known.guard.update(status, known.offer.generation(), self.protocol.held());
        true
    }

    fn report_refusals(&mut self, status: &BTreeMap<Kind, server::Status>, node: &str) {
        for (kind, status) in status {
            let Some(nack) = &status.nack else {
                self.reported.remove(kind);
                continue;
            };
            if self.reported.get(kind) != Some(&nack.nonce) {
                self.reported.insert(*kind, nack.nonce.clone());
                let label = type_label(*kind);
                self.discovery.metrics.rejects.with_label_values(&[label]).inc();
                tracing::warn!(node, kind = label, reason = nack.detail, "a proxy refuses its configuration");
            }
        }
    }

    fn peer_name(&self) -> String {
        self.peer.as_ref().map(|p| p.address.to_string()).unwrap_or_default()
    }
}

fn node_of(request: &Request) -> Option<&Node> {
    match request {
        Request::Delta(request) => request.node.as_ref(),
        Request::Sotw(request) => request.node.as_ref(),
    }
}

fn size(response: &Response) -> usize {
    match response {
        Response::Delta(r) => {
            r.resources.iter().filter_map(|r| r.resource.as_ref()).map(|b| b.value.len()).sum()
        }
        Response::Sotw(r) => r.resources.iter().map(|b| b.value.len()).sum(),
    }
}

fn refusal(error: &NodeError) -> Status {
    match error {
        NodeError::Invalid(_) => Status::invalid_argument(error.to_string()),
        NodeError::Denied { .. } => Status::permission_denied(error.to_string()),
    }
}

/// How long changes wait for a proxy's acknowledgement of what they depend on.
const HOLD_LIMIT: Duration = Duration::from_secs(5);
