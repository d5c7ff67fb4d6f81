//! Serves a router over plaintext or TLS until it is drained. Exists so that all servers of the mesh accept
//! connections, time out, identify the peer and shut down in the same way. Certificates arrive through a channel; a
//! renewed one is used for the next connection and leaves open ones alone.
//!
//! A client's chain is verified again when the roots change and with the first request after that. A connection is
//! closed when its client's chain does not verify against the current roots or its client's certificate has expired.

mod exchange;
pub mod acceptor;

pub mod connections;

mod peer;

pub use peer::Peer;

use crate::identity::peer_identity;
use crate::process::tls::Serving;
use acceptor::{Acceptor, Counter, Listener, Slot};
use axum::Router;
use connections::{CloseReason, Limits};
use exchange::{RequestBody, ResponseBody};
use http::Request;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::UnixTime;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// When a connection is closed gracefully; an extension of each of its requests. Handlers end their streams then, so
/// that the peer reconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseAt {
    /// The moment.
    pub at: Instant,
    /// What happens then.
    pub cause: CloseCause,
}

/// Why a connection is closed gracefully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer's certificate expires soon; the peer reconnects with its next one.
    Certificate,
    /// The connection has reached the listener's maximum age; the peer may reconnect to another replica.
    Age,
}

impl CloseAt {
    /// The earlier of the two moments that end a connection: shortly before the peer's certificate expires, which is
    /// after `left`, and at the maximum `age`. `random` is between 0 and 1.
    fn first(now: Instant, left: Option<Duration>, age: Option<Duration>, random: f64) -> Option<Self> {
        let certificate = left.map(|left| (lasts(left, random), CloseCause::Certificate));
        let age = age.map(|age| (aged(age, random), CloseCause::Age));
        let (after, cause) = certificate.into_iter().chain(age).min_by_key(|(after, _)| *after)?;
        Some(Self { at: now.checked_add(after)?, cause })
    }
}

/// The age at which a connection is closed: 10 % more or less than the maximum, as in gRPC, so that peers that connected
/// together do not reconnect together. `random` is between 0 and 1.
fn aged(age: Duration, random: f64) -> Duration {
    age.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

/// The lifetime of a connection whose peer's certificate expires after `left`: a little less, with jitter, so that
/// peers that connected together do not reconnect together. `random` is between 0 and 1.
fn lasts(left: Duration, random: f64) -> Duration {
    left.saturating_sub((left / 10).min(MAX_EARLY_CLOSE).mul_f64(random.clamp(0.0, 1.0)))
}

/// Serves plaintext HTTP/1.1 and HTTP/2 with the default limits until `drain` is cancelled and the active requests
/// have ended.
pub async fn http(listener: TcpListener, router: Router, drain: CancellationToken) {
    http_within(Limits::default(), listener, router, drain).await;
}

/// Serves plaintext HTTP/1.1 and HTTP/2 until `drain` is cancelled and the active requests have ended.
pub async fn http_within<L: Listener>(limits: Limits, listener: L, router: Router, drain: CancellationToken) {
    let (acceptor, connections) = (Acceptor::new(limits), ConnectionTasks::new());
    while let Some((stream, address, slot)) = drain.run_until_cancelled(acceptor.accept(&listener)).await {
        let (router, drain) = (router.clone(), drain.clone());
        let peer = Arc::new(Peer { address, certificates: Arc::default(), identity: None });
        let client = Client::new(peer, (slot.counter(), &limits), None);
        let stream = slot.watch(stream, false);
        connections.spawn(slot, async move { serve(stream, router, client, drain).await });
    }
    drop(listener);
    connections.end(DRAIN_LIMIT).await;
}

/// Serves HTTP/1.1 and HTTP/2 over TLS with the default limits and, for each connection, the current configuration of
/// `tls`.
pub async fn https(
    listener: TcpListener,
    router: Router,
    tls: watch::Receiver<Arc<Serving>>,
    drain: CancellationToken,
) {
    https_within(Limits::default(), listener, router, tls, drain).await;
}

/// Serves HTTP/1.1 and HTTP/2 over TLS with, for each connection, the current configuration of `tls`. When it changes,
/// connections whose clients do not verify against it are closed.
pub async fn https_within<L: Listener>(
    limits: Limits,
    listener: L,
    router: Router,
    mut tls: watch::Receiver<Arc<Serving>>,
    drain: CancellationToken,
) {
    let (acceptor, connections) = (Acceptor::new(limits), ConnectionTasks::new());
    loop {
        let next = async {
            tokio::select! {
                accepted = acceptor.accept(&listener) => Some(accepted),
                Ok(()) = tls.changed() => None,
            }
        };
        let Some(next) = drain.run_until_cancelled(next).await else { break };
        let Some((stream, address, slot)) = next else {
            let current = tls.borrow_and_update().clone();
            acceptor.recheck(|peer| current.verify(&peer.certificates, UnixTime::now()).is_ok()).await;
            continue;
        };
        let (router, drain, tls) = (router.clone(), drain.clone(), tls.clone());
        let (stream, counter) = (slot.watch(stream, true), slot.counter());
        connections.spawn(slot, async move {
            let tls_acceptor = TlsAcceptor::from(tls.borrow().config.clone());
            // On the heap, so that the connection's task holds nothing of the handshake after it.
            match Box::pin(tls_acceptor.accept(stream)).await {
                Ok(stream) => {
                    let peer = Arc::new(tls_peer(address, stream.get_ref().1));
                    counter.handshake_done(&peer);
                    let client = Client::new(peer, (counter, &limits), Some(tls));
                    // The roots may have changed during the handshake, which has verified the peer against the old
                    // ones.
                    match client.distrust() {
                        Some(reason) => client.counter.close(reason),
                        None => serve(stream, router, client, drain).await,
                    }
                }
                Err(error) => tracing::debug!(%address, %error, "the TLS handshake failed"),
            }
        });
    }
    drop(listener);
    connections.end(DRAIN_LIMIT).await;
}

fn tls_peer(address: SocketAddr, connection: &rustls::ServerConnection) -> Peer {
    let certificates: Arc<[_]> = connection
        .peer_certificates()
        .map(|chain| chain.iter().map(|der| der.clone().into_owned()).collect())
        .unwrap_or_default();
    let identity = certificates.first().and_then(|leaf| peer_identity(leaf).ok());
    Peer { address, certificates, identity }
}

/// The client of a connection, and how it is verified again.
struct Client {
    peer: Arc<Peer>,
    counter: Counter,
    /// The most bytes of an HTTP/1 request's head.
    head: usize,
    trust: Option<Mutex<Trust>>,
    not_after: Option<SystemTime>,
    close_at: Option<CloseAt>,
}

/// The configuration that verifies the peer.
struct Trust {
    tls: watch::Receiver<Arc<Serving>>,
    /// The configuration that last verified it.
    by: Option<Arc<Serving>>,
}

impl Client {
    fn new(
        peer: Arc<Peer>,
        (counter, limits): (Counter, &Limits),
        tls: Option<watch::Receiver<Arc<Serving>>>,
    ) -> Self {
        let trust = tls.map(|tls| Mutex::new(Trust { tls, by: None }));
        let not_after = peer.not_after();
        // The hash is keyed at random in each process.
        let random = RandomState::new().hash_one(peer.address) as f64 / u64::MAX as f64;
        let left = not_after.map(|end| end.duration_since(wall()).unwrap_or_default());
        let close_at = CloseAt::first(Instant::now(), left, limits.age, random);
        Self { peer, counter, head: limits.head, trust, not_after, close_at }
    }

    /// Why the peer is not trusted, if it is not.
    fn distrust(&self) -> Option<CloseReason> {
        if self.not_after.is_some_and(|end| end <= wall()) {
            return Some(CloseReason::Expired);
        }
        let mut trust = self.trust.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let current = trust.tls.borrow().clone();
        if trust.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &current)) {
            return None;
        }
        if current.verify(&self.peer.certificates, UnixTime::now()).is_err() {
            return Some(CloseReason::Untrusted);
        }
        trust.by = Some(current);
        None
    }
}

