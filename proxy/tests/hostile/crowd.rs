//! Thousands of connections that send nothing, or only one request: they need little memory while open, and none
//! after they have closed.

use crate::process::{Process, Setup, connect};
use crate::upstream::{head, polite};
use std::io::{Read, Write};
use std::net::TcpStream;

/// The number of connections, as far as the limit on descriptors allows.
fn crowd() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let wanted = std::env::var("OSTRIA_HOSTILE_CROWD").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(2000).min(soft.saturating_sub(200))
}

fn gather(proxy: &Process, count: usize, greet: impl Fn(&mut TcpStream)) -> Vec<TcpStream> {
    let address = proxy.address("direct");
    let streams: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = connect(address);
            greet(&mut stream);
            stream
        })
        .collect();
    proxy.wait_stat("listener.direct.downstream_cx_active", |active| active >= count as u64);
    streams
}

/// Opens the connections twice: memory kept after the first time is warm-up, growth after the second is a leak.
fn comes_and_goes(most_each: u64, greet: impl Fn(&mut TcpStream)) {
    let mut proxy = Setup::to(polite()).start();
    let count = crowd();
    drop(gather(&proxy, count / 10, &greet));
    proxy.wait_idle();
    let (before, descriptors) = (proxy.memory(), proxy.descriptors());
    let streams = gather(&proxy, count, &greet);
    let each = (proxy.memory() - before) * 1024 / count as u64;
    eprintln!("{count} idle connections: {each} bytes each");
    assert!(each < most_each, "{each} bytes for each idle connection");
    proxy.serves();
    drop(streams);
    proxy.wait_idle();
    proxy.wait_memory(before);
    proxy.wait_descriptors(descriptors);
    proxy.serves();
}

#[test]
fn a_crowd_of_silent_connections_comes_and_goes() {
    comes_and_goes(16 * 1024, |_| {});
}

#[test]
fn a_crowd_of_idle_http1_connections_comes_and_goes() {
    comes_and_goes(32 * 1024, |stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert!(head(stream).unwrap().starts_with("HTTP/1.1 200"));
        stream.read_exact(&mut [0; 5]).unwrap();
    });
}
