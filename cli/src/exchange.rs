//! A request over HTTP/1 to a server of the mesh, and why it failed. All clients share both.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// Why a request to a server of the control plane failed. Each message is a predicate, to which the server is the
/// subject.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The connection failed.
    #[error("cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// The server's certificate is not signed by the mesh's roots, or is another server's.
    #[error("has an untrusted certificate: {0}")]
    Unproven(std::io::Error),
    /// No response within the timeout.
    #[error("did not respond within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The body is too long.
    #[error("sent more than {} MiB", MOST_BODY >> 20)]
    TooLong,
    /// The connection broke.
    #[error("closed the connection: {0}")]
    Http(#[from] hyper::Error),
    /// The response has an error status.
    #[error("returned status {status}: {words}")]
    Status {
        /// Status of the response.
        status: http::StatusCode,
        /// Body of the response.
        words: String,
    },
    /// The response cannot be parsed.
    #[error("returned a malformed response: {0}")]
    Response(#[from] serde_json::Error),
}

/// Sends a request over a connection and returns the body of the response. The limit includes connecting.
pub async fn exchange<S>(
    limit: Duration,
    connect: impl Future<Output = Result<S, RequestError>>,
    request: http::Request<Full<Bytes>>,
) -> Result<Bytes, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let stream = TokioIo::new(connect.await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), MOST_BODY).collect().await.map_err(unreadable)?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(RequestError::Status { status, words: String::from_utf8_lossy(&body).trim().into() })
    };
    timeout(limit, exchange).await.map_err(|_| RequestError::Timeout(limit))?
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> RequestError {
    error.downcast::<hyper::Error>().map_or(RequestError::TooLong, |error| RequestError::Http(*error))
}

/// Maximum time of a request to a server on this machine.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Maximum size of a body. Dumps of large meshes have megabytes; another program that listens at a server's port could
/// send without end.
pub const MOST_BODY: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// The error of a request to which a server responds with these bytes.
    async fn outcome(bytes: &'static [u8]) -> Result<Bytes, String> {
        let (client, mut server) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut head = [0; 1024];
            let _ = server.read(&mut head).await;
            let _ = server.write_all(bytes).await;
        });
        exchange(LIMIT, async { Ok(client) }, http::Request::new(Full::default()))
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_body_is_returned_and_each_failure_says_what_the_server_does() {
        let body = outcome(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(body.as_deref(), Ok(&b"ok"[..]));
        let refused = outcome(b"HTTP/1.1 503 \r\ncontent-length: 4\r\n\r\nno\r\n").await;
        assert_eq!(refused, Err("returned status 503 Service Unavailable: no".into()));
        assert!(outcome(b"").await.unwrap_err().starts_with("closed the connection: "));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_connect_or_answer_is_given_up() {
        let (silent, _open) = tokio::io::duplex(1024);
        let request = || http::Request::new(Full::<Bytes>::default());
        let never = std::future::pending::<Result<tokio::io::DuplexStream, RequestError>>();
        let results =
            [exchange(LIMIT, never, request()).await, exchange(LIMIT, async { Ok(silent) }, request()).await];
        for result in results {
            assert_eq!(result.unwrap_err().to_string(), "did not respond within 10 s");
        }
    }
}
