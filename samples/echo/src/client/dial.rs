//! Opens connections, and defines the errors of a call.

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::client::plan::Plan;

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why a request has no response. The texts contain no local ports, so that equal errors are counted together.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    #[error("TLS handshake failed")]
    Tls(#[source] std::io::Error),
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
    #[error("gRPC failed")]
    Grpc(#[source] Box<tonic::Status>),
    #[error("WebSocket failed")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("connection failed")]
    Stream(#[source] std::io::Error),
    #[error("the server {0}")]
    Unexpected(&'static str),
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
}

impl CallError {
    /// The error and its causes on one line.
    pub(super) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat the cause in their own message.
            if !line.ends_with(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        line
    }
}

/// Connects as the plan requires.
pub(super) async fn dial(plan: &Plan) -> Result<Box<dyn Stream>, CallError> {
    let stream = TcpStream::connect((plan.host.as_str(), plan.port)).await.map_err(CallError::Connect)?;
    stream.set_nodelay(true).map_err(CallError::Connect)?;
    match &plan.tls {
        None => Ok(Box::new(stream)),
        Some((connector, name)) => {
            let stream = connector.connect(name.clone(), stream).await.map_err(CallError::Tls)?;
            Ok(Box::new(stream))
        }
    }
}

/// The version and the pod that sent a response, from the headers of every echo response.
pub(super) fn named(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    (text("x-echo-version"), text("x-echo-pod"))
}
