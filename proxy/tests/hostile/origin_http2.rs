//! HTTP/2 upstreams that flood the proxy, violate rules, or never respond: requests get the right status, the
//! connection is closed, and memory does not grow.

use crate::frames::*;
use crate::process::{Process, Setup, get as ask};
use crate::upstream::{hold, upstream};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An upstream that calls this function for each request.
fn each_request(response: impl Fn(&mut Wire, u32) + Send + Sync + 'static) -> SocketAddr {
    upstream(move |stream| {
        let Some(mut wire) = Wire::server(stream) else { return };
        let _ = wire.0.set_read_timeout(Some(2 * crate::process::TIMEOUT));
        while let Some(begun) = wire.find(|f| f.kind == HEADERS) {
            response(&mut wire, begun.stream);
        }
    })
}

/// Discards the result of a write to a connection that the proxy may have closed.
fn ignore<T>(_: T) {}

fn response(proxy: &Process) -> String {
    ask(proxy.address("web").port(), "/asked").unwrap_or_default()
}

/// An upstream that sends these bytes for each request, until the proxy closes the connection.
fn says(bytes: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    each_request(move |wire, stream| ignore(wire.try_send(&bytes(stream))))
}

#[test]
fn broken_upstreams_get_their_status_and_flag() {
    let closes = each_request(|wire, _| ignore(wire.0.shutdown(std::net::Shutdown::Both)));
    let older = upstream(|mut stream| {
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        hold(stream);
    });
    let pushes = |stream: u32| {
        let promise = [&2u32.to_be_bytes()[..], &[0x82]].concat();
        let response = frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]);
        [frame(5, END_HEADERS, stream, &promise), response].concat()
    };
    let head = |block: Vec<u8>| says(move |s| frame(HEADERS, END_HEADERS, s, &block));
    let cases = [
        ("reset the stream", says(|s| reset(s, 2)), "503", "flags=UR"),
        ("refuse every stream", says(|s| reset(s, REFUSED_STREAM)), "503", "flags=UR"),
        ("close the connection", closes, "503", "flags=UC"),
        ("say garbage", says(|_| vec![0xff; 200]), "50", "flags=U"),
        ("speak HTTP/1", older, "50", "flags=U"),
        ("say no status", head(literal("x", "y")), "50", "flags=U"),
        ("unpack garbage", head(vec![0xff; 20]), "50", "flags=U"),
        ("push an unrequested stream", says(pushes), "50", "flags=U"),
        ("go away at once", says(|_| frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])), "503", "flags=U"),
    ];
    for (what, address, status, flag) in cases {
        let mut proxy = Setup { route: "timeout: 5s", ..Setup::to_http2(address) }.start();
        let response = response(&proxy);
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "upstreams that {what}: {response}");
        proxy.logged(&["/asked", &format!("code={status}"), flag]);
        proxy.wait_idle();
        proxy.serves();
    }
}

#[test]
fn upstreams_that_hang_run_out_of_time() {
    let silent = upstream(hold);
    let deaf = each_request(|_, _| {});
    let interim = says(|s| frame(HEADERS, END_HEADERS, s, &literal(":status", "103")));
    let unfinished = says(|s| frame(HEADERS, 0, s, &[0x88]));
    for (what, address) in [
        ("never speak", silent),
        ("never answer", deaf),
        ("say 103 and no more", interim),
        ("say half a head", unfinished),
    ] {
        let mut proxy = Setup { route: "timeout: 0.3s", ..Setup::to_http2(address) }.start();
        let response = response(&proxy);
        assert!(response.starts_with("HTTP/1.1 504"), "upstreams that {what}: {response}");
        proxy.logged(&["/asked", "code=504", "flags=UT"]);
        proxy.wait_idle();
        proxy.serves();
    }
}

/// An upstream that sends parts until the proxy closes the connection.
fn floods(part: impl Fn(u32, usize) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    each_request(move |wire, stream| {
        for number in 0..3000 {
            if !wire.try_send(&part(stream, number)) {
                return;
            }
        }
    })
}

#[test]
fn floods_of_an_upstream_end_its_connection() {
    let cases: [(&str, SocketAddr); 8] = [
        ("pings", floods(|_, _| frame(PING, 0, 0, b"12345678").repeat(100))),
        ("settings", floods(|_, n| setting(4, 1000 + n as u32).repeat(100))),
        ("window updates", floods(|_, _| window_update(0, 1).repeat(100))),
        ("priorities", floods(|s, _| frame(PRIORITY, 0, s, &[0, 0, 0, 0, 9]).repeat(100))),
        ("unknown frames", floods(|_, _| frame(0xbe, 0, 0, b"x").repeat(100))),
        ("resets of old streams", floods(|s, _| reset(s, CANCEL).repeat(100))),
        (
            "continuations",
            floods(|s, n| {
                let block = literal(&format!("x-{n}"), &"a".repeat(1000));
                if n == 0 {
                    frame(HEADERS, 0, s, &[vec![0x88], block].concat())
                } else {
                    frame(CONTINUATION, 0, s, &block)
                }
            }),
        ),
        (
            "interim answers",
            floods(|s, _| frame(HEADERS, END_HEADERS, s, &literal(":status", "103")).repeat(100)),
        ),
    ];
    for (what, address) in cases {
        let mut proxy = Setup { route: "timeout: 15s", ..Setup::to_http2(address) }.start();
        let before = proxy.memory();
        let began = Instant::now();
        let response = response(&proxy);
        assert!(response.starts_with("HTTP/1.1 50"), "a flood of {what}: {response}");
        assert!(began.elapsed() < Duration::from_secs(10), "a flood of {what} went on");
        let most = proxy.memory();
        assert!(most < before + 8 * 1024, "a flood of {what}: {before} KiB before, {most} KiB after");
        proxy.wait_stat("cluster.app.upstream_rq_active", |active| active == 0);
        proxy.serves();
    }
}

#[test]
fn an_upstream_that_overflows_its_window_is_given_up() {
    let (tell, sent) = std::sync::mpsc::channel();
    let address = each_request(move |wire, stream| {
        wire.try_send(&frame(HEADERS, END_HEADERS, stream, &[0x88]));
        // More than the windows of stream and connection: the rest is not read until the client opens its window.
        let data = frame(DATA, 0, stream, &[0; 16_000]);
        let closed = (0..2000).any(|_| !wire.try_send(&data));
        tell.send(closed).unwrap();
    });
    let mut proxy = Setup::to_http2(address).start();
    let before = proxy.memory();
    let mut wire = Wire::client(proxy.address("web"), &setting(4, 0));
    wire.send(&get(1, "/asked"));
    assert_eq!(wire.status(1), Some(200));
    sent.recv_timeout(Duration::from_secs(30)).unwrap();
    wire.send(&[window_update(0, 1 << 24), window_update(1, 1 << 24)].concat());
    let code = wire.find(|f| matches!(f.kind, RST_STREAM | GOAWAY)).map(|f| f.kind);
    assert_eq!(code, Some(RST_STREAM));
    assert!(proxy.memory() < before + 16 * 1024, "{before} KiB before, {} KiB after", proxy.memory());
    drop(wire);
    proxy.wait_idle();
    proxy.serves();
}
