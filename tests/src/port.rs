//! Ports for tests: one that a process under test may bind, and one at which nobody listens.
//!
//! A port that was bound and released belongs to whoever binds port 0 or connects next, which is another test of the
//! same run. So the ports given out here are below the range from which Linux takes ports by itself
//! (`net.ipv4.ip_local_port_range`), and each is reserved for the life of the process that took it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::net::TcpSocket;

/// The ports that are given out: above those of well-known services and of the mesh itself (15000-15090), below
/// Linux's own range (32768-60999).
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of loopback on which no process listens and that no other test of this machine gets while this process lives.
///
/// # Panics
/// When every port is taken.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side start at different places, so that they seldom meet.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT)).unwrap_or(0);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|port| reserve(*port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .unwrap_or_else(|| panic!("all ports from {FIRST} to {} are taken", FIRST + COUNT - 1))
}

/// The address of [`free`] on 127.0.0.1.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free()).into()
}

/// Reserves a port among the tests of this network namespace until the process ends: an abstract Unix socket is
/// unique like a port, leaves no file, and goes with its process.
fn reserve(port: u16) -> bool {
    let bound = UnixAddr::from_abstract_name(format!("ostria-test-port-{port}"))
        .and_then(|n| UnixListener::bind_addr(&n));
    bound.map(std::mem::forget).is_ok()
}

/// An address that refuses connections for as long as this lives: its port is bound, and no process listens on it.
pub struct Refusing {
    /// Where connections are refused.
    pub address: SocketAddr,
    _held: TcpSocket,
}

impl Refusing {
    /// Takes a port of 127.0.0.1.
    ///
    /// # Panics
    /// When no socket can be had.
    #[expect(clippy::new_without_default, reason = "it takes a port of the machine")]
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port is free");
        Self { address: socket.local_addr().expect("a bound socket has an address"), _held: socket }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::TcpStream;

    #[test]
    fn a_port_is_given_out_once() {
        let ports: std::collections::HashSet<u16> = (0..50).map(|_| free()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()));
    }

    #[test]
    fn a_refusing_address_refuses_and_is_nobody_elses() {
        let refusing = Refusing::new();
        let refused =
            |_| TcpStream::connect(refusing.address).unwrap_err().kind() == ErrorKind::ConnectionRefused;
        assert!((0..3).all(refused));
        assert_eq!(TcpListener::bind(refusing.address).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
