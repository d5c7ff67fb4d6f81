//! HTTP/1.1 and HTTP/2: returns what was received, with the delay, size and errors that the client requests.

use std::pin::pin;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRAILER};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::control::{BadControl, Controls};
use crate::seen::{self, Seen};
use crate::server::body::{self, ResponseBody};
use crate::server::shared::Call;
use crate::server::{grpc, websocket};

/// Handles all requests of one connection.
pub(super) async fn serve<S>(stream: S, call: Call)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopped = call.shared.stopped.clone();
    let service = service_fn(move |request| {
        let call = call.clone();
        async move { respond(&call, request).await }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        // A client that disconnects is not an error.
        _ = connection.as_mut() => return,
        () = stopped.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// No response is sent: the client requested none, or the request ended early.
#[derive(Debug, thiserror::Error)]
#[error("no response")]
struct NoResponse;

async fn respond(call: &Call, request: Request<Incoming>) -> Result<Response<ResponseBody>, NoResponse> {
    let version = request.version();
    let mut response = if grpc::is_grpc(&request) {
        grpc::respond(call, request).await
    } else {
        match plan(&request) {
            Ok((controls, status)) => obey(call, &controls, status, request).await?,
            Err(error) => {
                text(StatusCode::BAD_REQUEST, serde_json::json!({ "error": error.to_string() }).to_string())
            }
        }
    };
    name(call, &mut response);
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if call.shared.leaving.is_cancelled() && version < Version::HTTP_2 && !upgraded {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Health probes get a response at once, whatever the query is.
fn plan(request: &Request<Incoming>) -> Result<(Controls, StatusCode), BadControl> {
    if request.uri().path() == "/health" {
        return Ok((Controls::default(), StatusCode::OK));
    }
    let controls = Controls::of(request.uri().query(), request.headers())?;
    let status = controls.http_status(rand::random())?;
    Ok((controls, status))
}

async fn obey(
    call: &Call,
    controls: &Controls,
    status: StatusCode,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, NoResponse> {
    if !controls.delay.is_zero() {
        tokio::time::sleep(controls.delay).await;
    }
    if controls.abort {
        return Err(NoResponse);
    }
    let version = request.version();
    let mut response = if status == StatusCode::OK && websocket::wanted(&request) {
        let hello = controls.hello.then(|| greeting(call, &request));
        websocket::upgrade(call, request, hello)
    } else if controls.stream {
        let mut response = Response::new(request.into_body().map_err(Into::into).boxed_unsync());
        *response.status_mut() = status;
        response
    } else {
        tell(call, controls, status, request).await?
    };
    for (name, value) in &controls.headers {
        response.headers_mut().append(name, value.clone());
    }
    if controls.close && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Reads the request to its end and builds the response.
async fn tell(
    call: &Call,
    controls: &Controls,
    status: StatusCode,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, NoResponse> {
    let (head, incoming) = request.into_parts();
    let received = body::read(incoming, controls.body).await.map_err(|_| NoResponse)?;
    let mut seen = Seen::head("http", &head, &call.connection, &call.shared.place);
    seen.body_bytes = received.length;
    seen.trailers = seen::pairs(&received.trailers);
    if controls.body {
        seen = seen.with_body(received.kept);
    }
    if [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) {
        // RFC 9110, sections 15.3.5 and 15.4.5: these responses have neither a body nor a content length.
        let mut response = Response::new(body::whole(Bytes::new()));
        *response.status_mut() = status;
        return Ok(response);
    }
    let (made, length) = body::made(seen.json(), controls);
    let mut response = Response::new(made);
    *response.status_mut() = status;
    let kind = if controls.size.is_some() { "application/octet-stream" } else { "application/json" };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if controls.trailers {
        headers.insert(TRAILER, HeaderValue::from_static(body::TRAILER));
    }
    Ok(response)
}

fn greeting(call: &Call, request: &Request<Incoming>) -> String {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    let (head, ()) = copy.into_parts();
    Seen::head("websocket", &head, &call.connection, &call.shared.place).json()
}

/// Adds the pod and the version to a response, whatever its body is.
fn name(call: &Call, response: &mut Response<ResponseBody>) {
    let place = &call.shared.place;
    for (name, value) in [("x-echo-pod", &place.pod), ("x-echo-version", &place.version)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

fn text(status: StatusCode, json: String) -> Response<ResponseBody> {
    let mut response = Response::new(body::whole(Bytes::from(json)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
