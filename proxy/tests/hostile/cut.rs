//! Long WebSocket and gRPC streams, cut in the middle at either side: the other side notices, the record names the
//! side at fault, and nothing remains.

use crate::frames::*;
use crate::process::{Process, Setup};
use crate::upstream::{head, reset as cut, upstream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const UPGRADES: &str = "upgrade_configs: [{upgrade_type: websocket}]";

/// Opens a WebSocket through a proxy. Returns the client's and the upstream's end of it.
fn websocket() -> (Process, TcpStream, TcpStream) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let address = upstream(move |mut stream| {
        if head(&mut stream).is_some() {
            let _ = stream.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            );
            let _ = sender.lock().unwrap().send(stream);
        }
    });
    let proxy = Setup { http: UPGRADES, ..Setup::to(address) }.start();
    let mut client = proxy.connect("web");
    let request = "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101"));
    let mut server = receiver.recv_timeout(crate::process::TIMEOUT).unwrap();
    server.set_read_timeout(Some(crate::process::TIMEOUT)).unwrap();
    passes(&mut client, &mut server);
    passes(&mut server, &mut client);
    (proxy, client, server)
}

/// Checks that bytes sent at one end arrive at the other.
fn passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"said").unwrap();
    let mut heard = [0; 4];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"said");
}

/// Waits for the end of a stream, orderly or by a reset.
fn ends(stream: &mut TcpStream) {
    let mut left = vec![];
    if let Err(error) = stream.read_to_end(&mut left) {
        assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "no end: {error}");
    }
}

#[test]
fn a_websocket_cut_by_its_client_ends_at_the_server() {
    let (mut proxy, client, mut server) = websocket();
    cut(client);
    ends(&mut server);
    drop(server);
    proxy.logged(&["/socket", "code=101", "flags=DC"]);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_websocket_cut_by_its_server_ends_at_the_client() {
    let (mut proxy, mut client, server) = websocket();
    cut(server);
    ends(&mut client);
    drop(client);
    proxy.logged(&["/socket", "code=101", "flags=UC"]);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_websocket_closed_by_both_ends_is_not_an_error() {
    let (proxy, mut client, server) = websocket();
    drop(server);
    ends(&mut client);
    drop(client);
    proxy.logged(&["/socket", "code=101", "flags=-"]);
    proxy.wait_idle();
}

#[test]
fn websockets_leave_no_memory_behind() {
    let address = upstream(|mut stream| {
        if head(&mut stream).is_some() {
            let _ = stream.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            );
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..read]).is_err() {
                    return;
                }
            }
        }
    });
    let mut proxy = Setup { http: UPGRADES, ..Setup::to(address) }.start();
    let round = |sockets: usize| {
        let mut streams: Vec<TcpStream> = (0..sockets).map(|_| proxy.connect("web")).collect();
        for stream in &mut streams {
            let request =
                "GET /many HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            head(stream).unwrap();
            stream.write_all(&[1; 4096]).unwrap();
        }
        streams.into_iter().for_each(cut);
        proxy.wait_idle();
    };
    round(50);
    let (memory, descriptors) = (proxy.memory(), proxy.descriptors());
    for _ in 0..4 * crate::process::scale() {
        round(100);
    }
    proxy.wait_memory(memory);
    proxy.wait_descriptors(descriptors);
    proxy.serves();
}

/// Opens a bidirectional gRPC stream through a proxy. Returns the client's end, and a channel that receives the
/// server's end.
fn grpc() -> (Process, Wire, Receiver<Wire>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let address = upstream(move |stream| {
        let Some(mut wire) = Wire::server(stream) else { return };
        let Some(begun) = wire.find(|f| f.kind == HEADERS) else { return };
        let head = [vec![0x88], literal("content-type", "application/grpc")].concat();
        wire.send(&frame(HEADERS, END_HEADERS, begun.stream, &head));
        wire.send(&frame(DATA, 0, begun.stream, &[0, 0, 0, 0, 2, 8, 1]));
        let _ = sender.lock().unwrap().send(wire);
    });
    let proxy = Setup::to_http2(address).start();
    let mut client = Wire::client(proxy.address("web"), &frame(SETTINGS, 0, 0, &[]));
    let head =
        [request("POST", "/grpc"), literal("content-type", "application/grpc"), literal("te", "trailers")]
            .concat();
    client.send(&frame(HEADERS, END_HEADERS, 1, &head));
    client.send(&frame(DATA, 0, 1, &[0, 0, 0, 0, 2, 8, 7]));
    assert_eq!(client.status(1), Some(200));
    client.find(|f| f.kind == DATA).unwrap();
    (proxy, client, receiver)
}

