//! HTTP/1 upstreams that fail, hang, or send without end.

use crate::process::{Process, Setup, get, wait};
use crate::upstream::{head, hold, reset, upstream};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn ask(proxy: &Process) -> String {
    get(proxy.address("web").port(), "/asked").unwrap_or_default()
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or("none")
}

/// An upstream that reads a request's head and then calls this function.
fn after_head(then: impl Fn(TcpStream) + Send + Sync + 'static) -> std::net::SocketAddr {
    upstream(move |mut stream| {
        if head(&mut stream).is_some() {
            then(stream);
        }
    })
}

fn says(text: &'static str) -> std::net::SocketAddr {
    after_head(move |mut stream| {
        let _ = stream.write_all(text.as_bytes());
        hold(stream);
    })
}

#[test]
fn broken_upstreams_get_their_status_and_flag() {
    let closed = tests::port::Refusing::new();
    let cases = [
        ("refuses connections", closed.address, "503", "flags=UF"),
        ("closes at once", upstream(drop), "503", "flags=UC"),
        // Whether the reset comes before the proxy has seen that it is connected (UF) or after (UC) is chance.
        ("resets at once", upstream(reset), "503", "flags=U"),
        ("closes after the request", after_head(drop), "503", "flags=UC"),
        ("resets after the request", after_head(reset), "503", "flags=UC"),
        (
            "closes inside its head",
            after_head(|mut s| drop(s.write_all(b"HTTP/1.1 200 OK\r\nx: "))),
            "502",
            "flags=UPE",
        ),
        ("says garbage", says("\0\u{1}garbage\r\n\r\n"), "502", "flags=UPE"),
        ("speaks another protocol", says("220 smtp.example ESMTP\r\n\r\n"), "502", "flags=UPE"),
        ("has no number for a status", says("HTTP/1.1 abc OK\r\n\r\n"), "502", "flags=UPE"),
        ("has a broken header", says("HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n"), "502", "flags=UPE"),
        (
            "has two lengths",
            says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
            "502",
            "flags=UPE",
        ),
    ];
    for (what, address, expected, flag) in cases {
        let mut proxy = Setup::to(address).start();
        let response = ask(&proxy);
        assert_eq!(status(&response), expected, "an upstream that {what}: {response}");
        proxy.logged(&["/asked", &format!("code={expected}"), flag]);
        proxy.wait_idle();
        proxy.serves();
    }
}

#[test]
fn upstreams_that_hang_run_out_of_time() {
    let hang = |text: &'static str| says(text);
    for (what, address) in [
        ("hangs before its head", hang("")),
        ("hangs inside its head", hang("HTTP/1.1 200 OK\r\nx: ")),
        ("says 100 and no more", hang("HTTP/1.1 100 Continue\r\n\r\n")),
        ("never reads", upstream(|_stream| std::thread::sleep(Duration::from_secs(5)))),
    ] {
        let mut proxy = Setup { route: "timeout: 0.3s", ..Setup::to(address) }.start();
        let response = ask(&proxy);
        assert_eq!(status(&response), "504", "an upstream that {what}: {response}");
        assert!(response.contains("upstream request timeout"), "{response}");
        proxy.logged(&["/asked", "code=504", "flags=UT", "details=response_timeout"]);
        proxy.wait_idle();
        proxy.serves();
    }
}

#[test]
fn bodies_that_break_off_end_the_clients_connection() {
    let start = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    let broken = move |end: fn(TcpStream)| {
        after_head(move |mut stream| {
            let _ = stream.write_all(start.as_bytes());
            std::thread::sleep(Duration::from_millis(100));
            end(stream);
        })
    };
    let cases = [
        ("closes", broken(drop), "flags=UPE"),
        ("resets", broken(reset), "flags=UPE"),
        ("hangs", broken(hold), "flags=UT"),
        (
            "says a wrong chunk",
            says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n"),
            "flags=U",
        ),
    ];
    for (what, address, flag) in cases {
        let mut proxy = Setup { route: "timeout: 1s", ..Setup::to(address) }.start();
        let mut stream = proxy.connect("web");
        stream.write_all(b"GET /half HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let response = crate::process::rest(&mut stream);
        assert!(response.starts_with("HTTP/1.1 200") && response.contains("half"), "{what}: {response}");
        assert!(!response.ends_with("0\r\n\r\n"), "{what}: the client takes it for whole");
        proxy.logged(&["/half", "code=200", flag]);
        proxy.wait_idle();
        proxy.serves();
    }
}

#[test]
fn endless_responses_end_at_a_limit() {
    let endless = |start: &'static str, part: &'static str| {
        after_head(move |mut stream| {
            let _ = stream.write_all(start.as_bytes());
            let many = part.repeat(4096 / part.len() + 1);
            while stream.write_all(many.as_bytes()).is_ok() {}
        })
    };
    let cases = [
        ("interim answers", endless("", "HTTP/1.1 102 Processing\r\n\r\n"), &["502", "504"][..]),
        ("headers", endless("HTTP/1.1 200 OK\r\n", "x: y\r\n"), &["502"]),
        ("a header", endless("HTTP/1.1 200 OK\r\nx: ", "y"), &["502"]),
        ("a reason", endless("HTTP/1.1 200 ", "OK"), &["502"]),
    ];
    for (what, address, expected) in cases {
        let mut proxy = Setup { route: "timeout: 0.5s", ..Setup::to(address) }.start();
        let before = proxy.memory();
        let response = ask(&proxy);
        assert!(expected.contains(&status(&response)), "endless {what}: {response}");
        assert!(proxy.memory() < before + 8 * 1024, "endless {what}: {} KiB after {before}", proxy.memory());
        proxy.wait_idle();
        proxy.serves();
    }
}

#[test]
fn retryable_requests_are_retried_as_the_policy_allows() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = upstream(move |mut stream| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        head(&mut stream);
        match number {
            0 => reset(stream),
            1 => drop(stream),
            _ => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
        }
    });
    let route = "timeout: 10s, retry_policy: {retry_on: \"reset\", num_retries: 3}";
    let mut proxy = Setup { route, ..Setup::to(address) }.start();
    assert_eq!(status(&ask(&proxy)), "200");
    proxy.logged(&["/asked", "code=200", "flags=-", "tries=3"]);

    let counted = Arc::new(AtomicUsize::new(0));
    let seen = counted.clone();
    let always = upstream(move |mut stream| {
        head(&mut stream);
        seen.fetch_add(1, Ordering::SeqCst);
        reset(stream);
    });
    let exhausted = Setup { route, ..Setup::to(always) }.start();
    assert_eq!(status(&ask(&exhausted)), "503");
    exhausted.logged(&["/asked", "code=503", "URX", "tries=4"]);
    assert_eq!(counted.load(Ordering::SeqCst), 4);
    proxy.serves();
}

#[test]
fn one_upstream_that_hangs_does_not_hold_up_the_others() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let address = upstream(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            counted.fetch_add(1, Ordering::SeqCst);
            if head.starts_with("GET /hang") {
                return hold(stream);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let proxy = Setup::to(address).start();
    let hanging: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = proxy.connect("web");
            stream.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    wait("the upstream has all requests", || asked.load(Ordering::SeqCst) == 200);
    for _ in 0..50 {
        assert_eq!(status(&ask(&proxy)), "200");
    }
    assert_eq!(proxy.stat("cluster.app.upstream_rq_active"), 200);
    drop(hanging);
    proxy.wait_idle();
    proxy.logged(&["/hang", "code=0", "flags=DC"]);
}
