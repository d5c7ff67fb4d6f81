//! HTTP/1 clients that send too much, too slowly, or without end.

use crate::process::{Setup, rest, scale, wait};
use crate::upstream::{hold, polite, upstream};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Reads a head up to its empty line.
fn head(stream: &mut TcpStream) -> String {
    crate::upstream::head(stream).unwrap_or_default()
}

fn status(stream: &mut TcpStream) -> String {
    let head = head(stream);
    head.split(' ').nth(1).unwrap_or("none").to_owned()
}

#[test]
fn errors_name_the_limit_that_is_exceeded() {
    let mut proxy = Setup::to(polite()).start();
    let long = |length: usize| "a".repeat(length);
    let many = |count: usize| {
        (0..count).fold(String::new(), |mut all, i| {
            let _ = write!(all, "x-{i}: 1\r\n");
            all
        })
    };
    for (request, expected) in [
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", long(70_000)), &["414", "431"][..]),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", long(70_000)), &["431"]),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", many(101)), &["431"]),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", many(20_000)), &["431"]),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", long(30_000)), &["200"]),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", many(80)), &["200"]),
    ] {
        let mut stream = proxy.connect("web");
        // The response may arrive, and the connection end, before all bytes were read.
        let _ = stream.write_all(request.as_bytes());
        let status = status(&mut stream);
        assert!(expected.contains(&status.as_str()), "{status} for {}…", &request[..40]);
    }
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn bytes_that_are_not_http_get_400() {
    let mut proxy = Setup::to(polite()).start();
    for bytes in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\xff\xfe / HTTP/1.1\r\n\r\n",
        b"G@T / HTTP/1.1 \r\n\r\n",
    ] {
        let mut stream = proxy.connect("web");
        stream.write_all(bytes).unwrap();
        assert_eq!(status(&mut stream), "400", "{}", bytes.escape_ascii());
        rest(&mut stream);
    }
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_header_that_dribbles_is_given_up_in_time() {
    let http = "request_headers_timeout: 1s";
    let mut proxy = Setup { http, ..Setup::to(polite()) }.start();
    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..50).map(|_| proxy.connect("web")).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").unwrap();
    }
    wait("the proxy gives up slow headers", || {
        // Each single byte would restart an idle timer.
        slow.retain_mut(|stream| stream.write_all(b"x").is_ok() && !closed(stream));
        proxy.serves();
        std::thread::sleep(Duration::from_millis(40));
        slow.is_empty()
    });
    assert!(began.elapsed() >= Duration::from_millis(900), "given up after {:?}", began.elapsed());
    proxy.wait_idle();
}

/// Whether the peer has closed the connection, whatever it sent before.
fn closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1024];
    let closed = loop {
        match stream.read(&mut bytes) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).unwrap();
    closed
}

#[test]
fn a_stalled_body_times_out_and_a_slow_one_does_not() {
    let http = "stream_idle_timeout: 1s";
    let mut proxy = Setup { http, ..Setup::to(polite()) }.start();
    let mut stopped = proxy.connect("web");
    stopped.write_all(b"POST /stopped HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n123").unwrap();
    let mut dribbles = proxy.connect("web");
    dribbles.write_all(b"POST /dribbles HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n").unwrap();
    for _ in 0..20 {
        dribbles.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(120));
    }
    assert_eq!(status(&mut dribbles), "200", "a slow body is not an idle stream");
    assert_eq!(status(&mut stopped), "408");
    proxy.logged(&["/stopped", "code=408", "flags=SI", "stream_idle_timeout"]);
    drop((stopped, dribbles));
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_slow_request_gets_408() {
    let http = "request_timeout: 1s";
    let mut proxy = Setup { http, ..Setup::to(polite()) }.start();
    let mut stream = proxy.connect("web");
    stream.write_all(b"POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) && stream.write_all(b"1\r\nx\r\n").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status(&mut stream), "408");
    proxy.logged(&["/slow", "code=408", "details=request_overall_timeout"]);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn an_endless_body_is_held_back_at_the_rate_of_its_upstream() {
    let route = "timeout: 0s, retry_policy: {retry_on: 5xx, num_retries: 3}";
    // The proxy cannot notice the disconnect of a client that it does not read, so the idle timeout ends the
    // request.
    let http = "stream_idle_timeout: 1s";
    let mut proxy = Setup { http, route, ..Setup::to(upstream(hold_unread)) }.start();
    // Runs once before measuring, so that all code is loaded.
    bomb(&proxy.connect("web"), 1);
    proxy.wait_idle();
    let before = proxy.memory();
    let clients = 8 * scale();
    let most = bombs(&proxy, clients);
    // Each request buffers 64 KiB for a retry, plus the bytes read ahead.
    assert!(most < before + clients as u64 * 1024, "{before} KiB before, {most} KiB at most");
    proxy.wait_idle();
    proxy.wait_memory(before);
    proxy.serves();
}

fn bombs(proxy: &crate::process::Process, clients: usize) -> u64 {
    let streams: Vec<TcpStream> = (0..clients).map(|_| proxy.connect("web")).collect();
    std::thread::scope(|scope| {
        let senders: Vec<_> = streams.iter().map(|stream| scope.spawn(move || bomb(stream, 64))).collect();
        let mut most = 0;
        while senders.iter().any(|sender| !sender.is_finished()) {
            most = most.max(proxy.memory());
            std::thread::sleep(Duration::from_millis(20));
        }
        most
    })
}

/// Sends chunks of 64 KiB until they are not accepted for a while.
fn bomb(mut stream: &TcpStream, chunks: usize) {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(b"POST /bomb HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x1_0000], b"\r\n".to_vec()].concat();
    for _ in 0..chunks {
        if stream.write_all(&chunk).is_err() {
            return;
        }
    }
}

/// Reads nothing, and keeps the connection open for as long as the test runs.
fn hold_unread(stream: TcpStream) {
    std::thread::sleep(2 * crate::process::TIMEOUT);
    drop(stream);
}

#[test]
fn an_unread_response_causes_backpressure() {
    let endless = upstream(|mut stream| {
        crate::upstream::head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x1_0000], b"\r\n".to_vec()].concat();
        while stream.write_all(&chunk).is_ok() {}
        hold(stream);
    });
    let mut proxy = Setup::to(endless).start();
    let ask = |proxy: &crate::process::Process, clients: usize| -> Vec<TcpStream> {
        let mut streams: Vec<TcpStream> = (0..clients).map(|_| proxy.connect("web")).collect();
        for stream in &mut streams {
            stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            head(stream);
        }
        streams
    };
    drop(ask(&proxy, 2));
    proxy.wait_idle();
    let before = proxy.memory();
    let clients = 10 * scale();
    let streams = ask(&proxy, clients);
    std::thread::sleep(Duration::from_millis(500));
    let now = proxy.memory();
    assert!(
        now < before + clients as u64 * 1024,
        "{before} KiB before, {now} KiB with {clients} readers that do not read"
    );
    proxy.serves();
    drop(streams);
    proxy.logged(&["/endless", "flags=DC", "downstream_remote_disconnect"]);
    proxy.wait_idle();
    proxy.wait_memory(before);
}
