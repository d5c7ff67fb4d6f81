//! A client over an in-memory pipe: the bytes that the server sees, and the result of its responses.

use super::*;
use http_body_util::{BodyExt, Full, StreamBody};
use std::convert::Infallible;
use std::future::Future;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local, yield_now};

const LIMITS: Limits = Limits { bytes: 4096, count: 20 };

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), test);
}

fn pair(pipe: usize) -> (Client<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(pipe);
    (Client::new(near, LIMITS), far)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "a").body(Full::default()).unwrap()
}

fn post(text: &'static str) -> Request<Full<Bytes>> {
    Request::post("/").header("host", "a").body(Full::from(text)).unwrap()
}

async fn until(server: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(server.read_u8().await.unwrap() as char);
    }
    text
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Sends a request to a server that responds with these bytes. Returns the bytes that the server received.
async fn exchange<B>(
    client: &Client<DuplexStream>,
    server: &mut DuplexStream,
    request: Request<B>,
    end: &str,
    response: &str,
) -> (String, Result<Response<Body>, (Failure, Option<Request<B>>)>)
where
    B: http_body::Body<Data = Bytes> + Unpin + 'static,
{
    let serving = async {
        let received = until(server, end).await;
        server.write_all(response.as_bytes()).await.unwrap();
        received
    };
    let (received, result) = tokio::join!(serving, client.send(request));
    (received, result.map(|(response, _)| response))
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    run(async {
        let (client, mut server) = pair(1 << 16);
        for (request, end, seen, answer, expected) in [
            (
                get("/a?b"),
                "\r\n\r\n",
                "GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                "ok",
            ),
            (
                post("body"),
                "body",
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                "hi",
            ),
            (
                post(""),
                "\r\n\r\n",
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                "",
            ),
        ] {
            assert!(client.is_ready());
            let (sent, response) = exchange(&client, &mut server, request, end, answer).await;
            assert_eq!(sent, seen);
            assert_eq!(text(response.unwrap()).await, expected);
        }
        assert!(client.is_ready());
    });
}

#[test]
fn the_response_to_head_has_no_body() {
    run(async {
        let (client, mut server) = pair(1 << 16);
        let request = Request::head("/").body(Full::default()).unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let (_, response) = exchange(&client, &mut server, request, "\r\n\r\n", answer).await;
        let response = response.unwrap();
        assert_eq!(response.headers()["content-length"], "5");
        assert!(http_body::Body::is_end_stream(response.body()));
        drop(response);
        assert!(client.is_ready());
    });
}

#[test]
fn a_connection_that_may_not_go_on_is_not_ready() {
    run(async {
        for (answer, body) in [
            ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", "ok"),
            ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", "ok"),
        ] {
            let (client, mut server) = pair(1 << 16);
            let (_, response) = exchange(&client, &mut server, get("/"), "\r\n\r\n", answer).await;
            assert_eq!(text(response.unwrap()).await, body);
            assert!(!client.is_ready(), "{answer}");
        }
        let (client, server) = pair(64);
        assert!(client.is_ready());
        drop(server);
        assert!(!client.is_ready());
        let (client, mut server) = pair(64);
        server.write_all(b"HTTP/1.1 408 Late\r\n\r\n").await.unwrap();
        assert!(!client.is_ready());
    });
}

#[test]
fn a_body_until_close_is_complete_only_at_the_close() {
    run(async {
        let (client, mut server) = pair(1 << 16);
        let (_, response) =
            exchange(&client, &mut server, get("/"), "\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nall").await;
        drop(server);
        assert_eq!(text(response.unwrap()).await, "all");
        for cut in ["content-length: 5\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
            let (client, mut server) = pair(1 << 16);
            let answer = format!("HTTP/1.1 200 OK\r\n{cut}");
            let (_, response) = exchange(&client, &mut server, get("/"), "\r\n\r\n", &answer).await;
            drop(server);
            let mut body = response.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
            assert_eq!(body.frame().await.unwrap().unwrap_err(), BodyError::Broken, "{cut}");
        }
    });
}

#[test]
fn malformed_responses_are_distinguished_from_closed_connections() {
    run(async {
        for (answer, expected) in [
            ("", Failure::Closed { sent: true }),
            ("HTTP/1.1 200 O", Failure::Invalid(Invalid::Cut)),
            ("HTTP/1.1 100 Continue\r\n\r\n", Failure::Closed { sent: true }),
            ("SSH-2.0-x\r\n", Failure::Invalid(Invalid::Line)),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
                Failure::Invalid(Invalid::LengthAndCoding),
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n", Failure::Invalid(Invalid::Switch)),
            ("HTTP/1.1 200 OK\nx: y\n\n", Failure::Invalid(Invalid::LineEnd)),
        ] {
            let (client, mut server) = pair(1 << 16);
            let serving = async {
                until(&mut server, "\r\n\r\n").await;
                server.write_all(answer.as_bytes()).await.unwrap();
                drop(server);
            };
            let ((), response) = tokio::join!(serving, client.send(get("/again")));
            let (failure, request) = response.unwrap_err();
            assert_eq!(failure, expected, "{answer:?}");
            assert_eq!(request.unwrap().uri(), "/again", "a request without a body can be sent again");
        }
        let (client, server) = pair(64);
        drop(server);
        assert_eq!(client.send(get("/")).await.unwrap_err().0, Failure::Closed { sent: false });
    });
}

