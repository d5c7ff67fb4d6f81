//! Accepts connections: listening sockets whose port all threads share, and the original destination of captured
//! connections. Never reads from a connection.

mod original;

pub mod handover;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

pub use original::destination;

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub socket: TcpStream,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The proxy's address.
    pub local: SocketAddr,
}

/// A listening socket.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// The address it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut held = held();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// This process's listening sockets by address, to distinguish its own threads from other processes that share a port.
static HELD: Mutex<BTreeMap<SocketAddr, usize>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<SocketAddr, usize>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds an address together with the other threads of this process. Fails if another process listens on the address.
pub fn bind(address: SocketAddr) -> io::Result<Listening> {
    let mut held = held();
    if !held.contains_key(&address) && is_taken(address) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let listener = open(address)?;
    let address = listener.local_addr()?;
    *held.entry(address).or_default() += 1;
    Ok(Listening { listener, address })
}

/// Whether an address cannot be bound because the machine does not have its family.
pub fn is_without_family(error: &io::Error) -> bool {
    matches!(
        Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL
    )
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether another process listens on an address. `SO_REUSEPORT` alone would hide that.
fn is_taken(address: SocketAddr) -> bool {
    if address.port() == 0 {
        return false;
    }
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let probe = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).and_then(|socket| {
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    });
    matches!(probe, Err(error) if error.kind() == io::ErrorKind::AddrInUse)
}

/// Accepts the next connection. While the process has no free file descriptors, waits, and calls `pressed` each time
/// `accept` fails for that reason.
pub async fn next(listening: &Listening, pressed: impl Fn()) -> Accepted {
    let mut pause = FIRST_PAUSE;
    loop {
        match listening.listener.accept().await {
            Ok((socket, peer)) => {
                // If this fails, the socket is closed already, and reading from it will report that.
                let _ = socket.set_nodelay(true);
                let local = socket.local_addr().unwrap_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into());
                return Accepted { socket, peer: unmapped(peer), local: unmapped(local) };
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting connections is paused");
                pressed();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

const BACKLOG: i32 = 4096;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_share_a_port_and_other_processes_are_noticed() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.address();
        let second = bind(address).unwrap();
        assert_eq!(second.address(), address);
        drop((first, second));
        let other = open(address).unwrap();
        assert_eq!(bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(other);
        bind(address).unwrap();
    }

    #[tokio::test]
    async fn an_accepted_connection_has_both_addresses() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let client = TcpStream::connect(address).await.unwrap();
        let accepted = next(&listener, || {}).await;
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert_eq!(accepted.local, address);
        assert!(accepted.socket.nodelay().unwrap());
        assert_eq!(destination(&accepted.socket), None, "nothing redirected this connection");
    }
}
