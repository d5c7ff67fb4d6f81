//! Calls over HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::client::dial::{CallError, dial, named};
use crate::client::plan::Plan;
use crate::report::Reply;

/// The connection of a worker.
#[derive(Default)]
pub(super) struct Caller {
    sender: Option<Sender>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Caller {
    /// Sends one request and reads its complete response.
    pub(super) async fn call(&mut self, plan: &Plan) -> Result<Reply, CallError> {
        let kept = self.sender.take();
        let fresh = kept.is_none();
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(plan).await?,
        };
        if !sender.ready().await {
            sender = connect(plan).await?;
        }
        let response = match sender.send(request(plan)?).await {
            // Nothing was sent, because the server had closed the idle connection. It may do so.
            Err(error) if error.is_canceled() && !fresh => {
                sender = connect(plan).await?;
                sender.send(request(plan)?).await
            }
            result => result,
        };
        let reply = read(response.map_err(CallError::Http)?).await?;
        self.sender = Some(sender);
        Ok(reply)
    }
}

impl Sender {
    async fn ready(&mut self) -> bool {
        match self {
            Self::One(sender) => sender.ready().await.is_ok(),
            Self::Two(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => sender.send_request(request).await,
            Self::Two(sender) => sender.send_request(request).await,
        }
    }
}

async fn connect(plan: &Plan) -> Result<Sender, CallError> {
    let io = TokioIo::new(dial(plan).await?);
    // The sender reports errors of the connection.
    if plan.http2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(CallError::Http)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Sender::Two(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(CallError::Http)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Sender::One(sender))
    }
}

fn request(plan: &Plan) -> Result<Request<Full<Bytes>>, CallError> {
    let mut request = Request::new(Full::new(plan.data.clone().unwrap_or_default()));
    request.headers_mut().clone_from(&plan.headers);
    *request.method_mut() = plan.method.clone();
    *request.uri_mut() = if plan.http2 {
        Uri::builder()
            .scheme(if plan.tls.is_some() { "https" } else { "http" })
            .authority(plan.authority.clone())
            .path_and_query(plan.target.path.clone())
            .build()
            .map_err(CallError::Request)?
    } else {
        let host = HeaderValue::from_str(plan.authority.as_str())
            .map_err(|error| CallError::Request(error.into()))?;
        request.headers_mut().insert(HOST, host);
        Uri::from(plan.target.path.clone())
    };
    Ok(request)
}

async fn read(response: Response<Incoming>) -> Result<Reply, CallError> {
    let (head, mut body) = response.into_parts();
    let mut kept = Vec::new();
    let mut trailers = false;
    while let Some(frame) = body.frame().await {
        match frame.map_err(CallError::Http)?.into_data() {
            Ok(data) => kept.extend_from_slice(&data[..data.len().min(MOST_KEPT - kept.len())]),
            Err(_) => trailers = true,
        }
    }
    let (mut version, mut pod) = named(&head.headers);
    if version.is_none() || pod.is_none() {
        let json = serde_json::from_slice(&kept).unwrap_or(serde_json::Value::Null);
        let text = |name: &str| json.get(name).and_then(serde_json::Value::as_str).map(ToOwned::to_owned);
        version = version.or_else(|| text("version"));
        pod = pod.or_else(|| text("pod")).or_else(|| text("podname"));
    }
    Ok(Reply {
        status: head.status.as_u16().to_string(),
        good: !head.status.is_client_error() && !head.status.is_server_error(),
        version,
        pod,
        trailers,
        text: String::from_utf8_lossy(&kept).into_owned(),
    })
}

const MOST_KEPT: usize = 64 << 10;
