//! A pool of buffers per thread. A connection holds a buffer only while bytes are in transit, so thousands of idle
//! connections share a handful of buffers.

use bytes::BytesMut;
use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(vec![]) };
}

/// Takes a buffer with room for a typical head.
pub(super) fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Returns a used buffer to the pool, unless it is too small, too large, or its bytes are still referenced.
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

/// The number of free buffers in the pool.
#[cfg(test)]
pub(super) fn pooled() -> usize {
    POOL.with_borrow(Vec::len)
}

/// The capacity of a buffer in bytes.
pub(super) const SIZE: usize = 8 * 1024;
/// The pool drops buffers with more capacity than this.
const LARGEST: usize = 2 * SIZE;
/// The most buffers that a thread's pool keeps.
const POOLED: usize = 64;
