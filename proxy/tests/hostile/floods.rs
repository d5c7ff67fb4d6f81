//! HTTP/2 clients that send many frames which cost them nothing. The connection is closed with a GOAWAY, or served
//! no faster than it reads; either way other clients are served meanwhile, and memory is released.

use crate::frames::*;
use crate::process::{Process, Setup, scale};
use crate::upstream::{hold, polite, upstream};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Sends a flood until the proxy closes the connection. Returns the code of its GOAWAY, or `None` if it accepted
/// all frames.
fn flood(proxy: &Process, first: &[u8], mut part: impl FnMut(usize) -> Vec<u8>, times: usize) -> Option<u32> {
    let mut wire = Wire::client(proxy.address("web"), &frame(SETTINGS, 0, 0, &[]));
    wire.send(first);
    let mut reader = Wire(wire.0.try_clone().unwrap());
    let reading = std::thread::spawn(move || reader.goodbye());
    for number in 0..times {
        if !wire.try_send(&part(number)) {
            break;
        }
    }
    // A client that got no GOAWAY sends one.
    wire.try_send(&frame(GOAWAY, 0, 0, &[0; 8]));
    let _ = wire.0.shutdown(std::net::Shutdown::Write);
    reading.join().unwrap()
}

/// Floods the proxy with a small and a large flood, and checks that other clients are served and memory is
/// released.
fn survives(upstream: SocketAddr, first: &[u8], part: impl Fn(usize) -> Vec<u8>, expected: &[Option<u32>]) {
    let mut proxy = Setup::to(upstream).start();
    flood(&proxy, first, &part, 100);
    proxy.wait_idle();
    let before = proxy.memory();
    let code = flood(&proxy, first, &part, 2000 * scale());
    assert!(expected.contains(&code), "ended with {code:?}, not with {expected:?}");
    let most = proxy.memory();
    assert!(most < before + 8 * 1024, "{before} KiB before, {most} KiB after");
    proxy.serves();
    proxy.wait_idle();
    proxy.wait_memory(before);
}

/// One frame, repeated.
fn many(one: &[u8]) -> Vec<u8> {
    one.repeat(100)
}

const CALM: &[Option<u32>] = &[Some(ENHANCE_YOUR_CALM)];

#[test]
fn pings_without_end_are_cut_off() {
    survives(polite(), &[], |_| many(&frame(PING, 0, 0, b"12345678")), CALM);
}

#[test]
fn settings_without_end_are_cut_off() {
    survives(polite(), &[], |n| many(&setting(4, 1000 + n as u32)), CALM);
}

#[test]
fn priorities_without_end_are_cut_off() {
    survives(polite(), &get(1, "/"), |n| many(&frame(PRIORITY, 0, 2 * n as u32 + 3, &[0, 0, 0, 1, 9])), CALM);
}

#[test]
fn window_updates_without_end_are_cut_off() {
    let silent = upstream(hold);
    survives(silent, &get(1, "/"), |_| many(&window_update(1, 1)), CALM);
}

#[test]
fn endless_unknown_frames_close_the_connection() {
    survives(polite(), &[], |_| many(&frame(0xbe, 0, 0, b"grease")), CALM);
}

#[test]
fn empty_data_without_end_is_cut_off() {
    let begin = frame(HEADERS, END_HEADERS, 1, &request("POST", "/"));
    survives(polite(), &begin, |_| many(&frame(DATA, 0, 1, &[])), CALM);
}

#[test]
fn resets_without_end_are_cut_off() {
    let silent = upstream(hold);
    let pairs = |n: usize| {
        let ids = (0..50).map(|i| (n * 50 + i) as u32 * 2 + 1);
        ids.flat_map(|id| [get(id, "/"), reset(id, CANCEL)].concat()).collect()
    };
    survives(silent, &[], pairs, CALM);
}

#[test]
fn rapid_resets_of_forwarded_requests_close_the_connection() {
    let silent = upstream(hold);
    let proxy = Setup::to(silent).start();
    let mut wire = Wire::client(proxy.address("web"), &frame(SETTINGS, 0, 0, &[]));
    let began = Instant::now();
    let mut asked = 0;
    while asked < 5000 {
        let ids: Vec<u32> = (0..10).map(|i| (asked + i) * 2 + 1).collect();
        let requests: Vec<u8> = ids.iter().flat_map(|id| get(*id, "/reset")).collect();
        let resets: Vec<u8> = ids.iter().flat_map(|id| reset(*id, CANCEL)).collect();
        // Counts what the proxy has read, not what waits in a socket.
        if !wire.took(&requests) || !wire.took(&resets) {
            break;
        }
        asked += 10;
    }
    assert!(asked < 2000, "{asked} requests were opened and reset in {:?}", began.elapsed());
    proxy.logged(&["/reset", "code=0", "flags=DC"]);
    proxy.wait_stat("listener.web.downstream_rq_too_many_premature_resets", |count| count == 1);
    proxy.wait_idle();
}

