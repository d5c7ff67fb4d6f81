//! Runs probes: over the network from the node, as a kubelet does, or as a command in the container.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::kubelet::probe::{Handler, Plan};
use crate::up::attach::{self, AttachError, ContainerRef};
use crate::up::context::Context;

/// Why a probe or hook failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// There was no response within the timeout.
    #[error("no response within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection failed.
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    /// The command ended with an exit code other than 0.
    #[error("exit code {0}")]
    ExitCode(i32),
    /// The command could not be run.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The probe's fields do not make a valid HTTP request.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// The connection broke.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The response has an error status.
    #[error("status {status}{words}")]
    Status {
        /// Status of the response.
        status: u16,
        /// First line of the response body.
        words: String,
    },
}

/// Runs a probe once. Fails with the reason if the container is unhealthy.
pub async fn run(context: &Context, container: ContainerRef<'_>, plan: &Plan) -> Result<(), ProbeFailure> {
    match tokio::time::timeout(plan.timeout, handle(context, container, &plan.handler)).await {
        Ok(result) => result,
        Err(_) => Err(ProbeFailure::Timeout(plan.timeout)),
    }
}

async fn handle(
    context: &Context,
    container: ContainerRef<'_>,
    handler: &Handler,
) -> Result<(), ProbeFailure> {
    match handler {
        Handler::Tcp { port } => connect(&container.address.to_string(), *port).await.map(drop),
        Handler::Exec { command } => match attach::run(context, container, command, OUTPUT).await? {
            (0, _) => Ok(()),
            (code, _) => Err(ProbeFailure::ExitCode(code)),
        },
        Handler::Http { host, port, path, headers, tls } => {
            let address = container.address.to_string();
            let stream = connect(host.as_deref().unwrap_or(&address), *port).await?;
            let mut request = http::Request::get(path).header("host", format!("{address}:{port}"));
            for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
                request = request.header(name, value);
            }
            request = request.header("user-agent", "kube-probe/ostria").header("connection", "close");
            let request = request.body(Empty::<Bytes>::new())?;
            let (status, words) = if *tls {
                let name = ServerName::try_from(address).expect("an address is a name of a server");
                let connector = tokio_rustls::TlsConnector::from(Arc::new(crate::tls::unverified()));
                get(connector.connect(name, stream).await?, request).await?
            } else {
                get(stream, request).await?
            };
            if (200..400).contains(&status) { Ok(()) } else { Err(ProbeFailure::Status { status, words }) }
        }
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, ProbeFailure> {
    Ok(TcpStream::connect((host, port)).await?)
}

/// Sends a GET request. Returns the status and, for an error, the first line of the body.
async fn get<S>(stream: S, request: http::Request<Empty<Bytes>>) -> Result<(u16, String), ProbeFailure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(ProbeFailure::from);
    let status = match response {
        Ok(response) if response.status().as_u16() >= 400 => {
            let (head, body) = response.into_parts();
            Ok((head.status.as_u16(), words(body).await))
        }
        response => response.map(|response| (response.status().as_u16(), String::new())),
    };
    driver.abort();
    status
}

/// The first line of a response body, formatted to follow its status; empty if the body is not text.
async fn words(mut body: hyper::body::Incoming) -> String {
    let Some(Ok(frame)) = body.frame().await else { return String::new() };
    let data = frame.into_data().unwrap_or_default();
    let text = std::str::from_utf8(&data).unwrap_or_default();
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(WORDS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// Maximum bytes read of a command's output, the same as in a kubelet.
pub const OUTPUT: usize = 10 << 10;
/// Maximum bytes read of an error body. The reasons of Ostria's own servers are shorter.
const WORDS: usize = 500;
/// Time limit of a hook that has no limit of its own.
pub const HOOK: Duration = Duration::from_secs(30);
