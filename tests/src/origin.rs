//! Servers that do what their client asks them to do, and hang up: what no server with manners would answer is worth a
//! test too. Over HTTP/1 the header `x-answer` is the answer, byte by byte; over HTTP/2 it is a list of steps.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

/// The header with the answer; `\r` and `\n` in it stand for the ends of lines.
const ANSWER: &str = "x-answer";

/// Serves both versions of HTTP on these ports until the process ends.
pub fn serve(http1: u16, http2: u16) {
    let bind = |port| TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let (sequential, multiplexed) = (bind(http1), bind(http2));
    std::thread::spawn(move || {
        for socket in sequential.incoming() {
            let socket = socket.expect("connections come");
            std::thread::spawn(move || answer(socket));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime can be made"), async {
        multiplexed.set_nonblocking(true).expect("sockets need not block");
        let listener = tokio::net::TcpListener::from_std(multiplexed).expect("the runtime takes it");
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                if let Ok(connection) = h2::server::handshake(socket).await {
                    obey(connection).await;
                }
            });
        }
    });
}

/// Answers one request. A client that is gone before is not worth a word.
fn answer(mut socket: TcpStream) -> Option<()> {
    let mut head = vec![];
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        head.extend(&piece[..read]);
    }
    let head = String::from_utf8(head).ok()?;
    let text = head.lines().find_map(|line| line.strip_prefix(ANSWER)?.strip_prefix(": "))?;
    socket.write_all(text.replace("\\r", "\r").replace("\\n", "\n").as_bytes()).ok()?;
    // What was said is read before the end is seen, so that the one is not taken for the other.
    std::thread::sleep(PAUSE);
    Some(())
}

/// Does what each request of a connection asks for, one after the other.
async fn obey(mut connection: Connection<tokio::net::TcpStream, Bytes>) {
    while let Some(Ok((request, reply))) = connection.accept().await {
        let steps = request.headers().get(ANSWER).and_then(|steps| steps.to_str().ok());
        let steps = steps.unwrap_or("head 200; end").to_owned();
        let mut stream = Stream { request, reply, body: None };
        for step in steps.split("; ") {
            if !stream.take(step, &mut connection) {
                return;
            }
            // Each step is seen before the next is taken.
            let moved = std::future::poll_fn(|context| connection.poll_closed(context));
            let _ = tokio::time::timeout(PAUSE, moved).await;
        }
    }
}

struct Stream {
    /// While it is there, nothing of it is refused.
    request: Request<h2::RecvStream>,
    reply: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
}

impl Stream {
    /// Takes a step; `false`: that was the end of the connection.
    ///
    /// `head STATUS [NAME=VALUE]...`, `data TEXT`, `last TEXT`, `trailers [NAME=VALUE]...`, `end`, `reset CODE`,
    /// `goaway CODE`, `close`.
    fn take(&mut self, step: &str, connection: &mut Connection<tokio::net::TcpStream, Bytes>) -> bool {
        let (what, rest) = step.split_once(' ').unwrap_or((step, ""));
        let code = || Reason::from(rest.parse::<u32>().expect("a reason is a number"));
        match what {
            "head" => {
                let (status, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                let mut response = Response::builder().status(status).body(()).expect("it is a status");
                *response.headers_mut() = headers(fields);
                self.body = self.reply.send_response(response, false).ok();
            }
            "reset" => self.reply.send_reset(code()),
            "goaway" => connection.abrupt_shutdown(code()),
            "close" => return false,
            _ => {
                let Some(body) = &mut self.body else {
                    panic!("`{step}` before the head of {:?}", self.request)
                };
                let done = match what {
                    "data" => body.send_data(rest.to_owned().into(), false),
                    "last" => body.send_data(rest.to_owned().into(), true),
                    "end" => body.send_data(Bytes::new(), true),
                    "trailers" => body.send_trailers(headers(rest)),
                    _ => panic!("`{step}` is no step"),
                };
                // A client that is gone is not worth a word.
                drop(done);
            }
        }
        true
    }
}

fn headers(fields: &str) -> HeaderMap {
    let field = |field: &str| {
        let (name, value) = field.split_once('=').expect("a field is NAME=VALUE");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("it is a name");
        (name, HeaderValue::from_str(value).expect("it is a value"))
    };
    // Names may come more than once.
    fields.split_whitespace().map(field).fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}

const PAUSE: Duration = Duration::from_millis(50);
