//! A socket of which some bytes were looked at ahead of whoever reads it.

use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket whose first bytes were read already, to find out what they are, and are read once more.
#[derive(Debug)]
pub struct Prefixed {
    socket: TcpStream,
    /// What of them is still to be read again.
    prefix: BytesMut,
}

impl Prefixed {
    /// A socket of which nothing was read.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, prefix: BytesMut::new() }
    }

    /// What was looked at so far and not read again.
    pub fn seen(&self) -> &[u8] {
        &self.prefix
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

/// Hands bytes that were read ahead to a reader, as far as it has room. Of what is empty no memory is kept.
pub fn hand_out<B: Buf + Default>(ahead: &mut B, out: &mut ReadBuf<'_>) {
    // Nearly always there is nothing, and each read asks.
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

/// Bytes that are looked at in one step.
const LOOK: usize = 4096;
