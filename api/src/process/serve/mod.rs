//! Serves a router over plaintext or TLS until told to drain. Exists so that every server of the mesh accepts, times
//! out, tells its handlers who the peer is, and ends in the same way. Certificates come through a channel, so a
//! renewed one is used by the next connection and disturbs none that is open.
//!
//! Authentication is never older than the facts: a client's chain is verified again when the roots change, and with the
//! first request after that; a connection whose client does not verify any more, or whose client's certificate has
//! ended, is closed.

mod exchange;
pub mod door;

pub mod crowd;

mod peer;

pub use peer::Peer;

use crate::identity::peer_identity;
use crate::process::tls::Serving;
use axum::Router;
use crowd::{Limits, Why};
use door::{Counter, Door, Listener, Seat};
use exchange::{Counted, Weighed};
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

/// When a connection takes its leave because the certificate of its peer ends soon; an extension of each of its
/// requests. A handler ends its streams then, so that the peer comes back with its next certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting(pub Instant);

/// How long a connection lasts whose peer's certificate lasts for `left`: a little less, different for each connection,
/// so that peers that began together do not come back together. `random` is between 0 and 1.
fn lasts(left: Duration, random: f64) -> Duration {
    left.saturating_sub((left / 10).min(LONGEST_LEAVE).mul_f64(random.clamp(0.0, 1.0)))
}

/// Serves plaintext HTTP/1.1 and HTTP/2 with the usual limits until `drain` is cancelled and the open requests have
/// ended.
pub async fn http(listener: TcpListener, router: Router, drain: CancellationToken) {
    http_within(Limits::default(), listener, router, drain).await;
}

/// Serves plaintext HTTP/1.1 and HTTP/2 until `drain` is cancelled and the open requests have ended.
pub async fn http_within<L: Listener>(limits: Limits, listener: L, router: Router, drain: CancellationToken) {
    let (door, connections) = (Door::new(limits), Connections::new());
    while let Some((stream, address, seat)) = drain.run_until_cancelled(door.accept(&listener)).await {
        let (router, drain) = (router.clone(), drain.clone());
        let peer = Arc::new(Peer { address, certificates: Arc::default(), identity: None });
        let caller = Caller::new(peer, (seat.counter(), limits.head), None);
        let stream = seat.watch(stream, false);
        connections.spawn(seat, async move { serve(stream, router, caller, drain).await });
    }
    drop(listener);
    connections.end(DRAIN_LIMIT).await;
}

/// Serves HTTP/1.1 and HTTP/2 over TLS with the usual limits, with the newest configuration of `tls` for each new
/// connection.
pub async fn https(
    listener: TcpListener,
    router: Router,
    tls: watch::Receiver<Arc<Serving>>,
    drain: CancellationToken,
) {
    https_within(Limits::default(), listener, router, tls, drain).await;
}

