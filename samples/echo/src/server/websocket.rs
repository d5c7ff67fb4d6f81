//! WebSocket on any HTTP path: echoes each message.

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use crate::server::body::{self, ResponseBody};
use crate::server::shared::Call;

/// Whether a request is a WebSocket handshake (RFC 6455, 4.2.1).
pub(super) fn wanted(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && headers.contains_key(SEC_WEBSOCKET_KEY)
        && headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Accepts a WebSocket. The first message is `hello` if there is one.
pub(super) fn upgrade(
    call: &Call,
    mut request: Request<Incoming>,
    hello: Option<String>,
) -> Response<ResponseBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let stopped = call.shared.stopped.clone();
    call.shared.tasks.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // An error of the peer only ends this WebSocket.
            let _ = echo(upgraded, hello, stopped).await;
        }
    });
    let mut response = Response::new(body::whole(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = first_protocol(&request) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

async fn echo(
    upgraded: Upgraded,
    hello: Option<String>,
    stopped: CancellationToken,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    if let Some(hello) = hello {
        socket.send(Message::text(hello)).await?;
    }
    let mut closing = false;
    loop {
        let message = tokio::select! {
            () = stopped.cancelled(), if !closing => {
                closing = true;
                socket.close(None).await?;
                continue;
            }
            message = socket.next() => message,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) if !closing => {
                socket.send(message).await?;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

fn first_protocol(request: &Request<Incoming>) -> Option<HeaderValue> {
    let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    HeaderValue::from_str(offered.split(',').next()?.trim()).ok()
}
