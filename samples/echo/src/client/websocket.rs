//! Calls over WebSocket: messages that must return unchanged.

use futures_util::{SinkExt, StreamExt};
use http::Uri;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::dial::{CallError, Stream, dial, named};
use crate::client::plan::Plan;
use crate::report::Reply;

/// The connection of a worker.
#[derive(Default)]
pub(super) struct Caller {
    open: Option<Open>,
}

struct Open {
    socket: WebSocketStream<Box<dyn Stream>>,
    reply: Reply,
}

impl Caller {
    /// Sends the plan's messages one by one, and waits for the echo of each.
    pub(super) async fn call(&mut self, plan: &Plan) -> Result<Reply, CallError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match connect(plan).await? {
                Ok(open) => open,
                Err(refused) => return Ok(refused),
            },
        };
        let text = String::from_utf8_lossy(&plan.message()).into_owned();
        let mut last = String::new();
        for _ in 0..plan.messages {
            last = exchange(&mut open, &text).await?;
        }
        let reply = Reply { text: last, ..open.reply.clone() };
        if plan.new_connection {
            open.socket.close(None).await.map_err(failed)?;
        } else {
            self.open = Some(open);
        }
        Ok(reply)
    }
}

async fn exchange(open: &mut Open, text: &str) -> Result<String, CallError> {
    open.socket.send(Message::text(text)).await.map_err(failed)?;
    loop {
        match open.socket.next().await {
            Some(Ok(Message::Text(back))) if back.as_str() == text => return Ok(back.to_string()),
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                return Err(CallError::Unexpected("did not send the message back unchanged"));
            }
            Some(Ok(Message::Close(_))) | None => return Err(CallError::Unexpected("closed the WebSocket")),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failed(error)),
        }
    }
}

/// Opens a WebSocket. Returns the response if the server refuses.
async fn connect(plan: &Plan) -> Result<Result<Open, Reply>, CallError> {
    let uri = Uri::builder()
        .scheme(if plan.tls.is_some() { "wss" } else { "ws" })
        .authority(plan.authority.clone())
        .path_and_query(plan.target.path.clone())
        .build()
        .map_err(CallError::Request)?;
    let mut request = uri.into_client_request().map_err(failed)?;
    for (name, value) in &plan.headers {
        request.headers_mut().append(name, value.clone());
    }
    let (good, headers, status, socket) = match client_async(request, dial(plan).await?).await {
        Ok((socket, response)) => (true, response.headers().clone(), response.status(), Some(socket)),
        Err(Error::Http(response)) => (false, response.headers().clone(), response.status(), None),
        Err(error) => return Err(failed(error)),
    };
    let (version, pod) = named(&headers);
    let status = status.as_u16().to_string();
    let reply = Reply { status, good, version, pod, ..Reply::default() };
    Ok(match socket {
        Some(socket) => Ok(Open { socket, reply }),
        None => Err(reply),
    })
}

fn failed(error: Error) -> CallError {
    CallError::WebSocket(Box::new(error))
}
