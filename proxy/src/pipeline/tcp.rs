//! Proxies opaque bytes: opens one connection to the chain's cluster and copies in both directions until both have
//! ended.

use super::downstream::Downstream;
use super::live::State;
use super::upstream::{ActiveGuard, Host, OpenConnection, Upstream};
use super::world::now;
use crate::flow::extra::{Attempted, Extra};
use crate::flow::flags::Flags;
use crate::flow::record::{Detail, Key, Record, Reporter, Traffic};
use crate::flow::refusal::Refusal;
use crate::io::Stream;
use crate::io::copy::{End, Progress, streams};
use crate::route;
use crate::send::SendError;
use crate::send::connect::{ConnectError, Dial, connect};
use crate::snapshot::health::Verdict;
use crate::snapshot::listener::Tcp;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// Serves a connection until it ends.
pub(super) async fn serve(mut down: Stream, connection: Rc<Downstream>, tcp: &Tcp) {
    connection.live.begin(now());
    let counted = Rc::new(Counted::new(&connection));
    let result = upstream(&connection, tcp, &counted).await;
    let (mut up, _busy) = match result {
        Ok(connected) => connected,
        Err(refusal) => {
            down.reset();
            counted.detail.borrow_mut().transport_failure = refusal.transport_failure;
            return counted.finish(&connection, tcp, refusal.flags);
        }
    };
    counted.open(&connection);
    let flushed = (counted.clone(), connection.clone());
    connection.live.on_flush(Box::new(move || flushed.0.flush(&flushed.1)));
    let flags = match join(&connection, &mut down, &mut up, &counted.progress).await {
        Ok(()) => Flags::NONE,
        Err((End::Up, _)) => {
            down.reset();
            Flags::UC
        }
        // As in Envoy, a client that disconnects has simply ended its connection, so no flag is set.
        Err((End::Down, _)) => {
            up.reset();
            Flags::NONE
        }
    };
    connection.live.forget_flush();
    counted.finish(&connection, tcp, flags);
}

/// Copies in both directions until the end, an error, the idle timeout, or the end of draining.
async fn join(
    connection: &Downstream,
    down: &mut Stream,
    up: &mut Stream,
    progress: &Progress,
) -> Result<(), (End, std::io::Error)> {
    let live = &connection.live;
    let mut copying = pin!(streams(down, up, progress));
    std::future::poll_fn(|context| {
        live.touch(connection.thread.coarse());
        if live.state(context) == State::Cut {
            return Poll::Ready(Ok(()));
        }
        copying.as_mut().poll(context)
    })
    .await
}

/// Connects to an endpoint of the cluster, with retries.
async fn upstream(
    connection: &Rc<Downstream>,
    tcp: &Tcp,
    counted: &Counted,
) -> Result<(Stream, ActiveGuard), Refusal> {
    let thread = &connection.thread;
    let none = http::HeaderMap::new();
    let missing = || Refusal::no_cluster(503);
    let chosen = route::cluster(&tcp.clusters, &none, thread.random()).ok_or_else(missing)?;
    let mut tried = vec![];
    let mut refusal = Refusal::no_endpoint();
    let most = tcp.model.max_connect_attempts.max(1);
    for attempt in 1..=most {
        // Look the upstream up again: it may have changed during the last attempt, which may have taken long.
        let upstream = thread.upstream(chosen.name()).ok_or_else(missing)?;
        counted.detail.borrow_mut().cluster = Some(chosen.name().clone());
        counted.key(|key| key.service = upstream.service);
        let Some(host) = upstream.choose(thread, None, connection.original, (&tried, 3)) else { break };
        tried.push(host.address);
        counted.detail.borrow_mut().upstream_host = Some(host.address);
        counted.detail.borrow_mut().attempts = attempt;
        counted.extra(|extra| {
            let name = host.name().map(Into::into);
            extra.attempted.push(Attempted { address: host.address, name, connection: None });
        });
        match dial(connection, &upstream, &host, counted).await {
            Ok(connected) => {
                upstream.record_verdict(&host, Verdict::Good);
                return Ok(connected);
            }
            Err(error) => {
                upstream.record_verdict(&host, Verdict::GatewayError);
                refusal = error;
                if attempt == most && refusal.flags.contains(Flags::UF) {
                    refusal.flags |= Flags::URX_LAST;
                }
            }
        }
    }
    Err(refusal)
}

