//! Client of the supervisor's socket.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::failure::Failure;
use crate::state::State;
use crate::state::lock;
use crate::wire::{ExecQuery, Query, Watched};

/// Runs the future of a verb that uses the supervisor.
pub fn block_on<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::blocked(format!("the runtime cannot be started: {error}"), "free some memory")
    })?;
    let result = runtime.block_on(verb);
    // A thread that still waits for input must not keep the command from returning.
    runtime.shutdown_background();
    result
}

/// Sends a request and parses the response as JSON.
pub async fn call<T: DeserializeOwned>(
    state: &State,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Failure> {
    let response = send(state, path, body).await?;
    let bytes = response.into_body().collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| broken(&error.to_string()))
}

/// Sends a request and returns the response as text.
pub async fn text(state: &State, path: &str, body: &impl Serialize) -> Result<String, Failure> {
    let response = send(state, path, body).await?;
    let bytes = response.into_body().collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sends a request. A response status other than success is a failure.
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

/// Sends a request unchanged.
pub async fn exchange(state: &State, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
    lock::running(state)?;
    let stream = UnixStream::connect(state.socket()).await.map_err(|error| {
        Failure::blocked(
            format!("cannot connect to the mesh at {}: {error}", state.socket().display()),
            "wait until `ostria up` reports that the mesh is ready",
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
        StatusCode::NOT_FOUND => Failure::missing(reason, "see what is there with `ostria get pods -A`"),
        _ => broken(&reason),
    })
}

/// Starts a command in a container and returns the connection that carries its frames.
pub async fn exec(state: &State, query: &ExecQuery) -> Result<Upgraded, Failure> {
    let header = serde_json::to_string(query).expect("requests are plain data");
    let request = Request::post("/exec")
        .header("host", "ostria")
        .header("connection", "upgrade")
        .header("upgrade", "ostria-exec")
        .header("x-exec", header)
        .body(Full::new(Bytes::new()))
        .map_err(|error| Failure::blocked(error, "remove control characters from the command"))?;
    let response = exchange(state, request).await?;
    let upgraded = hyper::upgrade::on(response).await;
    upgraded.map_err(|error| Failure::blocked(error, "look at `ostria status`"))
}

/// A stream of changes to objects.
pub struct Watch {
    body: Incoming,
    unread: Vec<u8>,
}

impl Watch {
    /// Opens the stream.
    pub async fn open(state: &State, query: &Query) -> Result<Self, Failure> {
        let body = send(state, "/watch", query).await?.into_body();
        Ok(Self { body, unread: Vec::new() })
    }

    /// The next change; `None` when the mesh has ended.
    pub async fn next(&mut self) -> Result<Option<Watched>, Failure> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| broken(&error.to_string()));
            }
            let Some(Ok(frame)) = self.body.frame().await else { return Ok(None) };
            if let Ok(bytes) = frame.into_data() {
                self.unread.extend_from_slice(&bytes);
            }
        }
    }
}

fn broken(reason: &str) -> Failure {
    Failure::blocked(
        format!("unexpected response from the mesh: {reason}"),
        "look at `ostria status`, or take it down and up again",
    )
}
