//! Buffers for bytes in transit, borrowed from a per-thread pool, so that a connection without traffic holds none.

use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(vec![]) };
}

/// Borrows a buffer of `SIZE` bytes.
pub(super) fn borrow() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into())
}

/// Returns a buffer of at least this many bytes.
pub(super) fn of(bytes: usize) -> Box<[u8]> {
    if bytes <= SIZE { borrow() } else { vec![0; bytes].into() }
}

/// Returns a buffer to the pool. A buffer of a size other than `SIZE` is dropped.
pub(super) fn give_back(space: Box<[u8]>) {
    if space.len() != SIZE {
        return;
    }
    // A connection may end together with its thread, when the pool no longer exists.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED {
            pool.push(space);
        }
    });
}

/// The most bytes moved in one step: large enough that a bulk stream needs few system calls, small enough to stay
/// in a core's cache. The kernel cuts written data into packets of just below 64 KiB. A step of this size nearly
/// fills its last packet, with TLS or without; a step of 64 KiB would leave a few bytes for a packet of their own,
/// which costs as much as a full one.
pub const STEP: usize = 112 * 1024;
/// The size of a buffer: one step, plus TLS overhead for its seven records.
pub(super) const SIZE: usize = STEP + 1024;
/// The most buffers that a thread's pool keeps: as many as connections are served between two polls of the sockets,
/// not as many as ever existed.
const POOLED: usize = 8;
