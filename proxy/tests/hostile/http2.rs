//! HTTP/2 clients that violate single rules: each gets the error that RFC 9113 requires, on its stream or its
//! connection.

use crate::frames::*;
use crate::process::{Process, Setup};
use crate::upstream::{hold, polite, upstream};

fn client(proxy: &Process) -> Wire {
    Wire::client(proxy.address("web"), &frame(SETTINGS, 0, 0, &[]))
}

#[test]
fn a_broken_rule_of_the_connection_ends_it_with_the_reason() {
    let mut proxy = Setup::to(upstream(hold)).start();
    let post = frame(HEADERS, END_HEADERS, 1, &request("POST", "/"));
    let cases: [(&str, Vec<u8>, &[u32]); 9] = [
        (
            "a window that overflows",
            [post.clone(), window_update(0, 0x7fff_ffff)].concat(),
            &[FLOW_CONTROL_ERROR],
        ),
        ("a frame that is too long", frame(DATA, 0, 1, &vec![0; 100_000]), &[6]),
        ("data on stream 0", frame(DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
        ("a stream of the server's", get(2, "/"), &[PROTOCOL_ERROR]),
        ("a stream that goes back", [get(5, "/"), get(3, "/")].concat(), &[PROTOCOL_ERROR, 5]),
        ("a lone continuation", frame(CONTINUATION, END_HEADERS, 1, &[]), &[PROTOCOL_ERROR]),
        ("a pushed promise", frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), &[PROTOCOL_ERROR]),
        (
            "an index beyond the table",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f]),
            &[9, PROTOCOL_ERROR],
        ),
        (
            "a table larger than allowed",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xe1, 0xff, 0x7f]),
            &[9, PROTOCOL_ERROR],
        ),
    ];
    for (what, bytes, expected) in cases {
        let mut wire = client(&proxy);
        wire.send(&bytes);
        let code = wire.goodbye();
        assert!(code.is_some_and(|code| expected.contains(&code)), "{what} ends with {code:?}");
        proxy.serves();
    }
    proxy.wait_idle();
}

#[test]
fn a_broken_rule_of_a_stream_ends_it_alone() {
    let mut proxy = Setup::to(upstream(hold)).start();
    let with = |name: &str, value: &str| {
        let block = [request("GET", "/"), literal(name, value)].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 3, &block)
    };
    let post = frame(HEADERS, END_HEADERS, 3, &request("POST", "/"));
    let depends_on_itself = [&[0, 0, 0, 3, 16][..], &request("GET", "/")].concat();
    for (what, bytes) in [
        ("an upper-case header", with("X-Upper", "1")),
        ("a connection header", with("connection", "close")),
        ("a pseudo header that does not exist", with(":other", "1")),
        ("te that is not trailers", with("te", "gzip")),
        ("a host with a user", with("host", "user@a")),
        ("a host that is a path", with("host", "a/b")),
        ("two lengths", {
            let lengths = [literal("content-length", "1"), literal("content-length", "5")].concat();
            let head = frame(HEADERS, END_HEADERS, 3, &[request("POST", "/"), lengths].concat());
            [head, frame(DATA, END_STREAM, 3, b"x")].concat()
        }),
        (
            "a body that is longer than it says",
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    3,
                    &[request("POST", "/"), literal("content-length", "1")].concat(),
                ),
                frame(DATA, END_STREAM, 3, b"many"),
            ]
            .concat(),
        ),
        ("a window that overflows", [post, window_update(3, 0x7fff_ffff)].concat()),
        (
            "a stream that depends on itself",
            frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 3, &depends_on_itself),
        ),
    ] {
        let mut wire = client(&proxy);
        wire.send(&bytes);
        let found = wire.find(|f| matches!(f.kind, RST_STREAM | GOAWAY | HEADERS)).unwrap();
        let refused = found.kind != HEADERS || matches!(found.payload[0], 0x8c);
        assert!(refused, "{what}: {found:?}");
        proxy.serves();
    }
    proxy.wait_idle();
}

#[test]
fn priorities_in_a_circle_change_nothing() {
    let proxy = Setup::to(polite()).start();
    let mut wire = client(&proxy);
    for (stream, on) in [(3u32, 5u32), (5, 7), (7, 3)] {
        wire.send(&frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[200]].concat()));
    }
    for stream in [3, 5, 7] {
        wire.send(&get(stream, "/"));
        assert_eq!(wire.status(stream), Some(200));
    }
}