#[test]
fn continuations_without_end_are_cut_off() {
    let mut block = request("GET", "/");
    block.extend(literal("x-first", "1"));
    let begin = frame(HEADERS, END_STREAM, 1, &block);
    let part = |n: usize| {
        let headers: Vec<u8> = (0..20).flat_map(|i| literal(&format!("x-{n}-{i}"), "value")).collect();
        frame(CONTINUATION, 0, 1, &headers)
    };
    survives(polite(), &begin, part, &[Some(ENHANCE_YOUR_CALM), Some(PROTOCOL_ERROR)]);
    survives(
        polite(),
        &begin,
        |_| many(&frame(CONTINUATION, 0, 1, &[])),
        &[Some(ENHANCE_YOUR_CALM), Some(PROTOCOL_ERROR)],
    );
}

#[test]
fn headers_that_unpack_to_many_times_their_size_are_refused() {
    let mut proxy = Setup::to(upstream(hold)).start();
    let before = proxy.memory();
    let mut wire = Wire::client(proxy.address("web"), &setting(3, 10_000));
    let name = "x-bomb";
    let mut first = request("GET", "/bomb");
    first.extend(indexed(name, &"a".repeat(3500)));
    wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    // Each of these requests refers to the same entry 4,000 times: 14 MB of headers in 4 KB.
    for stream in (3..200u32).step_by(2) {
        let bomb = [request("GET", "/bomb"), vec![0x80 | 0x3e; 4000]].concat();
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb));
    }
    let mut refused = 0;
    while refused < 50 {
        match wire.find(|f| matches!(f.kind, HEADERS | RST_STREAM | GOAWAY)) {
            Some(found) if found.kind == GOAWAY => break,
            Some(_) => refused += 1,
            None => break,
        }
    }
    assert!(proxy.memory() < before + 16 * 1024, "{before} KiB before, {} KiB after", proxy.memory());
    drop(wire);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn streams_whose_window_is_shut_hold_little_and_end_with_their_connection() {
    let mut proxy = Setup { http: "stream_idle_timeout: 2s", ..Setup::to(large()) }.start();
    let attack = |streams: u32| {
        let mut wire = Wire::client(proxy.address("web"), &setting(4, 0));
        for stream in 0..streams {
            wire.send(&get(stream * 2 + 1, "/shut"));
        }
        for _ in 0..streams {
            assert_eq!(wire.find(|f| f.kind == HEADERS).map(|f| f.flags & END_STREAM), Some(0));
        }
        wire
    };
    drop(attack(10));
    proxy.wait_idle();
    let before = proxy.memory();
    let mut wire = attack(200);
    let held = proxy.memory() - before.min(proxy.memory());
    assert!(held < 200 * 256, "{held} KiB for 200 streams");
    for byte in 0..20 {
        // Opening the window one byte at a time must not keep the streams alive at no cost.
        if !wire.try_send(&window_update(byte * 2 + 1, 1)) {
            break;
        }
    }
    proxy.wait_stat("cluster.app.upstream_rq_active", |active| active == 0);
    proxy.logged(&["/shut", "flags=SI"]);
    drop(wire);
    proxy.wait_idle();
    proxy.wait_memory(before);
    proxy.serves();
}

#[test]
fn a_stream_whose_window_is_shut_ends_alone() {
    let mut proxy = Setup { http: "stream_idle_timeout: 1s", ..Setup::to(large()) }.start();
    let mut wire = Wire::client(proxy.address("web"), &setting(4, 0));
    wire.send(&get(1, "/shut"));
    let mut stream = 3;
    let began = Instant::now();
    let ended = loop {
        // Other streams make progress meanwhile, with a window of their own.
        wire.send(
            &[get(stream, "/moves"), window_update(stream, 1 << 20), window_update(0, 1 << 20)].concat(),
        );
        let found =
            wire.find(|f| f.kind == RST_STREAM || (f.stream == stream && f.flags & END_STREAM != 0)).unwrap();
        if found.kind == RST_STREAM {
            break found;
        }
        stream += 2;
        assert!(began.elapsed() < Duration::from_secs(10), "the stream stays open");
    };
    assert_eq!((ended.stream, ended.code()), (1, CANCEL));
    proxy.logged(&["/shut", "flags=SI", "stream_idle_timeout"]);
    proxy.logged(&["/moves", "code=200", "flags=-"]);
    drop(wire);
    proxy.wait_idle();
    proxy.serves();
}

/// An upstream with a large response.
fn large() -> SocketAddr {
    upstream(|mut stream| {
        use std::io::Write;
        while crate::upstream::head(&mut stream).is_some() {
            let body = vec![b'x'; 1 << 20];
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    })
}
