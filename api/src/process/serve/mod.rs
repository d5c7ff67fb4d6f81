//! Serves a router over plaintext or TLS until told to drain. Exists so that every server of the mesh accepts, times
//! out, tells its handlers who the peer is, and ends in the same way. Certificates come through a channel, so a
//! renewed one is used by the next connection and disturbs none that is open.

use crate::identity::{SpiffeId, peer_identity};
use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The chain the client showed, already verified by the TLS configuration; empty without one.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The identity in the chain's leaf.
    pub identity: Option<SpiffeId>,
}

/// Serves plaintext HTTP/1.1 and HTTP/2 until `drain` is cancelled and the open requests have ended.
pub async fn http(listener: TcpListener, router: Router, drain: CancellationToken) {
    let connections = Connections::new();
    while let Some((stream, address, permit)) = connections.accept(&listener, &drain).await {
        let (router, drain) = (router.clone(), drain.clone());
        connections.spawn(permit, async move {
            let peer = Peer { address, certificates: Arc::default(), identity: None };
            serve(stream, router, peer, drain).await;
        });
    }
    drop(listener);
    connections.end(DRAIN_LIMIT).await;
}

/// Serves HTTP/1.1 and HTTP/2 over TLS, with the newest configuration of `tls` for each new connection.
pub async fn https(
    listener: TcpListener,
    router: Router,
    tls: watch::Receiver<Arc<ServerConfig>>,
    drain: CancellationToken,
) {
    let connections = Connections::new();
    while let Some((stream, address, permit)) = connections.accept(&listener, &drain).await {
        let (router, drain) = (router.clone(), drain.clone());
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        connections.spawn(permit, async move {
            match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let peer = tls_peer(address, stream.get_ref().1);
                    serve(stream, router, peer, drain).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "the TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "the TLS handshake took too long"),
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

async fn serve<S>(stream: S, router: Router, peer: Peer, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, error, "the connection ended early");
    }
}

/// The open connections of one listener: how many there may be, and their end.
struct Connections {
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    abort: CancellationToken,
}

impl Connections {
    fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            abort: CancellationToken::new(),
        }
    }

    /// The next connection, or nothing once draining has begun.
    async fn accept(
        &self,
        listener: &TcpListener,
        drain: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = drain.run_until_cancelled(self.permits.clone().acquire_owned()).await?;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            match drain.run_until_cancelled(listener.accept()).await? {
                Ok((stream, address)) => {
                    // Small frames both ways: waiting to fill a packet only adds delay.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, address, permit));
                }
                Err(error) => {
                    // Out of descriptors, most likely: a pause lets some connections end.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    drain.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await?;
                }
            }
        }
    }

    fn spawn(&self, permit: OwnedSemaphorePermit, connection: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            abort.run_until_cancelled(connection).await;
            drop(permit);
        });
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

/// How long open requests may run after draining has begun.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const MAX_CONNECTIONS: usize = 10_000;

#[cfg(test)]
mod tests;
