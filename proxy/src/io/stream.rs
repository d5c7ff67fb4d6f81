//! A connection's bytes, plain or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A socket whose first bytes were read already, to find out what they are, and are read once more.
#[derive(Debug)]
pub struct Prefixed {
    socket: TcpStream,
    prefix: Vec<u8>,
    /// How much of the prefix was read again.
    taken: usize,
}

impl Prefixed {
    /// A socket of which nothing was read.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, prefix: vec![], taken: 0 }
    }

    /// What was looked at so far and not read again.
    pub fn seen(&self) -> &[u8] {
        &self.prefix[self.taken..]
    }

    /// Reads more bytes to look at; they stay to be read again. 0: the peer has ended.
    pub async fn look(&mut self, most: usize) -> io::Result<usize> {
        let room = most.saturating_sub(self.prefix.len());
        if room == 0 {
            return Ok(0);
        }
        loop {
            self.socket.readable().await?;
            let length = self.prefix.len();
            self.prefix.resize(length + room.min(LOOK), 0);
            let result = self.socket.try_read(&mut self.prefix[length..]);
            self.prefix.truncate(length + *result.as_ref().unwrap_or(&0));
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.prefix.is_empty() {
            return Pin::new(&mut this.socket).poll_read(context, out);
        }
        let rest = &this.prefix[this.taken..];
        let count = rest.len().min(out.remaining());
        out.put_slice(&rest[..count]);
        this.taken += count;
        if this.taken == this.prefix.len() {
            (this.prefix, this.taken) = (vec![], 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// A connection, plain or TLS, in either role.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they come.
    Plain(Prefixed),
    /// Inside TLS.
    Tls(Box<TlsStream<Prefixed>>),
}

impl Stream {
    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream.socket(),
            Self::Tls(stream) => stream.get_ref().0.socket(),
        }
    }

    /// The socket, where nothing stands between it and the bytes.
    pub(super) fn bare(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) if stream.seen().is_empty() => Some(stream.socket()),
            _ => None,
        }
    }

    /// The protocol that TLS has agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The peer's certificate, leaf first.
    pub fn peer_certificates(&self) -> &[rustls_pki_types::CertificateDer<'static>] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(stream) => stream.get_ref().1.peer_certificates().unwrap_or_default(),
        }
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $do:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $do,
            Stream::Tls($stream) => $do,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, s => Pin::new(s).poll_read(context, out))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, s => Pin::new(s).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, s => Pin::new(s).poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => Pin::new(s).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => Pin::new(s).poll_shutdown(context))
    }
}

/// Bytes that are looked at in one step.
const LOOK: usize = 4096;
