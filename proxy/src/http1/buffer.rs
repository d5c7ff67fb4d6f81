//! Buffers of a thread. A connection has one only while bytes are on their way: thousands of idle connections share a
//! handful.

use bytes::BytesMut;
use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(vec![]) };
}

/// A buffer with room for a usual head.
pub(super) fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Gives back a buffer that was used, unless it is small, large, or something still refers to its bytes.
pub(super) fn give_back(mut buffer: BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    if buffer.try_reclaim(SIZE) && buffer.capacity() <= LARGEST {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < POOLED {
                pool.push(buffer);
            }
        });
    }
}

/// Buffers that nobody uses.
#[cfg(test)]
pub(super) fn pooled() -> usize {
    POOL.with_borrow(Vec::len)
}

/// Bytes of a buffer.
pub(super) const SIZE: usize = 8 * 1024;
/// Larger ones are not kept.
const LARGEST: usize = 2 * SIZE;
/// Buffers that a thread keeps.
const POOLED: usize = 64;
