//! A connection after an HTTP upgrade: its stream, with the bytes that were read ahead.

use crate::io::{Stream, hand_out};
use bytes::Bytes;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {
    /// Makes the connection end with a reset instead of an orderly close.
    fn reset(&self);
}

impl Duplex for Stream {
    fn reset(&self) {
        Self::reset(self);
    }
}

#[cfg(test)]
impl Duplex for tokio::io::DuplexStream {
    fn reset(&self) {}
}

/// The stream of an upgraded connection.
pub struct Upgraded {
    stream: Box<dyn Duplex>,
    /// Bytes read before the upgrade was decided.
    unread: Bytes,
}

impl Upgraded {
    /// Wraps a stream, of which some bytes were already read.
    pub fn new(stream: impl Duplex + 'static, unread: Bytes) -> Self {
        Self { stream: Box::new(stream), unread }
    }

    /// Makes the connection end with a reset instead of an orderly close.
    pub fn reset(&self) {
        self.stream.reset();
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Upgraded").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, out);
        }
        hand_out(&mut self.unread, out);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
