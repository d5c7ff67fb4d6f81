//! Manages `::6`, the IPv6 address from which the proxy connects to its application. Its IPv4 counterpart
//! `127.0.0.6` is on every loopback interface; `::6` must be added, which takes one rtnetlink message and no
//! installed program.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::Ipv6Addr,
    thread,
    time::Duration,
};

use api::name::INBOUND_SOURCE_V6;
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Adds `::6` to the loopback interface of this network namespace, ready for use. Adding it twice is not an error.
pub fn add() -> io::Result<()> {
    ask_kernel(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE)?;
    // The kernel creates the address's route a little later, in a worker of its own.
    for _ in 0..ROUTE_LOOKS {
        if is_local(&fs::read_to_string("/proc/thread-self/net/ipv6_route")?) {
            return Ok(());
        }
        thread::sleep(ROUTE_POLL);
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Whether this machine has a local route to the address. Each line holds the destination, its prefix length, six
/// other fields, flags and the interface.
fn is_local(routes: &str) -> bool {
    let address = format!("{:032x}", INBOUND_SOURCE_V6.to_bits());
    routes.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = fields.get(8).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        fields.first() == Some(&address.as_str()) && flags.is_some_and(|flags| flags & RTF_LOCAL != 0)
    })
}

/// Removes `::6` from the loopback interface. It is not an error if the address is missing.
pub fn remove() -> io::Result<()> {
    match ask_kernel(RTM_DELADDR, 0) {
        Err(error) if is_absent(&error) => Ok(()),
        result => result,
    }
}

fn is_absent(error: &io::Error) -> bool {
    let error = Errno::from_raw(error.raw_os_error().unwrap_or_default());
    matches!(error, Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)
}

fn ask_kernel(kind: u16, flags: u16) -> io::Result<()> {
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
    socket.write_all(&message(kind, flags, INBOUND_SOURCE_V6))?;
    let mut response = [0; 1024];
    let length = socket.read(&mut response)?;
    verdict(&response[..length])
}

/// Encodes `struct nlmsghdr`, `struct ifaddrmsg` and one attribute, in the machine's byte order.
fn message(kind: u16, flags: u16, address: Ipv6Addr) -> Vec<u8> {
    let attribute = [&20_u16.to_ne_bytes()[..], &IFA_ADDRESS.to_ne_bytes(), &address.octets()].concat();
    let mut body = vec![AF_INET6, 128, IFA_F_NODAD, 0];
    body.extend(LOOPBACK_INDEX.to_ne_bytes());
    body.extend(attribute);
    let length = u32::try_from(HEADER + body.len()).expect("a message is a few bytes long");
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Decodes the kernel's response, `struct nlmsgerr`: a negative error number after the header, 0 for success.
fn verdict(response: &[u8]) -> io::Result<()> {
    let code =
        response.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

const AF_NETLINK: i32 = 16;
const AF_INET6: u8 = 10;
const NETLINK_ROUTE: i32 = 0;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFA_ADDRESS: u16 = 1;
/// Skips duplicate address detection: no other host can have this address.
const IFA_F_NODAD: u8 = 2;
/// The index of the loopback interface, the same in every network namespace.
const LOOPBACK_INDEX: u32 = 1;
const HEADER: usize = 16;
const RTF_LOCAL: u32 = 0x8000_0000;
/// How often the route is checked before it counts as missing: for two seconds.
const ROUTE_LOOKS: usize = 1000;
const ROUTE_POLL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_there_once_its_route_is_local() {
        let line = |address: &str, flags: &str| {
            let zero = "0".repeat(32);
            format!("{address} 80 {zero} 00 {zero} 00000100 00000001 00000000 {flags}       lo\n")
        };
        let six = format!("{:032x}", 6);
        assert!(is_local(&format!("{}{}", line(&six, "00000001"), line(&six, "80200001"))));
        for other in [line(&six, "00000001"), line(&format!("{:032x}", 1), "80200001"), String::new()] {
            assert!(!is_local(&other), "{other}");
        }
    }

    #[test]
    fn the_kernels_response_is_read_after_the_header() {
        let response = |code: i32| [vec![0; HEADER], code.to_ne_bytes().to_vec()].concat();
        assert!(verdict(&response(0)).is_ok());
        assert_eq!(verdict(&response(-1)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(verdict(&[]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
