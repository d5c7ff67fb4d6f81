//! The helper process that stays in the host's network and opens listeners for the supervisor, which has left it.
//! Standard input is a socket. Each request on it is an address; the response is the listener or an error. The helper
//! ends when its input ends.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg};

use crate::inside::{Error, file, guard};

/// Serves requests until the input ends.
pub fn run() -> Result<(), Error> {
    guard::tie(None)?;
    let socket = std::io::stdin();
    let mut request = [0; MAX_REQUEST];
    loop {
        let (_, length) = recv(&socket, &mut request, RecvFlags::empty())
            .map_err(|error| file("reading a request")(error.into()))?;
        if length == 0 {
            return Ok(());
        }
        let sent = match open(&request[..length]) {
            Ok(listener) => {
                let listeners = [listener.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut attached = SendAncillaryBuffer::new(&mut space);
                attached.push(SendAncillaryMessage::ScmRights(&listeners));
                sendmsg(&socket, &[IoSlice::new(b"done")], &mut attached, SendFlags::empty())
            }
            Err(error) => send(&socket, error.to_string().as_bytes(), SendFlags::empty()),
        };
        sent.map_err(|error| file("sending a listener")(error.into()))?;
    }
}

fn open(request: &[u8]) -> std::io::Result<TcpListener> {
    let text = std::str::from_utf8(request).map_err(std::io::Error::other)?;
    let address: SocketAddr = text.parse().map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Every IPv6 address with its port is shorter than this.
const MAX_REQUEST: usize = 64;
