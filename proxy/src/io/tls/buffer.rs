//! The buffers of a TLS connection: received ciphertext, ciphertext to be sent, and plaintext that a reader has not
//! taken. Each buffer is returned to the thread's pool, or freed, as soon as it is empty, so that a connection
//! without traffic holds none.

use crate::io::space;
use bytes::BytesMut;
use std::ops::Range;
use tokio::io::ReadBuf;

/// Received ciphertext that was not processed yet.
#[derive(Default)]
pub(super) struct Incoming {
    buffer: Box<[u8]>,
    filled: Range<usize>,
    /// The length of an incomplete record or message at the front, which rustls cannot process until more bytes
    /// arrive. rustls may refer to these bytes: they must be there at its next step.
    stuck: usize,
}

impl Incoming {
    /// Whether there are bytes that rustls has not seen.
    pub(super) fn is_fresh(&self) -> bool {
        self.filled.len() > self.stuck
    }

    /// All received bytes.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled.clone()]
    }

    /// The bytes of the incomplete record.
    pub(super) fn stuck(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled.start..self.filled.start + self.stuck]
    }

    /// Marks the remaining bytes as an incomplete record.
    pub(super) fn set_stuck(&mut self) {
        self.stuck = self.filled.len();
    }

    /// Removes this many processed bytes from the front.
    pub(super) fn discard(&mut self, count: usize) {
        self.filled.start = (self.filled.start + count).min(self.filled.end);
        self.stuck = self.stuck.saturating_sub(count);
        if self.filled.is_empty() {
            self.clear();
        }
    }

    /// Room for more bytes; empty if the buffer is full of bytes that cannot be processed.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let length = self.filled.len();
        if self.buffer.len() < space::SIZE {
            let mut larger = space::borrow();
            larger[..length].copy_from_slice(self.bytes());
            space::give_back(std::mem::replace(&mut self.buffer, larger));
        } else if self.filled.start > 0 {
            self.buffer.copy_within(self.filled.clone(), 0);
        }
        self.filled = 0..length;
        &mut self.buffer[length..]
    }

    /// Adds this many bytes that were written into the room.
    pub(super) fn add(&mut self, count: usize) {
        self.filled.end += count;
    }

    /// Called when no bytes are available: an incomplete record keeps only the memory it needs.
    pub(super) fn park(&mut self) {
        if self.filled.is_empty() {
            self.clear();
        } else if self.filled.len() < self.buffer.len() {
            let exact = Box::from(&*self.bytes());
            self.filled = 0..self.filled.len();
            space::give_back(std::mem::replace(&mut self.buffer, exact));
        }
    }

    /// The memory held, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Drops all bytes: they will not be processed.
    pub(super) fn clear(&mut self) {
        (self.filled, self.stuck) = (0..0, 0);
        space::give_back(std::mem::take(&mut self.buffer));
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Ciphertext that the socket has not accepted yet.
#[derive(Default)]
pub(super) struct Outgoing {
    buffer: Box<[u8]>,
    unsent: Range<usize>,
}

impl Outgoing {
    /// The bytes to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.buffer[self.unsent.clone()]
    }

    /// Room for at least this many bytes. It is never refused: the only unbounded addition is the handshake, whose
    /// length depends on our own certificate.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.buffer.len() - self.unsent.end < bytes {
            let length = self.unsent.len();
            if self.buffer.len() >= length + bytes {
                self.buffer.copy_within(self.unsent.clone(), 0);
            } else {
                let mut larger = space::of(length + bytes);
                larger[..length].copy_from_slice(self.unsent());
                space::give_back(std::mem::replace(&mut self.buffer, larger));
            }
            self.unsent = 0..length;
        }
        &mut self.buffer[self.unsent.end..]
    }

    /// Adds this many bytes that were written into the room.
    pub(super) fn add(&mut self, count: usize) {
        self.unsent.end += count;
    }

    /// Removes this many bytes that were sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.unsent.start += count;
        if self.unsent.is_empty() {
            self.clear();
        }
    }

    /// The memory held, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    fn clear(&mut self) {
        self.unsent = 0..0;
        space::give_back(std::mem::take(&mut self.buffer));
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The destination of plaintext: the reader's buffer while it has room; the rest of a record is kept for the next read.
pub(super) struct Plain<'a, 'b> {
    out: Option<&'a mut ReadBuf<'b>>,
    rest: &'a mut BytesMut,
}

impl<'a, 'b> Plain<'a, 'b> {
    pub(super) fn new(out: Option<&'a mut ReadBuf<'b>>, rest: &'a mut BytesMut) -> Self {
        Self { out, rest }
    }

    pub(super) fn put(&mut self, payload: &[u8]) {
        // Kept bytes come before later ones, so nothing goes to the reader directly while any are kept.
        let room = self.out.as_ref().filter(|_| self.rest.is_empty()).map_or(0, |out| out.remaining());
        let (now, later) = payload.split_at(room.min(payload.len()));
        if let Some(out) = &mut self.out {
            out.put_slice(now);
        }
        self.rest.extend_from_slice(later);
    }
}
