//! A socket whose first bytes can be inspected before they are read.

use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket whose first bytes were read ahead to detect the protocol, and are returned again to the reader.
#[derive(Debug)]
pub struct Prefixed {
    socket: TcpStream,
    /// The bytes read ahead that the reader has not consumed yet.
    prefix: BytesMut,
}

impl Prefixed {
    /// Wraps a socket from which nothing was read.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, prefix: BytesMut::new() }
    }

    /// The bytes that were read ahead and not consumed yet.
    pub fn seen(&self) -> &[u8] {
        &self.prefix
    }

    /// Reads more bytes ahead; a later read returns them again. 0: the peer has ended.
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

    /// The underlying socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

/// Copies bytes that were read ahead to a reader, as far as it has room. Once `ahead` is empty, its memory is released.
pub fn hand_out<B: Buf + Default>(ahead: &mut B, out: &mut ReadBuf<'_>) {
    // Nearly always empty, and checked on each read.
    if !ahead.has_remaining() {
        return;
    }
    let count = ahead.chunk().len().min(out.remaining());
    out.put_slice(&ahead.chunk()[..count]);
    ahead.advance(count);
    if !ahead.has_remaining() {
        *ahead = B::default();
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
        hand_out(&mut this.prefix, out);
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

/// The most bytes read ahead in one step.
const LOOK: usize = 4096;
