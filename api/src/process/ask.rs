//! Asks another process of the mesh a question that xDS does not carry: one request with JSON, one response with JSON,
//! over the same kind of channel as gRPC.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

/// Sends `question` to a path. Returns the response, or `None` if the server responds that it has no content.
pub async fn ask<Q: Serialize, A: DeserializeOwned>(
    mut channel: Channel,
    path: &str,
    question: &Q,
) -> Result<Option<A>, String> {
    let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::new(Full::new(Bytes::from(body))))
        .map_err(|error| error.to_string())?;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.map_err(|error| causes(&error))?;
    let response = channel.call(request).await.map_err(|error| causes(&error))?;
    let (head, body) = response.into_parts();
    if head.status == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let body =
        Limited::new(body, MAX_RESPONSE).collect().await.map_err(|error| error.to_string())?.to_bytes();
    if head.status != StatusCode::OK {
        let text: String = String::from_utf8_lossy(&body).chars().take(MAX_REASON).collect();
        return Err(format!("it responds with {}: {}", head.status, text.trim()));
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| format!("its response is not understood: {error}"))
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Bytes of a response. The largest is the state of a replica with some ten thousand objects.
const MAX_RESPONSE: usize = 16 << 20;
/// Characters of a refusal that are repeated.
const MAX_REASON: usize = 300;
