//! The byte stream of a connection, plain or TLS.

use super::prefixed::Prefixed;
use super::tls::Tls;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection, plain or TLS, as client or server.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(Prefixed),
    /// Inside TLS.
    Tls(Box<Tls>),
}

impl Stream {
    /// The underlying socket.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream.socket(),
            Self::Tls(stream) => stream.socket().socket(),
        }
    }

    /// Makes the connection end with a reset instead of an orderly close.
    pub fn reset(&self) {
        reset(self.socket());
    }

    /// The socket, if nothing wraps it.
    pub(super) fn bare(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) if stream.seen().is_empty() => Some(stream.socket()),
            _ => None,
        }
    }

    /// The protocol negotiated by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.alpn(),
        }
    }

    /// The peer's certificate chain, leaf first.
    pub fn peer_certificates(&self) -> &[rustls_pki_types::CertificateDer<'static>] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(stream) => stream.peer_certificates(),
        }
    }
}

/// Makes a connection end with a reset, so that the peer learns at once that it was not served completely.
pub fn reset(socket: &TcpStream) {
    // Fails only for a socket that is already closed.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
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
