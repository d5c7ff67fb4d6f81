//! Sends a request to the proxy's admin interface, which listens only inside the pod.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::inside::{Error, file};

/// Sends a GET or POST request for this path and prints the response body.
pub fn run(path: &str, post: bool) -> Result<(), Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .map_err(file("connecting to the proxy's admin port"))?;
    // HTTP/1.0 has no chunked encoding: the body ends when the connection is closed.
    let method = if post { "POST" } else { "GET" };
    let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(file("sending a request to the proxy"))?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).map_err(file("reading the proxy's response"))?;
    let split =
        response.windows(4).position(|window| window == b"\r\n\r\n").map_or(response.len(), |at| at + 4);
    let (head, body) = response.split_at(split);
    if head.split(|byte| *byte == b' ').nth(1) != Some(b"200".as_slice()) {
        let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default())
            .into_owned();
        return Err(file("sending a request to the proxy")(std::io::Error::other(line)));
    }
    std::io::stdout().write_all(body).map_err(file("printing the proxy's response"))
}

const ADMIN: u16 = 15000;
