//! Opens a gRPC channel to another process of the mesh, over plaintext or TLS with our own verifiers. Exists because
//! the gRPC library verifies only DNS names, and the mesh verifies identities.

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// A channel to `address` (`host:port`) that connects on first use and reconnects when the connection is lost. With
/// `tls`, HTTP/2 is negotiated by ALPN and the configuration's verifier checks the server.
pub fn lazy(address: &str, tls: Option<ClientConfig>) -> Result<Channel, String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri: Uri = format!("{scheme}://{address}")
        .parse()
        .map_err(|error| format!("`{address}` is not an address such as citadel:8060: {error}"))?;
    if uri.port().is_none() {
        return Err(format!("`{address}` has no port; write it as host:port"));
    }
    let tls = tls.map(|mut config| {
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    });
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(Connector { tls }))
}

#[derive(Clone)]
struct Connector {
    tls: Option<TlsConnector>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move { Ok(TokioIo::new(connect(&uri, tls).await?)) })
    }
}

async fn connect(uri: &Uri, tls: Option<TlsConnector>) -> io::Result<Box<dyn Io>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or_default();
    let stream = connect_tcp(host, port).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let Some(mark) = MARK.get() else { return TcpStream::connect((host, port)).await };
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket2::SockRef::from(&socket).set_mark(*mark)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Sets the mark (`SO_MARK`) of the sockets that this process's channels open from now on, so that capture rules can
/// skip them where the process cannot be identified by its user. The first call wins.
pub fn mark_sockets(mark: u32) {
    let _ = MARK.set(mark);
}

static MARK: OnceLock<u32> = OnceLock::new();

/// A byte stream over any transport.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_needs_a_host_and_a_port() {
        for address in ["citadel:8060", "127.0.0.1:8060", "[::1]:8060"] {
            assert!(lazy(address, None).is_ok(), "{address}");
        }
        for address in ["", "citadel", "a b:1", "citadel:99999"] {
            assert!(lazy(address, None).is_err(), "{address}");
        }
    }
}
