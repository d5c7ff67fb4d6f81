//! Calls to the other services: keep-alive, a time limit, a second try where the caller wants one.
//!
//! A failed call is a value that the caller turns into a friendly text; nothing here panics or logs.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client of one service.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client<HttpConnector, Empty<Bytes>>,
    authority: String,
    patience: Patience,
}

/// How long to wait, and how often to ask.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Limit of one try, from connecting to the last byte.
    pub timeout: Duration,
    /// Tries in all; another one follows an error, a timeout or any status but 200.
    pub tries: u32,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service answered, but not with 200.
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    /// The service did not answer in time.
    #[error("{0} did not answer within {1:?}")]
    Timeout(String, Duration),
    /// The service could not be reached, or stopped in the middle.
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CallError {
    /// What to tell our own caller: the service's status, or 500 where it gave none.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Status(_, status) => *status,
            Self::Timeout(..) | Self::Unreachable(..) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error and its causes in one line, for the log.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}

impl Upstream {
    /// A client of the service at `authority` (`host:port`).
    pub fn to(authority: &str, patience: Patience) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client, authority: authority.to_owned(), patience }
    }

    /// The body of a 200 answer to `GET path`.
    pub async fn get(&self, path: &str, headers: &HeaderMap) -> Result<Bytes, CallError> {
        let mut last = self.try_once(path, headers).await;
        for _ in 1..self.patience.tries {
            if last.is_ok() {
                break;
            }
            last = self.try_once(path, headers).await;
        }
        last
    }

    async fn try_once(&self, path: &str, headers: &HeaderMap) -> Result<Bytes, CallError> {
        let timeout = self.patience.timeout;
        tokio::time::timeout(timeout, self.exchange(path, headers))
            .await
            .unwrap_or_else(|_| Err(CallError::Timeout(self.authority.clone(), timeout)))
    }

    async fn exchange(&self, path: &str, headers: &HeaderMap) -> Result<Bytes, CallError> {
        let unreachable = |error| CallError::Unreachable(self.authority.clone(), error);
        let uri: Uri =
            format!("http://{}{path}", self.authority).parse().map_err(|e| unreachable(Box::new(e)))?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.clone();
        let answer = self.client.request(request).await.map_err(|e| unreachable(Box::new(e)))?;
        let status = answer.status();
        // The body is read whatever the status, so that the connection can be used again.
        let body = Limited::new(answer.into_body(), LONGEST_BODY).collect().await.map_err(unreachable)?;
        if status != StatusCode::OK {
            return Err(CallError::Status(self.authority.clone(), status));
        }
        Ok(body.to_bytes())
    }
}

const IDLE: Duration = Duration::from_mins(1);
const LONGEST_BODY: usize = 1 << 20;
