//! Where a redirected connection was meant to go, as the kernel remembers it.

use socket2::SockRef;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The original destination; `None` when nothing redirected the connection.
pub fn destination(socket: &TcpStream) -> Option<SocketAddr> {
    let local = socket.local_addr().ok()?;
    let reference = SockRef::from(socket);
    let found = if local.ip().to_canonical().is_ipv4() {
        reference.original_dst_v4().ok()?
    } else {
        reference.original_dst_v6().ok()?
    };
    let found = found.as_socket()?;
    let found = SocketAddr::new(found.ip().to_canonical(), found.port());
    (found != SocketAddr::new(local.ip().to_canonical(), local.port())).then_some(found)
}
