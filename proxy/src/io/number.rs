//! Numbers of connections, for logs: each thread takes a block of them at a time, so that connections share no counter.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no other connection of this process has.
pub fn number() -> u64 {
    NEXT.with(|next| {
        let mut number = next.get();
        if number % BLOCK == 0 {
            number = TAKEN.fetch_add(BLOCK, Ordering::Relaxed) + 1;
        }
        next.set(number + 1);
        number
    })
}

/// So many numbers are taken at a time.
const BLOCK: u64 = 1024;

static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The next number; a multiple of the block says that a new one is needed.
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_connections_have_the_same_number() {
        let threads: Vec<_> =
            (0..3).map(|_| std::thread::spawn(|| (0..3000).map(|_| number()).collect::<Vec<_>>())).collect();
        let all: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert!(!all.contains(&0));
    }
}