async fn dial(
    connection: &Downstream,
    upstream: &Upstream,
    host: &Rc<Host>,
    counted: &Counted,
) -> Result<(Stream, ActiveGuard), Refusal> {
    let thread = &connection.thread;
    let limit = upstream.cluster().model.limits.max_connections;
    let Some(permit) = upstream.permit(limit, |g| &g.connections) else {
        upstream.stats.upstream_rq_pending_overflow.add(1);
        return Err(Refusal::overflow());
    };
    let failed = |error: ConnectError| {
        upstream.stats.upstream_cx_connect_fail.add(1);
        Refusal::of(&SendError::Connect(error))
    };
    let keeps_certificates = counted.detail.borrow().extra.is_some();
    let dial = Dial { keeps_certificates, ..upstream.dial(host, None, thread.mark) };
    let started = now();
    let (stream, opened) = connect(&dial).await.map_err(failed)?;
    counted.extra(|extra| extra.leased(&Rc::new(opened), now() - started));
    let leaf = stream.peer_certificates().first();
    let peer = leaf.and_then(|leaf| api::identity::peer_identity(leaf).ok());
    if connection.reporter == Reporter::Source {
        counted.key(|key| {
            key.workload = host.workload;
            key.principal = peer.map_or(0, |id| thread.telemetry.principal(id.principal()));
            key.mutual_tls = key.principal != 0;
        });
    }
    counted.detail.borrow_mut().upstream_local = stream.socket().local_addr().ok();
    let mut active = host.begin(upstream, false);
    active.keep(OpenConnection::new(upstream, permit));
    Ok((stream, active))
}

/// The metrics of a connection, recorded in parts while it is open.
struct Counted {
    began: Instant,
    key: Cell<Key>,
    progress: Progress,
    flushed: Cell<(u64, u64)>,
    opened: Cell<bool>,
    detail: std::cell::RefCell<Detail>,
}

impl Counted {
    fn new(connection: &Downstream) -> Self {
        let mut key = Key::unknown(connection.reporter, Traffic::Tcp);
        if connection.reporter == Reporter::Destination {
            key.mutual_tls = connection.mutual();
            key.peer = connection.peer_number;
            key.principal = connection.principal;
        }
        let began = now();
        let detail = Detail {
            start: Some(connection.thread.wall(began)),
            downstream_local: Some(connection.local),
            downstream_remote: Some(connection.peer),
            server_name: connection.server_name.clone(),
            downstream_direct: Some(connection.peer),
            peer: connection.client.clone(),
            tls: connection.session,
            extra: connection.extra(connection.chain.logs(), Traffic::Tcp, began),
            ..Detail::default()
        };
        Self {
            began,
            key: Cell::new(key),
            progress: Progress::default(),
            flushed: Cell::default(),
            opened: Cell::new(false),
            detail: detail.into(),
        }
    }

    fn key(&self, change: impl FnOnce(&mut Key)) {
        let mut key = self.key.get();
        change(&mut key);
        self.key.set(key);
    }

    fn extra(&self, add: impl FnOnce(&mut Extra)) {
        if let Some(extra) = self.detail.borrow_mut().extra.as_deref_mut() {
            add(extra);
        }
    }

    fn open(&self, connection: &Downstream) {
        self.opened.set(true);
        connection.thread.telemetry.tcp_opened(self.key.get());
    }

    fn flush(&self, connection: &Downstream) {
        let (sent, received) = (self.progress.down(), self.progress.up());
        let (sent_before, received_before) = self.flushed.replace((sent, received));
        let telemetry = &connection.thread.telemetry;
        telemetry.tcp_bytes(self.key.get(), sent - sent_before, received - received_before);
    }

    fn finish(&self, connection: &Downstream, tcp: &Tcp, flags: Flags) {
        let end = now();
        connection.live.end(end);
        if self.opened.get() {
            self.flush(connection);
        } else {
            self.key(|key| key.flags = flags);
            connection.thread.telemetry.tcp_opened(self.key.get());
        }
        self.key(|key| key.flags = flags);
        connection.thread.telemetry.tcp_closed(self.key.get());
        if tcp.logs.is_empty() {
            return;
        }
        let record = Record {
            key: self.key.get(),
            duration: end.saturating_duration_since(self.began),
            received: self.progress.up(),
            sent: self.progress.down(),
            request_messages: 0,
            response_messages: 0,
            detail: Some(Box::new(self.detail.take())),
        };
        for log in &tcp.logs {
            connection.thread.telemetry.log(log, &record);
        }
    }
}
