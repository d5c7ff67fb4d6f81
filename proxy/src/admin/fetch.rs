//! Sends one HTTP/1.1 request to the application in the same pod. The request comes from 127.0.0.6, which capture
//! rules treat as the proxy's own address, so that it reaches the application and is not captured.

use crate::credentials::Store;
use api::model::tls::UpstreamTls;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// A response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Connects to an address of this pod, with the proxy's own source address.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let (socket, source) = match address {
        SocketAddr::V4(_) => (TcpSocket::new_v4(), api::name::INBOUND_SOURCE),
        SocketAddr::V6(_) => (TcpSocket::new_v6(), IpAddr::V6(api::name::INBOUND_SOURCE_V6)),
    };
    let failed = |error: std::io::Error| format!("{address}: {error}");
    let socket = socket.map_err(failed)?;
    // If the address is missing (not every loopback interface has ::6), the system chooses a source address.
    if let Err(error) = socket.bind(SocketAddr::new(source, 0)) {
        tracing::debug!(%source, %error, "connecting to the application from another address");
    }
    socket.connect(address).await.map_err(failed)
}

/// Sends a request and reads at most `limit` bytes of the response body.
pub(super) async fn send(
    address: SocketAddr,
    tls: bool,
    request: Request<Empty<Bytes>>,
    limit: usize,
) -> Result<Response, String> {
    let stream = connect(address).await?;
    if !tls {
        return exchange(stream, request, limit).await;
    }
    let config = crate::credentials::client_config(&UpstreamTls::default(), &Store::new())
        .map_err(|error| error.to_string())?;
    let host =
        request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned();
    let name = ServerName::try_from(host).unwrap_or_else(|_| address.ip().into());
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await;
    exchange(stream.map_err(|error| format!("{address}: {error}"))?, request, limit).await
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>, limit: usize) -> Result<Response, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|error| format!("the response's body: {error}"))?.to_bytes();
        Ok(Response { status: head.status, headers: head.headers, body })
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        response = &mut exchange => response,
        // The last bytes of a response may arrive together with the end of the connection.
        _ = &mut connection => exchange.await,
    }
}
