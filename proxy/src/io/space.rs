//! Buffers for bytes on their way, borrowed from a pool of the thread, so that a connection without traffic holds
//! none.

use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(vec![]) };
}

/// A buffer of `SIZE` bytes.
pub(super) fn borrow() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into())
}

/// The buffer is for others again.
pub(super) fn give_back(space: Box<[u8]>) {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED {
            pool.push(space);
        }
    });
}

/// Bytes of a buffer: large enough that a bulk stream makes few calls, small enough to stay in a core's cache.
pub(super) const SIZE: usize = 64 * 1024;
/// Buffers that a thread keeps: as many as connections are served between two looks at the sockets, not as many as
/// there ever were.
const POOLED: usize = 8;
