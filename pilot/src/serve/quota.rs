//! How many streams one caller may have, how much they may hold together, and how many it may open at the same time, so
//! that what a caller can make pilot hold is bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The streams of all callers.
#[derive(Debug, Clone, Default)]
pub struct Quota {
    open: Arc<Mutex<HashMap<Holder, Held>>>,
    greeting: Arc<Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>>,
}

/// What the streams of a holder are.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    streams: usize,
    /// What they have noted of their clients' subscriptions.
    bytes: usize,
}

/// Whose streams are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A proven Pod, by namespace and name.
    Pod(String, String),
    /// Proxies of which no Pod is known, by the identity of their certificate.
    Identity(String),
    /// Those on pilot's own machine that show no certificate: they could claim to be any Pod anyway.
    Machine,
}

impl Quota {
    /// Counts one more stream of a holder, until the ticket is dropped; `None` when it has as many as it may.
    pub fn take(&self, holder: Holder) -> Option<Ticket> {
        let mut open = lock(&self.open);
        let held = open.entry(holder.clone()).or_default();
        if held.streams >= holder.most().streams {
            return None;
        }
        held.streams += 1;
        Some(Ticket { open: self.open.clone(), holder, bytes: 0 })
    }

    /// Waits for the turn to send a first request: those of one address are read a few at a time, because nobody knows
    /// yet whose they are. `None` when too many of that address wait already.
    pub async fn turn(&self, address: Option<IpAddr>) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut greeting = lock(&self.greeting);
            greeting.retain(|_, semaphore| semaphore.strong_count() > 0);
            let held = greeting.get(&address).and_then(Weak::upgrade);
            held.unwrap_or_else(|| {
                let semaphore = Arc::new(Semaphore::new(GREETING));
                greeting.insert(address, Arc::downgrade(&semaphore));
                semaphore
            })
        };
        // Each reader and each waiter holds one reference.
        if Arc::strong_count(&semaphore) > GREETING + WAITING {
            return None;
        }
        Some(semaphore.acquire_owned().await.expect("the semaphore is never closed"))
    }
}

impl Holder {
    fn most(&self) -> Held {
        match self {
            Self::Pod(..) => OF_POD,
            Self::Identity(_) => OF_IDENTITY,
            Self::Machine => OF_MACHINE,
        }
    }
}

/// A counted stream.
#[derive(Debug)]
pub struct Ticket {
    open: Arc<Mutex<HashMap<Holder, Held>>>,
    holder: Holder,
    bytes: usize,
}

impl Ticket {
    /// Notes how much the stream holds by now; false when the holder's streams hold more than they may.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let mut open = lock(&self.open);
        let Some(held) = open.get_mut(&self.holder) else { return false };
        held.bytes = held.bytes - self.bytes + bytes;
        self.bytes = bytes;
        held.bytes <= self.holder.most().bytes
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(held) = open.get_mut(&self.holder) {
            held.streams -= 1;
            held.bytes -= self.bytes;
            if held.streams == 0 {
                open.remove(&self.holder);
            }
        }
    }
}

fn lock<K: Eq + Hash, V>(table: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    // A poisoned lock only means that another holder panicked; the table itself is whole.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Streams of a Pod: it has one, and for a while those of connections that broke unseen. All names that a stream may
/// subscribe to fit three times.
const OF_POD: Held = Held { streams: 16, bytes: 64 << 20 };
/// Streams of proxies without a Pod that share an identity.
const OF_IDENTITY: Held = Held { streams: 100, bytes: 512 << 20 };
/// Streams of the machine's own processes, on the plaintext port that is served only where asked for.
const OF_MACHINE: Held = Held { streams: 10_000, bytes: 512 << 20 };
/// First requests of one address that are read at the same time.
const GREETING: usize = 16;
/// Streams of one address that wait for that; further ones are refused, and come back a little later.
const WAITING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_so_many_streams_and_room_again_when_one_ends() {
        let quota = Quota::default();
        let holder = || Holder::Pod("shop".into(), "a".into());
        let mut tickets: Vec<Ticket> = (0..OF_POD.streams).map(|_| quota.take(holder()).unwrap()).collect();
        assert!(quota.take(holder()).is_none());
        assert!(quota.take(Holder::Pod("shop".into(), "b".into())).is_some());
        tickets.pop();
        assert!(quota.take(holder()).is_some());
        tickets.clear();
        assert!(lock(&quota.open).is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn the_streams_of_a_holder_share_what_they_may_hold() {
        let quota = Quota::default();
        let take = |pod: &str| quota.take(Holder::Pod("shop".into(), pod.into())).unwrap();
        let (mut one, mut two, mut other) = (take("a"), take("a"), take("b"));
        let half = OF_POD.bytes / 2;
        assert!(one.hold(half) && two.hold(half) && other.hold(OF_POD.bytes));
        assert!(!two.hold(half + 1));
        assert!(two.hold(1) && one.hold(OF_POD.bytes - 1));
        drop(one);
        assert!(two.hold(OF_POD.bytes), "what a stream held is free when it ends");
    }

    #[tokio::test]
    async fn one_address_takes_turns_and_delays_no_other() {
        let quota = Quota::default();
        let (one, other) = (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
        let mut turns = vec![];
        for _ in 0..GREETING {
            turns.push(quota.turn(one).await.unwrap());
        }
        let mut waiting = vec![];
        for _ in 0..WAITING {
            let mut turn = Box::pin(quota.turn(one));
            assert!(futures_util::poll!(&mut turn).is_pending());
            waiting.push(turn);
        }
        assert!(quota.turn(one).await.is_none(), "too many wait");
        drop(quota.turn(other).await.unwrap());
        waiting.clear();
        turns.pop();
        drop(quota.turn(one).await.unwrap());
        turns.clear();
        drop(quota.turn(other).await.unwrap());
        assert_eq!(lock(&quota.greeting).len(), 1, "only who asked last is known");
    }
}
