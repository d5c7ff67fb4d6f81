//! The buffers of a TLS connection: ciphertext that has come, ciphertext that is to go, plaintext that a reader has not
//! taken. Each is borrowed from the thread's pool, or gone, as soon as it is empty, so that a connection without traffic
//! holds none.

use crate::io::space;
use bytes::BytesMut;
use std::ops::Range;
use tokio::io::ReadBuf;

/// Ciphertext that has come and is not understood yet.
#[derive(Default)]
pub(super) struct Incoming {
    buffer: Box<[u8]>,
    filled: Range<usize>,
    /// Bytes at the front of which nothing can be made until more come. rustls may hold on to them: they must be there
    /// at its next step.
    stuck: usize,
}

impl Incoming {
    /// Whether there are bytes that nobody has looked at.
    pub(super) fn is_fresh(&self) -> bool {
        self.filled.len() > self.stuck
    }

    /// All bytes.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled.clone()]
    }

    /// The bytes that are stuck.
    pub(super) fn stuck(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled.start..self.filled.start + self.stuck]
    }

    /// Nothing can be made of what is left.
    pub(super) fn set_stuck(&mut self) {
        self.stuck = self.filled.len();
    }

    /// So many bytes at the front are done with.
    pub(super) fn discard(&mut self, count: usize) {
        self.filled.start = (self.filled.start + count).min(self.filled.end);
        self.stuck = self.stuck.saturating_sub(count);
        if self.filled.is_empty() {
            self.clear();
        }
    }

    /// Room for more bytes; empty, if there are too many that cannot be understood.
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

    /// So many bytes of the room were filled.
    pub(super) fn add(&mut self, count: usize) {
        self.filled.end += count;
    }

    /// Nothing comes for the time being: part of a record keeps no more than it needs.
    pub(super) fn park(&mut self) {
        if self.filled.is_empty() {
            self.clear();
        } else if self.filled.len() < self.buffer.len() {
            let exact = Box::from(&*self.bytes());
            self.filled = 0..self.filled.len();
            space::give_back(std::mem::replace(&mut self.buffer, exact));
        }
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// What there is will not be looked at.
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

/// Ciphertext that the socket has not taken yet.
#[derive(Default)]
pub(super) struct Outgoing {
    buffer: Box<[u8]>,
    unsent: Range<usize>,
}

impl Outgoing {
    /// What is to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.buffer[self.unsent.clone()]
    }

    /// Room for so many bytes at least. Never refused: what is added without a bound is the handshake, whose length
    /// our own certificate decides.
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

    /// So many bytes of the room were filled.
    pub(super) fn add(&mut self, count: usize) {
        self.unsent.end += count;
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.unsent.start += count;
        if self.unsent.is_empty() {
            self.clear();
        }
    }

    /// Bytes of memory that it holds.
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

/// Where plaintext goes: to the reader as far as it has room, and the rest of a record is kept for it.
pub(super) struct Plain<'a, 'b> {
    out: Option<&'a mut ReadBuf<'b>>,
    rest: &'a mut BytesMut,
}

impl<'a, 'b> Plain<'a, 'b> {
    pub(super) fn new(out: Option<&'a mut ReadBuf<'b>>, rest: &'a mut BytesMut) -> Self {
        Self { out, rest }
    }

    pub(super) fn put(&mut self, payload: &[u8]) {
        // What is kept comes before what follows.
        let room = self.out.as_ref().filter(|_| self.rest.is_empty()).map_or(0, |out| out.remaining());
        let (now, later) = payload.split_at(room.min(payload.len()));
        if let Some(out) = &mut self.out {
            out.put_slice(now);
        }
        self.rest.extend_from_slice(later);
    }
}
