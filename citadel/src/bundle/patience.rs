//! Pure. Counts how often a namespace's bundle is put back. A user deletes or changes it a few times; another control
//! plane never stops, and is left alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The recent restorations, by namespace.
#[derive(Debug, Default)]
pub struct Patience {
    namespaces: BTreeMap<String, Count>,
}

#[derive(Debug)]
struct Count {
    times: u32,
    since: Instant,
}

impl Patience {
    /// Whether the bundle of a namespace may be put back now; counts it.
    pub fn allows(&mut self, namespace: &str, now: Instant) -> bool {
        self.namespaces.retain(|_, count| now.duration_since(count.since) < WINDOW);
        let count = self.namespaces.entry(namespace.to_owned()).or_insert(Count { times: 0, since: now });
        count.times += 1;
        count.times <= MOST
    }
}

/// How often a bundle is put back within [`WINDOW`].
const MOST: u32 = 5;
const WINDOW: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other constructor")]
    fn a_writer_that_never_stops_is_left_alone_for_a_while() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        assert!((0..MOST).all(|_| patience.allows("a", now)));
        assert!(!patience.allows("a", now));
        assert!(patience.allows("b", now));
        assert!(!patience.allows("a", now + WINDOW / 2));
        assert!(patience.allows("a", now + WINDOW));
        assert_eq!(patience.namespaces.len(), 1);
    }
}
