//! Outgoing bytes of a connection: a head and short pieces of a body share one write, long pieces are written
//! without a copy.

use super::buffer;
use super::encode;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Bytes to be written, in the order of the fields.
#[derive(Default)]
pub(super) struct Outbox {
    gathered: BytesMut,
    long: Bytes,
    tail: &'static [u8],
    /// Bytes were written that the layer below may still hold back.
    unflushed: bool,
    wrote: bool,
}

impl Outbox {
    /// Whether no bytes wait to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.long.is_empty() && self.tail.is_empty()
    }

    /// Whether more may be added before the next write.
    pub(super) fn has_room(&self) -> bool {
        self.long.is_empty() && self.tail.is_empty() && self.gathered.len() < GATHERED
    }

    /// The buffer for heads and short pieces.
    pub(super) fn gathered(&mut self) -> &mut BytesMut {
        if self.gathered.capacity() == 0 {
            self.gathered = buffer::take();
        }
        &mut self.gathered
    }

    /// Adds a piece of a body. Call it only if there is room.
    pub(super) fn data(&mut self, data: Bytes) {
        if data.len() <= COPIED {
            self.gathered().put_slice(&data);
        } else {
            self.long = data;
        }
    }

    /// Adds a piece of a body as a chunk. Call it only if there is room.
    pub(super) fn chunk(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        encode::chunk(self.gathered(), data.len());
        if data.len() <= COPIED {
            self.gathered.put_slice(&data);
            self.gathered.put_slice(b"\r\n");
        } else {
            self.long = data;
            self.tail = b"\r\n";
        }
    }

    /// Adds the end of a chunked body. Call it only if there is room.
    pub(super) fn last_chunk(&mut self, trailers: Option<&HeaderMap>) {
        encode::last_chunk(self.gathered(), trailers);
    }

    /// Writes all bytes to the stream.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let parts = [IoSlice::new(&self.gathered), IoSlice::new(&self.long), IoSlice::new(self.tail)];
            let alone = self.long.is_empty() && self.tail.is_empty();
            let written = if alone {
                ready!(Pin::new(&mut *io).poll_write(context, &self.gathered))?
            } else {
                ready!(Pin::new(&mut *io).poll_write_vectored(context, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all bytes, then flushes the layer below.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(io, context))?;
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether bytes were written since the last call.
    pub(super) fn take_wrote(&mut self) -> bool {
        std::mem::take(&mut self.wrote)
    }

    /// Returns the buffer to the pool if it is empty.
    pub(super) fn release(&mut self) {
        if self.gathered.is_empty() {
            buffer::give_back(std::mem::take(&mut self.gathered));
        }
    }

    fn written(&mut self, mut count: usize) {
        (self.unflushed, self.wrote) = (true, true);
        let step = count.min(self.gathered.len());
        self.gathered.advance(step);
        count -= step;
        let step = count.min(self.long.len());
        self.long.advance(step);
        count -= step;
        self.tail = &self.tail[count.min(self.tail.len())..];
        if self.long.is_empty() {
            // An empty slice would keep the memory alive that it was cut from.
            self.long = Bytes::new();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        buffer::give_back(std::mem::take(&mut self.gathered));
    }
}

/// Pieces shorter than this are copied next to the head: one write and one TLS record.
const COPIED: usize = 4 * 1024;
/// The most bytes gathered before a write.
const GATHERED: usize = 12 * 1024;
