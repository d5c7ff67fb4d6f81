//! The original destination of a redirected connection, as recorded by the kernel.

use socket2::SockRef;
use std::net::{SocketAddr, SocketAddrV6};
use tokio::net::TcpStream;

/// The original destination; `None`: the connection was not redirected.
pub fn destination(socket: &TcpStream) -> Option<SocketAddr> {
    let local = socket.local_addr().ok()?;
    let reference = SockRef::from(socket);
    let found = if local.ip().to_canonical().is_ipv4() {
        reference.original_dst_v4().ok()?
    } else {
        reference.original_dst_v6().ok()?
    };
    let found = scoped(found.as_socket()?);
    let same = found.ip() == local.ip().to_canonical() && found.port() == local.port();
    (!same).then_some(found)
}

/// The address without fields that do not apply. Only a link-local address keeps its scope id, because connecting to it
/// requires an interface.
fn scoped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        _ => SocketAddr::new(address.ip().to_canonical(), address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_link_local_addresses_keep_their_interface() {
        for (given, expected) in [
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
            ("[fd00::1%3]:80", "[fd00::1]:80"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(scoped(given.parse().unwrap()), expected.parse().unwrap(), "{given}");
        }
    }
}
