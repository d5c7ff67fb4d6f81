//! A mesh on this machine: a client of its supervisor's socket.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::client::stream::Log;
use crate::failure::Failure;
use crate::state::State;
use crate::state::lock;
use crate::wire::{ExecQuery, LogQuery, PROGRAMS, Query, Target, Watched, frame};

/// A mesh on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    state: State,
    namespace: Option<String>,
}

impl Local {
    /// The mesh with this state folder, and the namespace that the user named.
    pub fn new(state: State, namespace: Option<String>) -> Self {
        Self { state, namespace }
    }

    /// Namespace of objects that the user names without one.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// Sends a request and parses the response as JSON.
    pub async fn call<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes(path, body).await?).map_err(|error| broken(&error.to_string()))
    }

    /// Sends a request and returns the body of the response.
    pub async fn bytes(&self, path: &str, body: &impl Serialize) -> Result<Bytes, Failure> {
        let body = self.send(path, body).await?.into_body();
        Ok(body.collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes())
    }

    /// Opens a stream of changes to objects.
    pub async fn watch(&self, query: &Query) -> Result<Watch, Failure> {
        let body = self.send("/watch", query).await?.into_body();
        Ok(Watch { body, unread: Vec::new() })
    }

    /// The output of a container.
    pub async fn logs(&self, query: &LogQuery) -> Result<Log, Failure> {
        let body = self.send("/logs", query).await?.into_body();
        // An output that breaks off because the mesh ends has ended.
        let pieces = body.into_data_stream().take_while(|piece| std::future::ready(piece.is_ok()));
        Ok(pieces.map(|piece| piece.map_err(|error| broken(&error.to_string()))).boxed())
    }

    /// Starts a command in a container and returns the connection that carries its frames.
    pub async fn exec(&self, query: &ExecQuery) -> Result<TokioIo<Upgraded>, Failure> {
        let header = serde_json::to_string(query).expect("requests are plain data");
        let request = Request::post("/exec")
            .header("host", "ostria")
            .header("connection", "upgrade")
            .header("upgrade", "ostria-exec")
            .header("x-exec", header)
            .body(Full::new(Bytes::new()))
            .map_err(|error| Failure::blocked(error, "remove control characters from the command"))?;
        let response = self.exchange(request).await?;
        let upgraded = hyper::upgrade::on(response).await;
        upgraded.map(TokioIo::new).map_err(|error| Failure::blocked(error, "look at `ostria status`"))
    }

    /// Copies the bytes of a connection to a port of a pod and back. A helper process in the pod connects to the port, so
    /// that, as with kubectl, the sidecar neither captures nor rejects the connection.
    pub async fn forward(&self, stream: TcpStream, target: Target, port: u16) -> Result<(), Failure> {
        let own = std::env::current_exe().ok();
        let own = own.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let program = format!("{PROGRAMS}/{}", own.unwrap_or_else(|| "ostria".into()));
        let command = vec![program, "connect".into(), port.to_string()];
        let query = ExecQuery { target, command, stdin: true, tty: false };
        pass(stream, self.exec(&query).await?).await;
        Ok(())
    }

    /// Sends a request. A response status other than success is a failure.
    async fn send(&self, path: &str, body: &impl Serialize) -> Result<Response<Incoming>, Failure> {
        let body = serde_json::to_vec(body).expect("requests are plain data");
        let method = if path == "/status" { Method::GET } else { Method::POST };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "ostria")
            .header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from(body))).expect("the request is well-formed");
        self.exchange(request).await
    }

    /// Sends a request unchanged.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        lock::running(&self.state)?;
        let socket = self.state.socket();
        let stream = UnixStream::connect(&socket).await.map_err(|error| {
            Failure::blocked(
                format!("cannot connect to the mesh at {}: {error}", socket.display()),
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
}

async fn pass(stream: TcpStream, frames: TokioIo<Upgraded>) {
    let (mut from_user, mut to_user) = stream.into_split();
    let (mut from_pod, mut to_pod) = tokio::io::split(frames);
    let sending = tokio::spawn(async move {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(length @ 1..) = from_user.read(&mut buffer).await {
            if to_pod.write_all(&frame::encode(frame::INPUT, &buffer[..length])).await.is_err() {
                return;
            }
        }
        // An empty frame marks the end of input. The stream stays open for the output.
        let _ = to_pod.write_all(&frame::encode(frame::INPUT, &[])).await;
        std::future::pending::<()>().await;
    });
    while let (Ok(kind), Ok(length)) = (from_pod.read_u8().await, from_pod.read_u32().await) {
        let mut bytes = vec![0; length as usize];
        if from_pod.read_exact(&mut bytes).await.is_err() {
            break;
        }
        match kind {
            frame::OUTPUT if to_user.write_all(&bytes).await.is_ok() => {}
            frame::ERROR => eprint!("{}", String::from_utf8_lossy(&bytes)),
            _ => break,
        }
    }
    sending.abort();
}

/// A stream of changes to objects.
pub struct Watch {
    body: Incoming,
    unread: Vec<u8>,
}

impl Watch {
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
