//! The process that stays in the host's network and opens listeners there for the supervisor, which has left it. Each
//! request on its standard input, a socket, is an address; the response is the listener, or why there is none. Ends with
//! its input.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg};

use crate::inside::{Error, file, guard};

/// Serves requests until there are no more.
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

/// The longest address of IPv6 with its port is shorter.
const MAX_REQUEST: usize = 64;
