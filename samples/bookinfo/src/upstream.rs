//! HTTP client for the other services, with keep-alive, a timeout and optional retries.
//!
//! A failed call returns an error value, from which the caller makes a message. Nothing here panics or logs.

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
    retry_policy: RetryPolicy,
}

/// Timeout and number of tries.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Time limit of one try, from connecting to the last byte.
    pub timeout: Duration,
    /// Maximum number of tries. An error, a timeout or a status other than 200 leads to a retry.
    pub tries: u32,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The response has a status other than 200.
    #[error("{0} returned {1}")]
    Status(String, StatusCode),
    /// There was no response within the timeout.
    #[error("{0} did not respond within {1:?}")]
    Timeout(String, Duration),
    /// The connection failed or broke.
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CallError {
    /// The status for our own client: the other service's status, or 500 if there was no response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Status(_, status) => *status,
            Self::Timeout(..) | Self::Unreachable(..) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error and its causes on one line, for the log.
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
    pub fn to(authority: &str, retry_policy: RetryPolicy) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client, authority: authority.to_owned(), retry_policy }
    }

    /// Sends `GET path` and returns the body of a response with status 200.
    pub async fn get(&self, path: &str, headers: &HeaderMap) -> Result<Bytes, CallError> {
        let mut last = self.try_once(path, headers).await;
        for _ in 1..self.retry_policy.tries {
            if last.is_ok() {
                break;
            }
            last = self.try_once(path, headers).await;
        }
        last
    }

    async fn try_once(&self, path: &str, headers: &HeaderMap) -> Result<Bytes, CallError> {
        let timeout = self.retry_policy.timeout;
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
        let response = self.client.request(request).await.map_err(|e| unreachable(Box::new(e)))?;
        let status = response.status();
        // The body is read for every status, so that the connection can be reused.
        let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await.map_err(unreachable)?;
        if status != StatusCode::OK {
            return Err(CallError::Status(self.authority.clone(), status));
        }
        Ok(body.to_bytes())
    }
}

const IDLE: Duration = Duration::from_mins(1);
const LONGEST_BODY: usize = 1 << 20;
