//! A user's browser: sends HTTP/1.1 requests one after another over a keep-alive connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A browser for one address.
#[derive(Debug)]
pub struct Browser {
    runtime: Runtime,
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The time from the request to the end of the response.
    pub elapsed: Duration,
}

impl Browser {
    /// Creates a browser that has sent no request yet.
    pub fn new(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { runtime: runtime.expect("a runtime can be made"), address, sender: None }
    }

    /// Requests a page; returns the reason if there is no complete response.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Page, String> {
        self.send("GET", path, headers, "")
    }

    /// Submits a form.
    pub fn post(&mut self, path: &str, form: &str) -> Result<Page, String> {
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], form)
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Page, String> {
        let begin = Instant::now();
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Full::new(Bytes::from(body.to_owned()))).map_err(|error| error.to_string())?;
        let kept = self.sender.take();
        let exchange = exchange(self.address, kept, request);
        let limited = async { tokio::time::timeout(TIMEOUT, exchange).await };
        let outcome =
            self.runtime.block_on(limited).map_err(|_| format!("no response within {TIMEOUT:?}"))?;
        let (sender, status, headers, text) = outcome?;
        self.sender = Some(sender);
        Ok(Page { status, headers, text, elapsed: begin.elapsed() })
    }
}

type Outcome = (SendRequest<Full<Bytes>>, StatusCode, HeaderMap, String);

async fn exchange(
    address: SocketAddr,
    kept: Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> Result<Outcome, String> {
    let fresh = kept.is_none();
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    if sender.ready().await.is_err() {
        sender = connect(address).await?;
    }
    let response = match sender.send_request(request.clone()).await {
        // Nothing was sent: the server had closed the idle connection, which is allowed.
        Err(error) if error.is_canceled() && !fresh => {
            sender = connect(address).await?;
            sender.send_request(request).await
        }
        result => result,
    };
    let (head, body) = response.map_err(|error| format!("no response: {error}"))?.into_parts();
    let body = body.collect().await.map_err(|error| format!("the response broke off: {error}"))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok((sender, head.status, head.headers, text))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("no connection: {error}"))?;
    // Errors of the connection are reported through the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Longer than the delays that tests request.
const TIMEOUT: Duration = Duration::from_secs(20);
