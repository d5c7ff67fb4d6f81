//! Connection numbers for logs. Each thread reserves a block of numbers at a time, so connections share no counter.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns a number that no other connection of this process has.
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

/// How many numbers a thread reserves at a time.
const BLOCK: u64 = 1024;

static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The next number; at a multiple of the block size, a block must be reserved first.
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
