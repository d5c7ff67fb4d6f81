//! A server over an in-memory pipe, with paused time: the exact bytes that a client sees.

use super::*;
use crate::http1::buffer;
use bytes::BytesMut;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Responds depending on the path, and records events.
#[derive(Default)]
struct App {
    seen: RefCell<Vec<String>>,
    closing: Cell<bool>,
    go: Notify,
}

/// Records when a request is cancelled.
struct RecordOnDrop(Rc<App>, String);

impl Drop for RecordOnDrop {
    fn drop(&mut self) {
        self.0.seen.borrow_mut().push(format!("cancelled {}", self.1));
    }
}

struct Handler(Rc<App>);

fn text(text: impl Into<Bytes>) -> Reply {
    Response::new(Full::new(text.into()).boxed_unsync())
}

fn pieces(all: Vec<Frame<Bytes>>) -> Reply {
    let frames = futures_util::stream::iter(all.into_iter().map(Ok));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Writes back five bytes on the upgraded stream.
fn upgrade(body: &Body) -> Reply {
    let upgraded = body.upgrade().unwrap();
    spawn_local(async move {
        let mut stream = upgraded.await.unwrap();
        let mut early = [0; 5];
        stream.read_exact(&mut early).await.unwrap();
        stream.write_all(&early).await.unwrap();
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("upgrade", "x".parse().unwrap());
    response
}

impl Service for Handler {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn handle(&self, request: Request<Body>) -> Reply {
        let (parts, mut body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        self.0.seen.borrow_mut().push(format!("{} {path}", parts.method));
        match path.as_str() {
            "/echo" => match body.collect().await {
                Ok(all) => {
                    let trailers = all.trailers().cloned();
                    let mut response = pieces(vec![Frame::data(all.to_bytes())]);
                    if let Some(sum) = trailers.and_then(|t| t.get("x-sum").cloned()) {
                        response.headers_mut().insert("x-sum", sum);
                    }
                    response
                }
                Err(error) => {
                    let mut response = text(error.to_string());
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                    response
                }
            },
            "/one" => {
                let frame = body.frame().await;
                text(frame.map_or(0, |f| f.unwrap().into_data().unwrap().len()).to_string())
            }
            "/size" => text(format!("{:?} {}", body.size_hint().exact(), body.is_end_stream())),
            "/wait" => {
                let given_up = RecordOnDrop(self.0.clone(), path);
                self.0.go.notified().await;
                std::mem::forget(given_up);
                text("waited")
            }
            "/trailers" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "7".parse().unwrap());
                pieces(vec![Frame::data("abc".into()), Frame::trailers(trailers)])
            }
            "/large" => text(vec![b'x'; 100_000]),
            "/empty" => text(""),
            "/none" => {
                let mut response = text("unseen");
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            "/short" => {
                let mut response = pieces(vec![Frame::data("abc".into())]);
                response.headers_mut().insert("content-length", 5.into());
                response
            }
            "/upgrade" => upgrade(&body),
            _ => text("ok"),
        }
    }

    fn refuse(&self, invalid: Invalid, head: Option<Parts>) -> Reply {
        let path = head.map(|head| head.uri.to_string());
        self.0.seen.borrow_mut().push(format!("refused {path:?}"));
        let mut response = text(invalid.to_string());
        *response.status_mut() = StatusCode::from_u16(invalid.status()).unwrap();
        response
    }

    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn closing(&self) -> bool {
        self.0.closing.get()
    }
}

struct Client {
    stream: DuplexStream,
    app: Rc<App>,
    server: JoinHandle<()>,
}

const SETTINGS: Settings =
    Settings { limits: Limits { bytes: 8192, count: 20 }, head_timeout: Some(Duration::from_secs(10)) };

impl Client {
    fn new(pipe: usize) -> Self {
        let (stream, server) = duplex(pipe);
        let app = Rc::new(App::default());
        let server = spawn_local(serve(server, SETTINGS, Handler(app.clone())));
        Self { stream, app, server }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and including a text.
    async fn until(&mut self, end: &str) -> String {
        let mut bytes = BytesMut::new();
        while !bytes.ends_with(end.as_bytes()) {
            let byte = self.stream.read_u8().await;
            bytes.extend_from_slice(&[byte.unwrap_or_else(|_| panic!("{end:?} not in {bytes:?}"))]);
        }
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn rest(&mut self) -> String {
        let mut text = vec![];
        let _ = self.stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    fn seen(&self) -> Vec<String> {
        self.app.seen.borrow().clone()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{DATE}\r\n{body}", body.len())
}

#[test]
fn responses_are_sent_in_the_order_of_requests() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.until("ok").await, ok("ok"));
        client.send("\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\nPOST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET /c HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n").await;
        let responses = client.rest().await;
        let chunked =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{DATE}\r\n3\r\nabc\r\n0\r\n\r\n");
        let last = ok("ok").replace("2\r\n", "2\r\nconnection: close\r\n");
        assert_eq!(responses, format!("{}{chunked}{last}", ok("ok")));
        assert_eq!(client.seen(), ["GET /a", "GET /b", "POST /echo", "GET /c"]);
        client.server.await.unwrap();
    });
}

#[test]
fn bodies_arrive_through_the_narrowest_pipe() {
    run(async {
        for pipe in [1, 7, 1 << 16] {
            let mut client = Client::new(pipe);
            client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nx-sum: 7\r\n\r\n").await;
            let response = client.until("0\r\n\r\n").await;
            assert!(
                response.contains("x-sum: 7\r\n") && response.ends_with("5\r\nabcde\r\n0\r\n\r\n"),
                "{response}"
            );
            client.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert!(client.until("\r\n\r\n").await.contains("content-length: 100000\r\n"));
            let mut body = vec![0; 100_000];
            client.stream.read_exact(&mut body).await.unwrap();
            assert!(body.iter().all(|b| *b == b'x'));
        }
    });
}

#[test]
fn a_second_request_inside_a_body_stays_a_body() {
    run(async {
        let mut client = Client::new(1 << 16);
        let inner = "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
        client
            .send(&format!(
                "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{inner}",
                inner.len()
            ))
            .await;
        assert!(client.until("0\r\n\r\n").await.contains(inner));
        assert_eq!(client.seen(), ["POST /echo"]);
    });
}

#[test]
fn bytes_after_a_refused_request_are_ignored() {
    run(async {
        for (request, status, seen) in [
            (
                "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
                "refused Some(\"/x\")",
            ),
            (
                "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n",
                501,
                "refused Some(\"/x\")",
            ),
            ("GET /x HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n", 400, "refused None"),
            ("GET /x HTTP/1.1\nhost: a\n\n", 400, "refused None"),
            ("\x16\x03\x01", 400, "refused None"),
            ("GET /x\r\n", 400, "refused None"),
        ] {
            let mut client = Client::new(1 << 16);
            client.send(&format!("{request}GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let response = client.rest().await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {response}");
            assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
            assert_eq!(client.seen(), [seen], "{request:?}");
            client.server.await.unwrap();
        }
    });
}

#[test]
fn a_malformed_chunk_ends_the_body_and_the_connection() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let response = client.rest().await;
        assert!(
            response.starts_with("HTTP/1.1 400 ") && response.contains("connection: close"),
            "{response}"
        );
        assert_eq!(client.seen(), ["POST /echo"]);
    });
}

#[test]
fn a_client_that_expects_100_gets_it_when_its_body_is_read() {
    run(async {
        let mut client = Client::new(1 << 16);
        let head = "HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        client.send(&format!("POST /echo {head}")).await;
        assert_eq!(client.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        assert!(client.until("0\r\n\r\n").await.contains("4\r\nbody\r\n"));
        // The service drops this body: the final response comes at once, and nothing else on this connection.
        client.send(&format!("POST /other {head}")).await;
        let response = client.rest().await;
        assert!(
            response.starts_with("HTTP/1.1 200 OK\r\n") && response.contains("connection: close\r\n"),
            "{response}"
        );
    });
}

#[test]
fn an_unread_body_that_has_arrived_is_skipped_and_an_incomplete_one_ends_the_connection() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("POST /ignore HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbodyGET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.until("ok").await + &client.until("ok").await, ok("ok") + &ok("ok"));
        client.send("POST /ignore HTTP/1.1\r\nhost: a\r\ncontent-length: 400000\r\n\r\nbody").await;
        let response = client.until("ok").await;
        assert!(response.contains("connection: close\r\n"), "{response}");
        // The client keeps sending for a while; no reset must discard the response.
        client.send(&"x".repeat(100_000)).await;
        assert_eq!(client.rest().await, "");
        let began = Instant::now();
        client.server.await.unwrap();
        assert!(began.elapsed() <= LINGER);
    });
}

