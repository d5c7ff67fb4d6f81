//! Opens listeners in the host's network for the supervisor, through a helper process that has stayed there.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
    recvmsg, send, socketpair,
};
use tokio_util::sync::CancellationToken;

use crate::wire::SELF;

/// The open host ports, and the helper process that opens them after the supervisor has left the host's network.
#[derive(Debug, Default)]
pub struct HostPorts {
    host: Option<Host>,
    open: Mutex<BTreeMap<SocketAddrV4, CancellationToken>>,
}

impl HostPorts {
    /// Starts the helper process. Call this while the supervisor is still in the host's network.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self { host: Some(Host::start()?), open: Mutex::default() })
    }

    /// Opens a listener in the host's network.
    pub fn listen(&self, address: SocketAddr) -> std::io::Result<TcpListener> {
        match &self.host {
            Some(host) => host.listen(address),
            None => Err(std::io::Error::other("the process that opens host ports has ended")),
        }
    }

    /// The served ports, each with the token that ends it.
    pub fn open(&self) -> MutexGuard<'_, BTreeMap<SocketAddrV4, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The helper process on the host.
#[derive(Debug)]
struct Host {
    socket: OwnedFd,
    child: Child,
}

impl Host {
    fn start() -> std::io::Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        let mut command = Command::new(SELF);
        command.arg("host-listen").stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { socket, child: command.spawn()? })
    }

    /// Opens a listener. This blocks for as long as a bind takes; the helper does nothing else.
    fn listen(&self, address: SocketAddr) -> std::io::Result<TcpListener> {
        send(&self.socket, address.to_string().as_bytes(), SendFlags::NOSIGNAL)?;
        let mut text = [0; MAX_RESPONSE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut text)], &mut attached, RecvFlags::CMSG_CLOEXEC)?;
        let listener = attached.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sent) => sent.next(),
            _ => None,
        });
        listener.map(TcpListener::from).ok_or_else(|| {
            std::io::Error::other(String::from_utf8_lossy(&text[..received.bytes]).into_owned())
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The helper has nothing to clean up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const MAX_RESPONSE: usize = 256;