#[test]
fn the_hpack_table_stays_small_whatever_size_the_client_allows() {
    let mut proxy = Setup::to(polite()).start();
    let before = proxy.memory();
    let mut wire = Wire::client(proxy.address("web"), &setting(1, u32::MAX));
    for number in 0..200u32 {
        let stream = number * 2 + 1;
        // Each request would add 4 KB to an unbounded table.
        let header = indexed(&format!("x-{number}"), &"a".repeat(4000));
        let block = [request("GET", "/"), header].concat();
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
        assert_eq!(wire.status(stream), Some(200));
    }
    assert!(proxy.memory() < before + 4 * 1024, "{before} KiB before, {} KiB after", proxy.memory());
    proxy.serves();
}

#[test]
fn streams_over_the_limit_are_refused_and_those_below_are_served() {
    let http = "http2_protocol_options: {max_concurrent_streams: 10}";
    let proxy = Setup { http, ..Setup::to(upstream(hold)) }.start();
    let mut wire = client(&proxy);
    // The client must have read the settings before it can violate them.
    wire.find(|f| f.kind == SETTINGS && f.flags & ACK == 0).unwrap();
    wire.send(&frame(SETTINGS, ACK, 0, &[]));
    for number in 0..15u32 {
        wire.send(&get(number * 2 + 1, "/over"));
    }
    for _ in 0..5 {
        let found = wire.find(|f| f.kind == RST_STREAM).unwrap();
        assert_eq!(found.code(), REFUSED_STREAM);
        assert!(found.stream > 20, "stream {} was within the limit", found.stream);
    }
    proxy.wait_stat("cluster.app.upstream_rq_active", |active| active == 10);
    drop(wire);
    proxy.wait_idle();
}

#[test]
fn a_goaway_from_the_client_lets_its_requests_finish() {
    let proxy = Setup::to(polite()).start();
    let mut wire = client(&proxy);
    wire.send(&[get(1, "/"), frame(GOAWAY, 0, 0, &[0; 8])].concat());
    assert_eq!(wire.status(1), Some(200));
    wire.goodbye();
    proxy.wait_idle();
}

#[test]
fn headers_over_the_limit_get_431() {
    let mut proxy = Setup::to(polite()).start();
    let long = literal("x-long", &"a".repeat(30_000));
    let many: Vec<u8> = (0..110).flat_map(|i| literal(&format!("x-{i}"), "1")).collect();
    for (what, more) in [("long", [long.clone(), long.clone(), long].concat()), ("many", many)] {
        let mut wire = client(&proxy);
        let block = [request("GET", "/"), more].concat();
        let (first, rest) = block.split_at(block.len().min(16_000));
        let last = rest.is_empty();
        wire.send(&frame(HEADERS, if last { END_HEADERS | END_STREAM } else { END_STREAM }, 1, first));
        let parts: Vec<&[u8]> = rest.chunks(16_000).collect();
        for (i, part) in parts.iter().enumerate() {
            wire.send(&frame(CONTINUATION, if i + 1 == parts.len() { END_HEADERS } else { 0 }, 1, part));
        }
        assert_eq!(wire.status(1), Some(431), "{what} headers");
        proxy.serves();
    }
    proxy.wait_idle();
}

#[test]
fn an_incomplete_request_ends_with_its_connection() {
    let http = "common_http_protocol_options: {idle_timeout: 1s}";
    let mut proxy = Setup { http, ..Setup::to(polite()) }.start();
    let mut wires = vec![];
    for bytes in [&PREFACE[..10], PREFACE, &[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()] {
        let mut wire = Wire(proxy.connect("web"));
        wire.send(bytes);
        wires.push(wire);
    }
    let mut wire = client(&proxy);
    wire.send(&frame(HEADERS, END_STREAM, 1, &request("GET", "/")));
    wires.push(wire);
    // None of the clients acknowledges the ping that follows the first GOAWAY.
    for mut wire in wires {
        wire.goodbye();
    }
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_response_to_head_has_no_body() {
    let proxy = Setup::to(polite()).start();
    for listener in ["direct", "web"] {
        let mut wire = Wire::client(proxy.address(listener), &frame(SETTINGS, 0, 0, &[]));
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("HEAD", "/")));
        let found = wire.find(|f| f.stream == 1).unwrap();
        assert_eq!((found.kind, found.flags & END_STREAM), (HEADERS, END_STREAM), "{listener}: {found:?}");
    }
}