#[test]
fn responses_without_bodies_have_none() {
    run(async {
        let mut client = Client::new(1 << 16);
        // Like Envoy: the length is unknown, whether the service has a body or not.
        for path in ["/large", "/trailers", "/empty"] {
            client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{DATE}\r\n");
            assert_eq!(client.until("\r\n\r\n").await, head);
        }
        client.send("HEAD /short HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{DATE}\r\n");
        assert_eq!(client.until("\r\n\r\n").await, head);
        client.send("HEAD /none HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.until("\r\n\r\n").await, format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n"));
        client.send("HEAD /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        let head = format!("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n{DATE}\r\n");
        assert_eq!(client.until("\r\n\r\n").await, head);
        client.send("GET /none HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.until("\r\n\r\n").await, format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n"));
        client.send("GET /last HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.until("ok").await, ok("ok"));
    });
}

#[test]
fn trailers_are_sent_only_to_clients_that_accept_them() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("GET /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n").await;
        assert!(client.until("7\r\n\r\n").await.ends_with("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"));
        client.send("GET /trailers HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.until("0\r\n\r\n").await.ends_with("3\r\nabc\r\n0\r\n\r\n"));
    });
}

#[test]
fn http_1_0_has_no_chunks_and_persists_only_on_request() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        let response = client.until("ok").await;
        assert!(
            response.starts_with("HTTP/1.0 200 OK\r\n") && response.contains("connection: keep-alive\r\n"),
            "{response}"
        );
        client.send("GET /trailers HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        let response = client.rest().await;
        assert!(
            response.ends_with("\r\n\r\nabc") && response.contains("connection: close\r\n"),
            "{response}"
        );
    });
}

