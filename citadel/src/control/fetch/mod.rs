//! Fetches a small document over HTTP or HTTPS. Avoids the dependency on a full HTTP client for a single GET.
//! Redirects are not followed, since the operator alone decides where trust anchors come from.

use api::process::tls;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Fetches the document at `url`. `roots` verify an HTTPS server (absent: the system's); `bearer` is a file with a
/// token for it.
pub async fn get(url: &Uri, roots: Option<&Path>, bearer: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    tokio::time::timeout(LIMIT, unlimited(url, roots, bearer)).await.map_err(|_| FetchError::Slow)?
}

async fn unlimited(url: &Uri, roots: Option<&Path>, bearer: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    let request = request(url, bearer)?;
    let secure = url.scheme_str() == Some("https");
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(FetchError::Connect)?;
    if !secure {
        return send(stream, request).await;
    }
    let roots = load_roots(roots)?;
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Connect(io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| FetchError::Connect(io::Error::other(error)))?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(FetchError::Connect)?;
    send(stream, request).await
}

fn request(url: &Uri, bearer: Option<&Path>) -> Result<Request<Empty<Bytes>>, FetchError> {
    let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let host = url.authority().map_or("", http::uri::Authority::as_str);
    let mut request = Request::get(path).header("host", host).header("accept", "application/json");
    if let Some(file) = bearer {
        let read = std::fs::read_to_string(file);
        let token = read.map_err(|source| FetchError::File { file: file.to_owned(), source })?;
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    request.body(Empty::new()).map_err(|_| FetchError::Response("the request cannot be built".to_owned()))
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unusable = |error: hyper::Error| FetchError::Response(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unusable)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(unusable)?;
    if response.status() != http::StatusCode::OK {
        return Err(FetchError::Response(format!("the status is {}", response.status())));
    }
    let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
    driver.abort();
    body.map(|body| body.to_bytes().to_vec()).map_err(|error| FetchError::Response(error.to_string()))
}

fn load_roots(file: Option<&Path>) -> Result<Arc<RootCertStore>, FetchError> {
    let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|file| file.exists());
    let file = file.or_else(system).ok_or(FetchError::NoRoots)?;
    let pem = std::fs::read(file).map_err(|source| FetchError::File { file: file.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    let certificates = tls::certificates_from_pem(&pem)
        .map_err(|error| FetchError::File { file: file.to_owned(), source: io::Error::other(error) })?;
    // System bundles contain some certificates that the verifier cannot parse; the others are used.
    let _ = roots.add_parsable_certificates(certificates);
    Ok(Arc::new(roots))
}

/// Why a document cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The connection failed, or the server is not trusted.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The response is not the document.
    #[error("the response cannot be used: {0}")]
    Response(String),
    /// The fetch timed out.
    #[error("no response within {} seconds", LIMIT.as_secs())]
    Slow,
    /// A file that the request needs cannot be read.
    #[error("{} cannot be read", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There are no roots to verify the server with.
    #[error("this system has no bundle of root certificates; name one with --token-jwks-ca")]
    NoRoots,
}

const LIMIT: Duration = Duration::from_secs(10);
const MAX_DOCUMENT: usize = 1024 * 1024;
/// The system's bundles: Debian and derivatives, Red Hat and derivatives, Alpine.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

#[cfg(test)]
mod tests;
