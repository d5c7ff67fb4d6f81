//! Checks traffic capture with one real connection per IP family, which the rules must redirect.
//! `init --run-validation` makes it for pods whose rules are installed by another program (a network plugin), and the
//! proxy makes it at each start: a pod that is not ready is better than a pod that runs outside the mesh.
//!
//! The check needs no privilege. Listing the rules would need one, and a mark left by `init` would show a past
//! state, not the current one.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use api::name::INBOUND_SOURCE_V6;
use socket2::{Domain, SockRef, Socket, Type};

use crate::redirect::{apply, error::RedirectError, rules::Ipv6};

/// The settings of the test connections.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// The port to which captured inbound connections are redirected. It must still be free.
    pub inbound_port: u16,
    /// The first port to connect to; it need not be in use.
    pub port: u16,
    /// The mark of the proxy's sockets, if the rules recognize them by the mark and not by their user.
    pub mark: Option<u32>,
    /// The time limit of each step.
    pub timeout: Duration,
}

/// The addresses that the test uses for an IP family: where to listen, from where to connect, and to where.
struct Family {
    name: &'static str,
    domain: Domain,
    any: IpAddr,
    source: IpAddr,
    target: IpAddr,
}

/// Tests that traffic is captured. Connects, as the proxy would, to an address of this pod from which only the
/// rules lead to the inbound port, and checks that the connection arrives there with its original destination.
/// Without IPv6 in the pod, only IPv4 is tested.
///
/// Ports may be excluded from capture, and this process does not know which: other ports are tried until one is
/// captured.
pub fn capture_works(probe: &Probe) -> Result<(), RedirectError> {
    let ipv6 = (apply::ipv6() == Ipv6::Captured).then_some(IPV6);
    for family in [IPV4].into_iter().chain(ipv6) {
        test(&family, probe).map_err(|reason| RedirectError::NotEffective { family: family.name, reason })?;
    }
    Ok(())
}

fn test(family: &Family, probe: &Probe) -> Result<(), String> {
    let mut first = None;
    let mut waits = 0;
    for port in ports(probe.port) {
        let target = SocketAddr::from((family.target, port));
        // A port that is in use is skipped. A free port is held, so that no other program can take it during the test.
        let Ok(_held) = hold(family, target) else { continue };
        match call(family, probe, target) {
            Ok(()) => return Ok(()),
            Err((slow, reason)) => {
                waits += u32::from(slow);
                first.get_or_insert(reason);
            }
        }
        if waits >= MOST_WAITS {
            break;
        }
    }
    Err(first.unwrap_or_else(|| format!("no port of {} is free for a test connection", family.target)))
}

/// The ports to try, in order: the requested one, and others that are far apart, so that a list or range of
/// excluded ports is unlikely to contain all of them unless it contains every port.
fn ports(first: u16) -> impl Iterator<Item = u16> {
    let (lowest, count) = (1024, u32::from(u16::MAX) + 1 - 1024);
    // With steps of the golden ratio the ports never lie close together.
    let spread = (1..CALLS).map(move |turn| lowest + (turn * 39_871) % count);
    std::iter::once(first).chain(spread.filter_map(|port| u16::try_from(port).ok()))
}

/// Makes one test connection. The flag in the error is `true` if the failure took time.
fn call(family: &Family, probe: &Probe, target: SocketAddr) -> Result<(), (bool, String)> {
    let inbound = SocketAddr::from((family.any, probe.inbound_port));
    let listener = listen(family, inbound, probe.timeout)
        .map_err(|error| (true, format!("cannot listen on {inbound} for the test: {error}")))?;
    let client = connect(family, probe, target).map_err(|error| {
        let slow = error.kind() != io::ErrorKind::ConnectionRefused;
        (slow, format!("a test connection to {target} did not reach port {}: {error}", inbound.port()))
    })?;
    let reached = accepted(&listener, &client)
        .map_err(|error| (true, format!("the test connection to {target} did not arrive: {error}")))?;
    if reached == Some(target) {
        return Ok(());
    }
    let reached = reached.map_or_else(|| "none".to_owned(), |address| address.to_string());
    Err((true, format!("the test connection to {target} arrived with the original destination {reached}")))
}

/// Binds a port without listening on it.
fn hold(family: &Family, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(family.domain, Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(family: &Family, address: SocketAddr, limit: Duration) -> io::Result<Socket> {
    let socket = Socket::new(family.domain, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_read_timeout(Some(limit))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn connect(family: &Family, probe: &Probe, target: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(family.domain, Type::STREAM, None)?;
    if let Some(mark) = probe.mark {
        socket.set_mark(mark)?;
    }
    socket.bind(&SocketAddr::from((family.source, 0)).into())?;
    socket.connect_timeout(&target.into(), probe.timeout)?;
    Ok(socket)
}

/// The original destination of `client`'s connection. Connections of other clients, which may be captured
/// meanwhile, are closed, because no listener can serve them yet.
fn accepted(listener: &Socket, client: &Socket) -> io::Result<Option<SocketAddr>> {
    let own = client.local_addr()?.as_socket();
    loop {
        let (server, peer) = listener.accept()?;
        if peer.as_socket() == own {
            let server = SockRef::from(&server);
            let original = if peer.is_ipv4() { server.original_dst_v4() } else { server.original_dst_v6() };
            return Ok(original?.as_socket());
        }
    }
}

/// The test connects to the address from which the proxy connects to its application; nothing listens there.
const IPV4: Family = Family {
    name: "IPv4",
    domain: Domain::IPV4,
    any: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    source: IpAddr::V4(Ipv4Addr::LOCALHOST),
    target: api::name::INBOUND_SOURCE,
};

const IPV6: Family = Family {
    name: "IPv6",
    domain: Domain::IPV6,
    any: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    source: IpAddr::V6(Ipv6Addr::LOCALHOST),
    target: IpAddr::V6(INBOUND_SOURCE_V6),
};

const BACKLOG: i32 = 128;
/// The most ports to try; a connection to an excluded port is refused at once.
const CALLS: u32 = 64;
/// The most test connections that may time out: if the rules drop one, they drop the next one too.
const MOST_WAITS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_port_ranges_leave_a_test_port() {
        let all: Vec<u16> = ports(15002).collect();
        assert_eq!((all[0], all.len()), (15002, CALLS as usize));
        assert!(all.iter().all(|port| *port >= 1024));
        let tenth = u16::MAX / 10;
        for begin in (1024..u16::MAX - tenth).step_by(100) {
            assert!(all.iter().any(|port| (begin..begin + tenth).contains(port)), "{begin}");
        }
    }
}
