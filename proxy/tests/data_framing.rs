//! HTTP/1 framing through a worker: an ambiguous request reaches no upstream, its client learns why, and a record
//! states the reason.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test sets its own time and may fail")]

mod data;

use data::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A proxy in front of an upstream that counts its requests.
async fn counting() -> (Proxy, Rc<Cell<u32>>) {
    let seen = Rc::new(Cell::new(0));
    let count = seen.clone();
    let address = upstream(move |_, mut client| {
        let count = count.clone();
        async move {
            while !client.head().await.is_empty() {
                count.set(count.get() + 1);
                client.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    (in_front_of(address), seen)
}

#[test]
fn a_refused_request_gets_its_status_is_logged_and_is_not_forwarded() {
    run(async {
        let (proxy, seen) = counting().await;
        for (number, (request, status, reason)) in [
            (
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
                "Bad Request",
            ),
            (
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n",
                501,
                "Not Implemented",
            ),
            (
                "GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n folded\r\n\r\n",
                400,
                "Bad Request",
            ),
            ("GET / HTTP/1.1\nhost: a\n\n", 400, "Bad Request"),
            ("GET / HTTP/3.0\r\nhost: a\r\n\r\n", 426, "Upgrade Required"),
            ("\x16\x03\x01\x00\x05", 400, "Bad Request"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut client = proxy.connect().await;
            client.send(&format!("{request}GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let response = client.response().await;
            assert_eq!((response.status, response.body.as_str()), (status, reason), "{request:?}");
            assert_eq!(response.header("connection"), Some("close"));
            assert_eq!(client.rest().await, "");
            let total = format!("downstream_cx_protocol_error{{listener_address=\"in\"}} {}", number + 1);
            proxy.metric(&[&total]).await;
        }
        proxy.metric(&["istio_requests_total", "response_flags=\"DPE\"", "response_code=\"501\""]).await;
        assert_eq!(seen.get(), 0);
    });
}

#[test]
fn a_malformed_chunk_is_refused_and_logged() {
    run(async {
        let proxy = in_front_of(echo().await);
        let mut client = proxy.connect().await;
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n")
            .await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (400, "Bad Request"));
        assert_eq!(client.rest().await, "");
        proxy.metric(&["istio_requests_total", "response_flags=\"DPE\"", "response_code=\"400\""]).await;
    });
}

#[test]
fn an_ambiguous_response_of_the_upstream_is_a_protocol_error() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.head().await;
            client
                .send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
                .await;
            client.rest().await;
        })
        .await;
        let proxy = in_front_of(address);
        let response = proxy.connect().await.get("/").await;
        assert_eq!(response.status, 502);
        assert!(response.body.contains("protocol error"), "{}", response.body);
        proxy.metric(&["istio_requests_total", "response_flags=\"UPE\""]).await;
    });
}

#[test]
fn a_client_that_half_closes_after_the_request_gets_the_response() {
    run(async {
        let proxy = in_front_of(echo().await);
        let mut client = proxy.connect().await;
        client.send("GET /half HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.0.shutdown().await.unwrap();
        assert!(client.rest().await.contains("GET /half"));
    });
}

#[test]
fn a_disconnected_client_cancels_its_request_upstream() {
    run(async {
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        let address = upstream(move |_, mut client| {
            let end = end.clone();
            async move {
                client.head().await;
                client.rest().await;
                end.set(true);
            }
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        proxy.metric(&["upstream_rq_active", " 1"]).await;
        drop(client);
        proxy.metric(&["istio_requests_total", "response_flags=\"DC\""]).await;
        while !ended.get() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_response_before_the_end_of_the_body_reaches_the_client() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.head().await;
            client.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").await;
            let _ = client.0.shutdown().await;
            client.rest().await;
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\nbegin").await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (413, "big"));
    });
}

#[test]
fn both_sides_of_an_exchange_stream_at_once() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            loop {
                let mut chunk = [0; 6];
                client.0.read_exact(&mut chunk[..5]).await.unwrap();
                if chunk.starts_with(b"0") {
                    return client.send("0\r\n\r\n").await;
                }
                client.0.read_exact(&mut chunk[5..]).await.unwrap();
                client.0.write_all(&chunk).await.unwrap();
            }
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
        for letter in ["a", "b", "c"] {
            client.send(&format!("1\r\n{letter}\r\n")).await;
            let mut chunk = [0; 6];
            client.0.read_exact(&mut chunk).await.unwrap();
            assert_eq!(chunk, format!("1\r\n{letter}\r\n").as_bytes());
        }
        client.send("0\r\n\r\n").await;
        let mut end = [0; 5];
        client.0.read_exact(&mut end).await.unwrap();
        assert_eq!(&end, b"0\r\n\r\n");
    });
}