#[test]
fn an_incomplete_response_is_not_terminated_properly() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("GET /short HTTP/1.1\r\nhost: a\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let response = client.rest().await;
        assert!(
            response.contains("content-length: 5\r\n") && response.ends_with("\r\n\r\nabc"),
            "{response}"
        );
        assert_eq!(client.seen(), ["GET /short"]);
    });
}

#[test]
fn a_slow_head_gets_408_and_a_silent_connection_stays_open() {
    run(async {
        let mut client = Client::new(1 << 16);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!client.server.is_finished());
        client.send("GET / HTTP/1.1\r\nho").await;
        let began = Instant::now();
        let response = client.until("\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
        assert_eq!(began.elapsed().as_secs(), 10);
    });
}

#[test]
fn a_half_closed_client_gets_its_response_within_the_grace_period() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.stream.shutdown().await.unwrap();
        tokio::time::sleep(HALF_CLOSED / 2).await;
        client.app.go.notify_one();
        assert!(client.rest().await.ends_with("waited"));
        client.server.await.unwrap();
    });
}

#[test]
fn a_request_is_cancelled_when_its_client_disconnects() {
    run(async {
        let mut client = Client::new(1 << 16);
        client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.stream.shutdown().await.unwrap();
        client.server.await.unwrap();
        assert_eq!(client.app.seen.take(), ["GET /wait", "cancelled /wait"]);
    });
}

#[test]
fn closing_ends_idle_connections_and_others_after_their_response() {
    run(async {
        let mut busy = Client::new(1 << 16);
        busy.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        busy.app.closing.set(true);
        busy.app.go.notify_one();
        let response = busy.rest().await;
        assert!(response.contains("connection: close\r\n") && response.ends_with("waited"), "{response}");
        busy.server.await.unwrap();

        let idle = Client::new(1 << 16);
        idle.app.closing.set(true);
        idle.server.await.unwrap();
    });
}

#[test]
fn an_upgrade_passes_on_the_stream_with_the_bytes_read_ahead() {
    run(async {
        let mut client = Client::new(1 << 16);
        client
            .send("GET /upgrade HTTP/1.1\r\nhost: a\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nearly")
            .await;
        let response = client.until("\r\n\r\n").await;
        assert_eq!(response, "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n");
        assert_eq!(client.rest().await, "early");
    });
}

#[test]
fn sizes_are_known_from_the_head() {
    run(async {
        let mut client = Client::new(1 << 16);
        for (head, body, expected) in [
            ("content-length: 3", "abc", "Some(3) false"),
            ("content-length: 0", "", "Some(0) true"),
            ("x: y", "", "Some(0) true"),
            ("transfer-encoding: chunked", "0\r\n\r\n", "None false"),
        ] {
            client.send(&format!("POST /size HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{body}")).await;
            assert!(client.until(expected).await.starts_with("HTTP/1.1 200"), "{head}");
        }
    });
}

#[test]
fn a_body_that_outlives_its_request_reads_nothing_of_the_next() {
    run(async {
        let connection = Rc::new(Connection::new(duplex(64).0, SETTINGS.limits));
        let number = connection.begin(Reading::new(Length::Exact(5), SETTINGS.limits), false);
        let mut old = Body::new(connection.clone(), number);
        connection.begin(Reading::new(Length::Exact(5), SETTINGS.limits), false);
        assert!(matches!(old.frame().await, Some(Err(BodyError::Broken))));
        assert!(!old.is_end_stream());
    });
}

#[test]
fn a_connection_costs_no_buffer_while_it_idles() {
    run(async {
        let mut client = Client::new(1 << 16);
        for _ in 0..3 {
            client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
            client.until("ok").await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The read buffer and the write buffer are back in the pool.
        assert_eq!(buffer::pooled(), 2);
    });
}

#[test]
fn an_idle_connection_uses_little_memory() {
    run(async {
        let size = size_of_val(&serve(duplex(1).0, SETTINGS, Handler(Rc::default())));
        assert!(size <= 1536, "{size} bytes for each connection");
    });
}
