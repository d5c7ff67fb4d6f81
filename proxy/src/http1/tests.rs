//! Client and server joined to a small proxy over in-memory pipes: bodies that one end reads and the other writes,
//! in whichever task that happens.

use super::client::Client;
use super::head::Limits;
use super::server::{Service, Settings, serve};
use super::{Body, Invalid};
use http::request::Parts;
use http::{Request, Response};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::task::{LocalSet, spawn_local};

const LIMITS: Limits = Limits { bytes: 8192, count: 20 };

/// Forwards every request over one connection.
struct Forward(Rc<RefCell<Option<Client<DuplexStream>>>>);

impl Service for Forward {
    type Body = Body;

    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let client = self.0.borrow_mut().take().unwrap();
        let (response, _) = client.send(request).await.map_err(|(failure, _)| failure).unwrap();
        *self.0.borrow_mut() = Some(client);
        response
    }

    fn refuse(&self, invalid: Invalid, _: Option<Parts>) -> Response<Body> {
        panic!("{invalid}")
    }

    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn closing(&self) -> bool {
        false
    }
}

/// Starts a proxy and returns the client's and the server's end of it.
fn between(pipe: usize) -> (DuplexStream, DuplexStream) {
    let (near, inner) = duplex(pipe);
    let (outer, far) = duplex(pipe);
    let client = Rc::new(RefCell::new(Some(Client::new(outer, LIMITS))));
    spawn_local(serve(inner, Settings { limits: LIMITS, head_timeout: None }, Forward(client)));
    (near, far)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), test);
}

async fn until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(stream.read_u8().await.unwrap() as char);
    }
    text
}

#[test]
fn chunks_and_trailers_pass_in_both_directions_through_any_pipe() {
    run(async {
        for pipe in [1, 5, 4096] {
            let (mut near, mut far) = between(pipe);
            let client = async {
                near.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\nyou\r\n0\r\nx-a: 1\r\n\r\n").await.unwrap();
                until(&mut near, "x-b: 2\r\n\r\n").await
            };
            let server = async {
                let request = until(&mut far, "x-a: 1\r\n\r\n").await;
                far.write_all(
                    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-b: 2\r\n\r\n",
                )
                .await
                .unwrap();
                request
            };
            let (response, request) = tokio::join!(client, server);
            // A narrow pipe splits the same letters into more chunks.
            let letters =
                |text: &str| text.split("\r\n\r\n").nth(1).unwrap().replace(|c: char| !c.is_alphabetic(), "");
            assert_eq!((letters(&request), letters(&response)), ("hiyouxa".into(), "okxb".into()));
            assert!(request.ends_with("\r\n0\r\nx-a: 1\r\n\r\n"), "{request}");
            assert!(response.ends_with("\r\n0\r\nx-b: 2\r\n\r\n"), "{response}");
        }
    });
}

#[test]
fn a_client_that_reads_nothing_until_it_has_sent_all_is_served() {
    run(async {
        const LENGTH: usize = 300_000;
        let (near, far) = between(1024);
        let (mut near_in, mut near_out) = split(near);
        let (mut far_in, mut far_out) = split(far);
        // The server responds while it reads, and its response must wait for a client that is still sending.
        spawn_local(async move {
            until(&mut far_in, "\r\n\r\n").await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            let server = spawn_local(async move {
                far_out.write_all(head.as_bytes()).await.unwrap();
                far_out.write_all(&vec![b'a'; LENGTH]).await.unwrap();
                far_out
            });
            let mut body = vec![0; LENGTH];
            far_in.read_exact(&mut body).await.unwrap();
            server.await.unwrap();
        });
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
        near_out.write_all(head.as_bytes()).await.unwrap();
        near_out.write_all(&vec![b'q'; LENGTH]).await.unwrap();
        until(&mut near_in, "\r\n\r\n").await;
        let mut body = vec![0; LENGTH];
        near_in.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|b| *b == b'a'));
    });
}

#[test]
fn the_server_learns_that_the_client_broke_off() {
    run(async {
        let (mut near, mut far) = between(64);
        near.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        until(&mut far, "half").await;
        far.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await.unwrap();
        until(&mut near, "x\r\n").await;
        drop(near);
        let mut rest = vec![];
        let _ = far.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    });
}

#[test]
fn the_client_learns_that_the_server_broke_off() {
    run(async {
        let (mut near, mut far) = between(64);
        near.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        until(&mut far, "\r\n\r\n").await;
        far.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await.unwrap();
        drop(far);
        let mut rest = vec![];
        near.read_to_end(&mut rest).await.unwrap();
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.ends_with("1\r\nx\r\n"), "the last chunk is not there: {rest}");
    });
}
