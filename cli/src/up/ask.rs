//! Asks what a probe wants to know: over the network from the node, as a kubelet does, or by a command in the
//! container.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::kubelet::probe::{Plan, Question};
use crate::up::attach::{self, Whose};
use crate::up::context::Context;

/// Whether the answer is good; why not.
pub async fn ask(context: &Context, whose: Whose<'_>, plan: &Plan) -> Result<(), String> {
    match tokio::time::timeout(plan.timeout, question(context, whose, &plan.question)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", plan.timeout.as_secs())),
    }
}

async fn question(context: &Context, whose: Whose<'_>, question: &Question) -> Result<(), String> {
    match question {
        Question::Tcp { port } => connect(&whose.address.to_string(), *port).await.map(drop),
        Question::Exec { command } => match attach::run(context, whose, command, OUTPUT).await? {
            (0, _) => Ok(()),
            (code, _) => Err(format!("exit code {code}")),
        },
        Question::Http { host, port, path, headers, tls } => {
            let address = whose.address.to_string();
            let stream = connect(host.as_deref().unwrap_or(&address), *port).await?;
            let mut request = http::Request::get(path).header("host", format!("{address}:{port}"));
            for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
                request = request.header(name, value);
            }
            request = request.header("user-agent", "kube-probe/ostria").header("connection", "close");
            let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
            let (status, words) = if *tls {
                let name = ServerName::try_from(address).map_err(|error| error.to_string())?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(crate::up::tls::unverified()));
                get(connector.connect(name, stream).await.map_err(|error| error.to_string())?, request)
                    .await?
            } else {
                get(stream, request).await?
            };
            if (200..400).contains(&status) { Ok(()) } else { Err(format!("status {status}{words}")) }
        }
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| error.to_string())
}

/// The status, and the first words of a bad answer.
async fn get<S>(stream: S, request: http::Request<Empty<Bytes>>) -> Result<(u16, String), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let answer = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string());
    let told = match response {
        Ok(response) if response.status().as_u16() >= 400 => {
            let (head, body) = response.into_parts();
            Ok((head.status.as_u16(), words(body).await))
        }
        response => response.map(|response| (response.status().as_u16(), String::new())),
    };
    answer.abort();
    told
}

/// The first line of an answer, as it stands behind its status; nothing where it is no text.
async fn words(mut body: hyper::body::Incoming) -> String {
    let Some(Ok(frame)) = body.frame().await else { return String::new() };
    let data = frame.into_data().unwrap_or_default();
    let text = std::str::from_utf8(&data).unwrap_or_default();
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(WORDS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// What is read of a command's output; a kubelet reads as much.
pub const OUTPUT: usize = 10 << 10;
/// Longer than any of our reasons.
const WORDS: usize = 500;
/// How long a hook may take that has no limit of its own.
pub const HOOK: Duration = Duration::from_secs(30);
