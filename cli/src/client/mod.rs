//! Talks to the supervisor over its socket.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::failure::Failure;
use crate::state::State;
use crate::state::lock;

/// Runs a verb that talks to the supervisor.
pub fn block_on<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::blocked(format!("no runtime: {error}"), "free some memory"))?;
    let result = runtime.block_on(verb);
    // Input that nobody types any more must not hold the command.
    runtime.shutdown_background();
    result
}

/// Asks and reads the answer as JSON.
pub async fn call<T: DeserializeOwned>(
    state: &State,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Failure> {
    let response = send(state, path, body).await?;
    let bytes = response.into_body().collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| broken(&error.to_string()))
}

/// Asks; an answer other than success is a failure.
pub async fn send(state: &State, path: &str, body: &impl Serialize) -> Result<Response<Incoming>, Failure> {
    let body = serde_json::to_vec(body).expect("requests are plain data");
    let method = if path == "/status" { Method::GET } else { Method::POST };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "ostria")
        .header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body))).expect("the request is well-formed");
    exchange(state, request).await
}

/// Sends a request as it is.
pub async fn exchange(state: &State, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
    lock::running(state)?;
    let stream = UnixStream::connect(state.socket()).await.map_err(|error| {
        Failure::blocked(
            format!("the mesh does not take commands at {}: {error}", state.socket().display()),
            "wait until `ostria up` says that it is ready",
        )
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error.to_string()))?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(|error| broken(&error.to_string()))?;
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let bytes =
        response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let reason = String::from_utf8_lossy(&bytes).into_owned();
    Err(match status {
        StatusCode::NOT_FOUND => Failure::Missing(reason),
        _ => broken(&reason),
    })
}

fn broken(reason: &str) -> Failure {
    Failure::blocked(
        format!("the mesh did not answer as it should: {reason}"),
        "look at `ostria status`, or take it down and up again",
    )
}
