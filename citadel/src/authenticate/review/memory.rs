//! Pure. Remembers results of reviews by the digest of the token, for seconds, and the reviews that are under way.
//! Never holds a token.

use crate::authenticate::review::verdict::Outcome;
use std::collections::HashMap;
use std::time::Instant;

/// The SHA-256 digest of a token.
pub(super) type Digest = [u8; 32];

/// Computes the digest of a token.
pub(super) fn digest(token: &str) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// What is known about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recalled<W> {
    /// The result.
    Known(Outcome),
    /// The review is under way; `W` waits for its result.
    Pending(W),
}

/// Results and reviews under way.
#[derive(Debug)]
pub(super) struct Memory<W> {
    entries: HashMap<Digest, Entry<W>>,
}

#[derive(Debug)]
enum Entry<W> {
    Known(Outcome, Instant),
    Pending(W),
}

impl<W> Default for Memory<W> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<W: Clone> Memory<W> {
    /// Returns what is known about a token.
    pub(super) fn recall(&self, digest: &Digest, now: Instant) -> Option<Recalled<W>> {
        match self.entries.get(digest)? {
            Entry::Known(outcome, until) if now < *until => Some(Recalled::Known(outcome.clone())),
            Entry::Known(..) => None,
            Entry::Pending(waiter) => Some(Recalled::Pending(waiter.clone())),
        }
    }

    /// Records that a review begins. Returns `false` if as many as allowed are under way.
    pub(super) fn begin(&mut self, digest: Digest, waiter: W, now: Instant) -> bool {
        if self.entries.len() >= MAX {
            self.entries.retain(|_, entry| !matches!(entry, Entry::Known(_, until) if *until <= now));
        }
        if self.entries.len() >= MAX {
            // Results can be asked for again; reviews under way cannot be forgotten.
            self.entries.retain(|_, entry| matches!(entry, Entry::Pending(_)));
        }
        let has_place = self.entries.len() < MAX;
        if has_place {
            self.entries.insert(digest, Entry::Pending(waiter));
        }
        has_place
    }

    /// Records the end of a review: its result and until when it is used; `None`: it is not used again.
    pub(super) fn finish(&mut self, digest: Digest, outcome: Option<(Outcome, Instant)>) {
        match outcome {
            Some((outcome, until)) => drop(self.entries.insert(digest, Entry::Known(outcome, until))),
            None => drop(self.entries.remove(&digest)),
        }
    }
}

const MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::review::verdict::ReviewError;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other constructor")]
    fn start() -> Instant {
        Instant::now()
    }

    fn id() -> api::identity::SpiffeId {
        "spiffe://d/ns/a/sa/b".parse().unwrap()
    }

    #[test]
    fn a_result_is_used_until_its_time_and_a_failure_never() {
        let (mut memory, now) = (Memory::default(), start());
        let token = digest("a");
        assert_eq!(memory.recall(&token, now), None);
        assert!(memory.begin(token, 7, now));
        assert_eq!(memory.recall(&token, now), Some(Recalled::Pending(7)));
        memory.finish(token, Some((Ok(id()), now + SECOND)));
        assert_eq!(memory.recall(&token, now), Some(Recalled::Known(Ok(id()))));
        assert_eq!(memory.recall(&token, now + SECOND), None);
        assert_eq!(memory.recall(&digest("b"), now), None);
        assert!(memory.begin(token, 8, now + SECOND));
        memory.finish(token, None);
        assert_eq!(memory.recall(&token, now), None);
    }

    #[test]
    fn the_memory_is_bounded_and_prefers_reviews_under_way() {
        let (mut memory, now) = (Memory::default(), start());
        for n in 0..MAX {
            assert!(memory.begin(digest(&n.to_string()), n, now));
        }
        assert!(!memory.begin(digest("more"), 0, now));
        let denied = Err(ReviewError::Unbound);
        memory.finish(digest("0"), Some((denied, now + SECOND)));
        assert!(memory.begin(digest("more"), 0, now));
        assert_eq!(memory.entries.len(), MAX);
        assert_eq!(memory.recall(&digest("0"), now), None);
        assert!(memory.recall(&digest("1"), now).is_some());
    }
}