fn server(receiver: &Receiver<Wire>) -> Wire {
    let wire = receiver.recv_timeout(crate::process::TIMEOUT).unwrap();
    wire.0.set_read_timeout(Some(crate::process::TIMEOUT)).unwrap();
    wire
}

#[test]
fn a_grpc_stream_reset_by_its_client_is_reset_at_the_server() {
    let (mut proxy, mut client, receiver) = grpc();
    let mut server = server(&receiver);
    client.send(&reset(1, CANCEL));
    let end = server.find(|f| f.kind == RST_STREAM).unwrap();
    assert_eq!(end.code(), CANCEL);
    proxy.logged(&["/grpc", "code=200", "flags=DC"]);
    proxy.wait_stat("cluster.app.upstream_rq_active", |active| active == 0);
    // The connection stays usable.
    client.send(&frame(PING, 0, 0, b"12345678"));
    assert_eq!(client.find(|f| f.kind == PING && f.flags == ACK).unwrap().payload, b"12345678");
    drop(client);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_grpc_stream_whose_client_vanishes_is_reset_at_the_server() {
    let (mut proxy, client, receiver) = grpc();
    let mut server = server(&receiver);
    cut(client.0);
    server.find(|f| f.kind == RST_STREAM).unwrap();
    proxy.logged(&["/grpc", "code=200", "flags=DC"]);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_grpc_stream_reset_by_its_server_is_reset_at_the_client() {
    let (mut proxy, mut client, receiver) = grpc();
    let mut server = server(&receiver);
    server.send(&reset(1, 2));
    client.find(|f| f.kind == RST_STREAM).unwrap();
    proxy.logged(&["/grpc", "code=200", "flags=UR"]);
    client.send(&frame(PING, 0, 0, b"12345678"));
    client.find(|f| f.kind == PING && f.flags == ACK).unwrap();
    drop(client);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_grpc_stream_whose_server_vanishes_is_reset_at_the_client() {
    let (mut proxy, mut client, receiver) = grpc();
    cut(server(&receiver).0);
    client.find(|f| f.kind == RST_STREAM).unwrap();
    proxy.logged(&["/grpc", "code=200", "flags=UC"]);
    drop(client);
    proxy.wait_idle();
    proxy.wait_stat("cluster.app.upstream_cx_active", |active| active == 0);
    proxy.serves();
}

#[test]
fn streams_that_are_cut_again_and_again_leave_no_memory_behind() {
    let address = upstream(|stream| {
        let Some(mut wire) = Wire::server(stream) else { return };
        while let Some(found) = wire.find(|f| f.kind == HEADERS) {
            wire.try_send(&frame(HEADERS, END_HEADERS, found.stream, &[0x88]));
            wire.try_send(&frame(DATA, 0, found.stream, &[7; 500]));
        }
    });
    let mut proxy = Setup::to_http2(address).start();
    let round = |streams: u32| {
        let mut wire = Wire::client(proxy.address("web"), &frame(SETTINGS, 0, 0, &[]));
        for number in 0..streams {
            wire.send(&frame(HEADERS, END_HEADERS, number * 2 + 1, &request("POST", "/cut")));
        }
        for _ in 0..streams {
            wire.find(|f| f.kind == DATA).unwrap();
        }
        cut(wire.0);
        proxy.wait_stat("cluster.app.upstream_rq_active", |active| active == 0);
        std::thread::sleep(Duration::from_millis(10));
    };
    round(100);
    let memory = proxy.memory();
    for _ in 0..10 * crate::process::scale() {
        round(100);
    }
    proxy.wait_idle();
    proxy.wait_memory(memory);
    proxy.serves();
}