/// A request whose body is the frames sent into the channel.
fn dictated()
-> (mpsc::Sender<Sent>, Request<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin + 'static>) {
    let (sender, receiver) = mpsc::channel(4);
    let frames = futures_util::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Sent>| async move {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    (sender, Request::post("/").body(StreamBody::new(Box::pin(frames))).unwrap())
}

type Sent = Result<Frame<Bytes>, Infallible>;

#[test]
fn a_request_body_continues_after_an_early_response() {
    run(async {
        let (client, mut server) = pair(16);
        let (sender, request) = dictated();
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
        let (seen, response) = exchange(&client, &mut server, request, "\r\n\r\n", answer).await;
        assert!(seen.contains("transfer-encoding: chunked\r\n"), "{seen}");
        let mut body = response.map_err(|(failure, _)| failure).unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        // The response is dropped unread, and the rest of the request is still sent.
        sender.send(Ok(Frame::data("question".into()))).await.unwrap();
        assert_eq!(until(&mut server, "question\r\n").await, "8\r\nquestion\r\n");
        drop(sender);
        assert_eq!(until(&mut server, "0\r\n\r\n").await, "0\r\n\r\n");
        server.write_all(b"0\r\n\r\n").await.unwrap();
        assert!(body.frame().await.is_none());
        yield_now().await;
        assert!(client.is_ready());
    });
}

#[test]
fn a_connection_that_is_let_go_stops_sending() {
    run(async {
        let (client, mut server) = pair(16);
        let (sender, request) = dictated();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let (_, response) = exchange(&client, &mut server, request, "\r\n\r\n", answer).await;
        drop(response);
        assert!(!client.is_ready());
        drop(client);
        sender.closed().await;
        let mut rest = vec![];
        server.read_to_end(&mut rest).await.unwrap();
    });
}

fn upgrading(protocol: &str) -> request::Builder {
    Request::get("/").header("connection", "upgrade").header("upgrade", protocol)
}

#[test]
fn a_switch_to_another_protocol_is_refused() {
    let switching = |head: &str| format!("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\n{head}\r\n");
    let responses = [
        switching(""),
        switching("upgrade: y\r\n"),
        switching("upgrade: x, y\r\n"),
        switching("upgrade: x\r\nupgrade: y\r\n"),
        switching("upgrade: x\r\n").replace("connection: upgrade\r\n", ""),
        switching("upgrade: x\r\n").replace("HTTP/1.1", "HTTP/1.0"),
    ];
    run(async move {
        for answer in responses {
            let (client, mut server) = pair(1 << 16);
            let request = upgrading("x").body(Full::<Bytes>::default()).unwrap();
            let (_, response) = exchange(&client, &mut server, request, "\r\n\r\n", &answer).await;
            assert_eq!(response.err().map(|(f, _)| f), Some(Failure::Invalid(Invalid::Switch)), "{answer:?}");
            assert!(!client.is_ready());
        }
        let (client, mut server) = pair(1 << 16);
        let answer = switching("upgrade: x\r\n");
        let (_, response) = exchange(&client, &mut server, get("/"), "\r\n\r\n", &answer).await;
        assert_eq!(
            response.err().map(|(f, _)| f),
            Some(Failure::Invalid(Invalid::Switch)),
            "the request did not ask for a switch"
        );
    });
}

#[test]
fn a_switch_before_the_end_of_the_request_is_refused() {
    run(async {
        let (client, mut server) = pair(16);
        let (_sender, request) = dictated();
        let (mut parts, body) = request.into_parts();
        parts.headers.extend(upgrading("x").body(()).unwrap().headers().clone());
        let request = Request::from_parts(parts, body);
        let answer = "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        let (_, response) = exchange(&client, &mut server, request, "\r\n\r\n", answer).await;
        assert_eq!(response.err().map(|(f, _)| f), Some(Failure::Invalid(Invalid::Switch)));
    });
}

#[test]
fn an_upgrade_returns_the_stream_with_the_bytes_read_ahead() {
    run(async {
        let (client, mut server) = pair(1 << 16);
        let answer = "HTTP/1.1 101 Switching\r\nupgrade: X\r\nconnection: upgrade\r\n\r\nhello";
        let request = upgrading("x").body(Full::<Bytes>::default()).unwrap();
        let (_, response) = exchange(&client, &mut server, request, "\r\n\r\n", answer).await;
        let mut stream = response.unwrap().into_body().upgrade().unwrap().await.unwrap();
        let mut early = [0; 5];
        stream.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"hello");
        stream.write_all(b"bye").await.unwrap();
        assert_eq!(until(&mut server, "bye").await, "bye");
    });
}

#[test]
fn a_large_body_passes_through_the_smallest_pipe() {
    run(async {
        let (client, mut server) = pair(3);
        let body: Bytes = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        let request = Request::post("/").body(Full::new(body.clone())).unwrap();
        let serving = spawn_local(async move {
            let head = until(&mut server, "\r\n\r\n").await;
            assert!(head.contains("content-length: 50000\r\n"));
            let mut seen = vec![0; 50_000];
            server.read_exact(&mut seen).await.unwrap();
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            seen
        });
        client.send(request).await.map_err(|(failure, _)| failure).unwrap();
        assert_eq!(serving.await.unwrap(), body);
    });
}

#[test]
fn the_headers_of_a_request_are_returned_with_its_response() {
    run(async {
        let (client, mut server) = pair(1 << 16);
        let serving = async {
            until(&mut server, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
            server.write_all(answer).await.unwrap();
        };
        let ((), result) = tokio::join!(serving, client.send(get("/again")));
        let (response, headers) = result.map_err(|(failure, _)| failure).unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(headers, *get("/again").headers());
    });
}
