//! One real connection per family of IP that the rules must redirect. `init --run-validation` makes it for pods whose
//! rules come from somewhere else (a network plugin), and the proxy makes it on each start: better that a pod is not
//! ready than that it runs outside the mesh.
//!
//! It needs no privilege. Listing rules does, and a mark that `init` leaves behind would say what was, not what is.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use api::name::INBOUND_SOURCE_V6;
use socket2::{Domain, SockRef, Socket, Type};

use crate::redirect::{apply, error::RedirectError, rules::Ipv6};

/// How the test connections are made.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Where captured inbound connections arrive. Nobody may listen there yet.
    pub inbound_port: u16,
    /// The port that is called first; nobody need listen there.
    pub port: u16,
    /// The mark of the proxy's sockets, where the rules tell them by it and not by their user.
    pub mark: Option<u32>,
    /// Limit for each step.
    pub timeout: Duration,
}

/// What a family of IP needs for the test: where to listen, from where to call, and whom.
struct Family {
    name: &'static str,
    domain: Domain,
    any: IpAddr,
    source: IpAddr,
    target: IpAddr,
}

/// Connects like the proxy to an address of this pod from which only the rules lead to the inbound port, and checks
/// that the connection arrives there with its original destination. Where the pod has no IPv6, IPv4 alone is tested.
///
/// Ports may be excluded from capture, and nobody tells this process which: others are called until one is captured.
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
        // Another's port is left alone. Held while it is called, this one becomes nobody else's.
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

/// The ports that are called, in order: the one that is asked for, and some that are far apart, so that no list or range
/// of excluded ports that leaves any to capture is likely to have them all.
fn ports(first: u16) -> impl Iterator<Item = u16> {
    let (lowest, count) = (1024, u32::from(u16::MAX) + 1 - 1024);
    // Steps by the golden ratio never come close to one another.
    let spread = (1..CALLS).map(move |turn| lowest + (turn * 39_871) % count);
    std::iter::once(first).chain(spread.filter_map(|port| u16::try_from(port).ok()))
}

/// One test connection. `true` in an error: it took its time to fail.
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

/// Takes a port without listening on it.
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

/// The original destination of `client`'s connection. Connections of others, which may be captured meanwhile, are let
/// go: nobody serves them yet.
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

/// The address from which the proxy calls its application is called; nothing listens on it.
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
/// Ports that are called at most; one that is excluded is refused at once.
const CALLS: u32 = 64;
/// Test connections that are waited for in vain: rules that drop one drop the next.
const MOST_WAITS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_of_excluded_ports_that_leaves_a_tenth_has_all_test_ports() {
        let all: Vec<u16> = ports(15002).collect();
        assert_eq!((all[0], all.len()), (15002, CALLS as usize));
        assert!(all.iter().all(|port| *port >= 1024));
        let tenth = u16::MAX / 10;
        for begin in (1024..u16::MAX - tenth).step_by(100) {
            assert!(all.iter().any(|port| (begin..begin + tenth).contains(port)), "{begin}");
        }
    }
}
