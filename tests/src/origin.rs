//! Servers that send exactly the response that the client asks for, then close the connection, so that tests can
//! provoke malformed responses. For HTTP/1 the header `x-answer` holds the response byte by byte; for HTTP/2 it
//! holds a list of steps.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

/// The header with the response; `\r` and `\n` in it stand for line end characters.
const ANSWER: &str = "x-answer";

/// Serves HTTP/1 and HTTP/2 on these ports until the process ends.
pub fn serve(http1: u16, http2: u16) {
    let bind = |port| TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let (sequential, multiplexed) = (bind(http1), bind(http2));
    std::thread::spawn(move || {
        for socket in sequential.incoming() {
            let socket = socket.expect("accepting works");
            std::thread::spawn(move || respond(socket));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime can be created"), async {
        multiplexed.set_nonblocking(true).expect("sockets can be nonblocking");
        let listener =
            tokio::net::TcpListener::from_std(multiplexed).expect("the runtime accepts the socket");
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                if let Ok(connection) = h2::server::handshake(socket).await {
                    serve_steps(connection).await;
                }
            });
        }
    });
}

/// Responds to one request. Does nothing for a client that has already disconnected.
fn respond(mut socket: TcpStream) -> Option<()> {
    let mut head = vec![];
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        head.extend(&piece[..read]);
    }
    let head = String::from_utf8(head).ok()?;
    let text = head.lines().find_map(|line| line.strip_prefix(ANSWER)?.strip_prefix(": "))?;
    socket.write_all(text.replace("\\r", "\r").replace("\\n", "\n").as_bytes()).ok()?;
    // The pause lets the client read the response before it sees the close.
    std::thread::sleep(PAUSE);
    Some(())
}

/// Performs the steps of each request of a connection, one request after the other.
async fn serve_steps(mut connection: Connection<tokio::net::TcpStream, Bytes>) {
    while let Some(Ok((request, reply))) = connection.accept().await {
        let steps = request.headers().get(ANSWER).and_then(|steps| steps.to_str().ok());
        let steps = steps.unwrap_or("head 200; end").to_owned();
        let mut stream = Stream { request, reply, body: None };
        for step in steps.split("; ") {
            if !stream.perform(step, &mut connection) {
                return;
            }
            // The client receives each step before the next one begins.
            let moved = std::future::poll_fn(|context| connection.poll_closed(context));
            let _ = tokio::time::timeout(PAUSE, moved).await;
        }
    }
}

struct Stream {
    /// Keeping the request prevents h2 from rejecting the rest of its body.
    request: Request<h2::RecvStream>,
    reply: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
}

impl Stream {
    /// Performs a step. Returns `false` after the step that ends the connection.
    ///
    /// The steps: `head STATUS [NAME=VALUE]...`, `data TEXT`, `last TEXT`, `trailers [NAME=VALUE]...`, `end`,
    /// `reset CODE`, `goaway CODE`, `close`.
    fn perform(&mut self, step: &str, connection: &mut Connection<tokio::net::TcpStream, Bytes>) -> bool {
        let (what, rest) = step.split_once(' ').unwrap_or((step, ""));
        let code = || Reason::from(rest.parse::<u32>().expect("a reason is a number"));
        match what {
            "head" => {
                let (status, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                let mut response = Response::builder().status(status).body(()).expect("the status is valid");
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
                    _ => panic!("`{step}` is not a step"),
                };
                // An error only means that the client has disconnected.
                drop(done);
            }
        }
        true
    }
}

fn headers(fields: &str) -> HeaderMap {
    let field = |field: &str| {
        let (name, value) = field.split_once('=').expect("a field is NAME=VALUE");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the header name is valid");
        (name, HeaderValue::from_str(value).expect("the header value is valid"))
    };
    // A name may occur more than once.
    fields.split_whitespace().map(field).fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}

const PAUSE: Duration = Duration::from_millis(50);
