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

/// A buffer of so many bytes at least.
pub(super) fn of(bytes: usize) -> Box<[u8]> {
    if bytes <= SIZE { borrow() } else { vec![0; bytes].into() }
}

/// The buffer is for others again. One of another size than `SIZE` is dropped.
pub(super) fn give_back(space: Box<[u8]>) {
    if space.len() != SIZE {
        return;
    }
    // A connection may end with its thread, when the pool is gone.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED {
            pool.push(space);
        }
    });
}

/// Bytes that are moved in one step: so many that a bulk stream makes few calls, so few that they stay in a core's
/// cache. The kernel cuts what is written into packets of just below 64 KiB. A step fills most of its last one, with TLS
/// or without; one of 64 KiB would leave a few bytes for a packet of their own, which costs as much as a full one.
pub const STEP: usize = 112 * 1024;
/// Bytes of a buffer: a step, and what TLS adds to its seven records.
pub(super) const SIZE: usize = STEP + 1024;
/// Buffers that a thread keeps: as many as connections are served between two looks at the sockets, not as many as
/// there ever were.
const POOLED: usize = 8;
