//! Scripted upstreams, each on its own thread.

use super::process::TIMEOUT;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Serves each connection with a function, on its own thread.
pub(crate) fn upstream(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let serve = serve.clone();
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                serve(stream);
            });
        }
    });
    address
}

/// An upstream that responds to every request with 200 and `hello`, once the request's body has arrived.
pub(crate) fn polite() -> SocketAddr {
    upstream(|mut stream| {
        while let Some(head) = head(&mut stream) {
            if !drain(&mut stream, &head) {
                return;
            }
            let response = &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..];
            let length = if head.starts_with("HEAD ") { response.len() - 5 } else { response.len() };
            if stream.write_all(&response[..length]).is_err() {
                return;
            }
        }
    })
}

/// Reads a head up to its empty line; `None`: the connection ended.
pub(crate) fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = vec![];
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

/// Reads a body to its end as declared by its head; returns `false` if the connection ended early.
fn drain(stream: &mut TcpStream, head: &str) -> bool {
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length {
        let mut body = stream.take(length.trim().parse().unwrap());
        return std::io::copy(&mut body, &mut std::io::sink()).is_ok_and(|_| body.limit() == 0);
    }
    if !head.contains("transfer-encoding: chunked") {
        return true;
    }
    let mut chunks = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if chunks.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        let Ok(length @ 1..) = u64::from_str_radix(line.trim_end(), 16) else { break };
        let mut chunk = (&mut chunks).take(length + 2);
        if !std::io::copy(&mut chunk, &mut std::io::sink()).is_ok_and(|_| chunk.limit() == 0) {
            return false;
        }
    }
    // Trailers, up to an empty line.
    while line != "\r\n" {
        line.clear();
        if chunks.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

/// Keeps a connection open until the peer closes it, or for a long time.
pub(crate) fn hold(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(2 * TIMEOUT));
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Ends a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    drop(stream);
}