/// Serves HTTP/1.1 and HTTP/2 over TLS, with the newest configuration of `tls` for each new connection. When that
/// changes, connections whose clients it would not let in are closed.
pub async fn https_within<L: Listener>(
    limits: Limits,
    listener: L,
    router: Router,
    mut tls: watch::Receiver<Arc<Serving>>,
    drain: CancellationToken,
) {
    let (door, connections) = (Door::new(limits), Connections::new());
    loop {
        let next = async {
            tokio::select! {
                accepted = door.accept(&listener) => Some(accepted),
                Ok(()) = tls.changed() => None,
            }
        };
        let Some(next) = drain.run_until_cancelled(next).await else { break };
        let Some((stream, address, seat)) = next else {
            let current = tls.borrow_and_update().clone();
            door.recheck(|peer| current.verify(&peer.certificates, UnixTime::now()).is_ok()).await;
            continue;
        };
        let (router, drain, tls) = (router.clone(), drain.clone(), tls.clone());
        let (stream, counter) = (seat.watch(stream, true), seat.counter());
        connections.spawn(seat, async move {
            let acceptor = TlsAcceptor::from(tls.borrow().config.clone());
            match acceptor.accept(stream).await {
                Ok(stream) => {
                    let peer = Arc::new(tls_peer(address, stream.get_ref().1));
                    counter.greeted(&peer);
                    let caller = Caller::new(peer, (counter, limits.head), Some(tls));
                    // Roots that changed during the handshake are not those that it was checked with.
                    match caller.doubt() {
                        Some(why) => caller.counter.close(why),
                        None => serve(stream, router, caller, drain).await,
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

/// The other end of a connection, and what it takes to believe it.
struct Caller {
    peer: Arc<Peer>,
    counter: Counter,
    /// Bytes of the head of an HTTP/1 request.
    head: usize,
    trust: Option<Mutex<Trust>>,
    not_after: Option<SystemTime>,
    parting: Option<Parting>,
}

/// By what the peer was verified.
struct Trust {
    tls: watch::Receiver<Arc<Serving>>,
    /// The configuration by which it was verified last.
    by: Option<Arc<Serving>>,
}

impl Caller {
    fn new(
        peer: Arc<Peer>,
        (counter, head): (Counter, usize),
        tls: Option<watch::Receiver<Arc<Serving>>>,
    ) -> Self {
        let trust = tls.map(|tls| Mutex::new(Trust { tls, by: None }));
        let not_after = peer.not_after();
        // Keyed at random in each process.
        let random = RandomState::new().hash_one(peer.address) as f64 / u64::MAX as f64;
        let parting = not_after.map(|end| {
            let left = end.duration_since(wall()).unwrap_or_default();
            Parting(Instant::now() + lasts(left, random))
        });
        Self { peer, counter, head, trust, not_after, parting }
    }

    /// Why the peer is not believed any more.
    fn doubt(&self) -> Option<Why> {
        if self.not_after.is_some_and(|end| end <= wall()) {
            return Some(Why::Expired);
        }
        let mut trust = self.trust.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let current = trust.tls.borrow().clone();
        if trust.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &current)) {
            return None;
        }
        if current.verify(&self.peer.certificates, UnixTime::now()).is_err() {
            return Some(Why::Untrusted);
        }
        trust.by = Some(current);
        None
    }
}

async fn serve<S>(stream: S, router: Router, caller: Caller, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (address, parting, head) = (caller.peer.address, caller.parting, caller.head);
    let service = service_fn(move |request: Request<Incoming>| {
        let doubt = caller.doubt();
        if let Some(why) = doubt {
            caller.counter.close(why);
        }
        let exchange = caller.counter.begin();
        let mut request = request.map(|body| Weighed::new(body, exchange.upload()));
        request.extensions_mut().insert(Peer::clone(&caller.peer));
        caller.parting.and_then(|parting| request.extensions_mut().insert(parting));
        let mut router = router.clone();
        async move {
            if let Some(why) = doubt {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            let Ok(response) = router.call(request).await;
            let bytes = response.body().size_hint().exact().unwrap_or_default();
            exchange.answered(usize::try_from(bytes).unwrap_or(usize::MAX));
            Ok(response.map(|body| Counted::new(body, exchange)))
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
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let parted = async {
        match parting {
            Some(Parting(at)) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = drain.cancelled() => None,
        () = parted => None,
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

/// The open connections of one listener, and their end.
struct Connections {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl Connections {
    fn new() -> Self {
        Self { tasks: TaskTracker::new(), abort: CancellationToken::new() }
    }

    fn spawn(&self, seat: Seat, connection: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move { abort.run_until_cancelled(seat.run(connection)).await });
    }

    /// Waits for the open requests, then cuts what has not ended: a stream may be meant to last for ever.
    async fn end(self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::debug!(open = self.tasks.len(), "cutting connections that outlast the drain");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell compares certificates with the time")]
fn wall() -> SystemTime {
    SystemTime::now()
}

/// How long open requests may run after draining has begun.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Requests of an HTTP/2 connection at a time.
const STREAMS: u32 = 32;
/// What an HTTP/2 client may send before it is read: requests here are small, and connections are many.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// What is made ready for a stream of an HTTP/2 client before it takes it. The library's own measure is six times that, which
/// counts when hundreds of clients come at once.
const SEND_BUFFER: usize = 64 << 10;
const HEADER_LIMIT: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long before the end of its certificate a peer is sent away at most.
const LONGEST_LEAVE: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests;