async fn serve<S>(stream: S, router: Router, client: Client, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (address, close_at, head) = (client.peer.address, client.close_at, client.head);
    let service = service_fn(move |request: Request<Incoming>| {
        let distrust = client.distrust();
        if let Some(reason) = distrust {
            client.counter.close(reason);
        }
        let exchange = client.counter.begin();
        let mut request = request.map(|body| RequestBody::new(body, exchange.upload()));
        request.extensions_mut().insert(Peer::clone(&client.peer));
        client.close_at.and_then(|close_at| request.extensions_mut().insert(close_at));
        let mut router = router.clone();
        async move {
            if let Some(reason) = distrust {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
            }
            let Ok(response) = router.call(request).await;
            let bytes = response.body().size_hint().exact().unwrap_or_default();
            exchange.responded(usize::try_from(bytes).unwrap_or(usize::MAX));
            Ok(response.map(|body| ResponseBody::new(body, exchange)))
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_buf_size(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    // On the heap, like the connection in `task`.
    let mut connection = Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let closing = async {
        match close_at {
            Some(CloseAt { at, .. }) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = drain.cancelled() => None,
        () = closing => None,
    };
    let result = match result {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, error, "the connection ended early");
    }
}

/// The tasks of a listener's open connections.
struct ConnectionTasks {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl ConnectionTasks {
    fn new() -> Self {
        Self { tasks: TaskTracker::new(), abort: CancellationToken::new() }
    }

    fn spawn(&self, slot: Slot, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task(self.abort.clone(), slot, connection));
    }

    /// Waits for the active requests up to a limit, then aborts the rest: streams may never end on their own.
    async fn end(self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::debug!(
                open = self.tasks.len(),
                "closing connections that are still open at the end of the drain"
            );
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

/// The task of a connection. The connection is on the heap, so that it exists once: a future that passes another one on
/// has room for it twice.
fn task(
    abort: CancellationToken,
    slot: Slot,
    connection: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let connection = Box::pin(connection);
    async move {
        abort.run_until_cancelled(slot.run(connection)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell compares certificates with the time")]
fn wall() -> SystemTime {
    SystemTime::now()
}

/// How long active requests may run after draining has begun.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Concurrent requests of an HTTP/2 connection.
const STREAMS: u32 = 32;
/// Flow-control windows of HTTP/2: requests are small here, and connections are many.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes buffered for an HTTP/2 stream before the client reads them. The library's default is six times that, which
/// matters when hundreds of clients connect at once.
const SEND_BUFFER: usize = 64 << 10;
const HEADER_LIMIT: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The most that a connection is closed before its peer's certificate expires.
const MAX_EARLY_CLOSE: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests;
