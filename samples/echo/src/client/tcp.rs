//! Calls over raw TCP, where the client or the server sends first.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::client::dial::{CallError, Stream, dial};
use crate::client::plan::Plan;
use crate::report::Reply;
use crate::target::Protocol;

/// The connection of a worker.
#[derive(Default)]
pub(super) struct Caller {
    open: Option<Open>,
}

struct Open {
    stream: BufReader<Box<dyn Stream>>,
    reply: Reply,
}

impl Caller {
    /// Sends the plan's messages one by one, and waits for the echo of each.
    pub(super) async fn call(&mut self, plan: &Plan) -> Result<Reply, CallError> {
        let message = plan.message();
        let mut left = plan.messages;
        let mut open = if let Some(open) = self.open.take() {
            open
        } else {
            let mut stream = BufReader::new(dial(plan).await?);
            if plan.target.protocol == Protocol::Tcp {
                stream.write_all(&message).await.map_err(CallError::Stream)?;
            }
            let reply = hello(&mut stream).await?;
            if plan.target.protocol == Protocol::Tcp {
                expect(&mut stream, &message).await?;
                left -= 1;
            }
            Open { stream, reply }
        };
        for _ in 0..left {
            open.stream.write_all(&message).await.map_err(CallError::Stream)?;
            expect(&mut open.stream, &message).await?;
        }
        let reply = open.reply.clone();
        if plan.new_connection {
            finish(open.stream).await?;
        } else {
            self.open = Some(open);
        }
        Ok(reply)
    }
}

async fn hello(stream: &mut BufReader<Box<dyn Stream>>) -> Result<Reply, CallError> {
    let mut line = String::new();
    stream.take(LONGEST_HELLO).read_line(&mut line).await.map_err(CallError::Stream)?;
    if line.is_empty() {
        return Err(CallError::Unexpected("closed the connection without a word"));
    }
    let json: Value = serde_json::from_str(&line)
        .map_err(|_| CallError::Unexpected("did not begin with the line of an echo server"))?;
    let text = |name: &str| json["hello"][name].as_str().map(ToOwned::to_owned);
    Ok(Reply {
        status: "OK".to_owned(),
        good: true,
        version: text("version"),
        pod: text("pod"),
        trailers: false,
        text: line.trim_end().to_owned(),
    })
}

async fn expect(stream: &mut BufReader<Box<dyn Stream>>, message: &[u8]) -> Result<(), CallError> {
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back).await.map_err(CallError::Stream)?;
    if back == message { Ok(()) } else { Err(CallError::Unexpected("did not send the bytes back unchanged")) }
}

/// Closes the sending side and waits until the server closes its side: a half-closed connection must still work.
async fn finish(mut stream: BufReader<Box<dyn Stream>>) -> Result<(), CallError> {
    stream.shutdown().await.map_err(CallError::Stream)?;
    match stream.read(&mut [0]).await.map_err(CallError::Stream)? {
        0 => Ok(()),
        _ => Err(CallError::Unexpected("sent more than it was sent")),
    }
}

const LONGEST_HELLO: u64 = 64 << 10;
