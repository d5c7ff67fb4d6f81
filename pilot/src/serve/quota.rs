//! How many streams one caller may have, and how many it may open at the same time: what a stream holds is bounded, so
//! that what a caller can make pilot hold is bounded too.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The streams of all callers.
#[derive(Debug, Clone, Default)]
pub struct Quota {
    open: Arc<Mutex<HashMap<Holder, usize>>>,
    greeting: Arc<Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>>,
}

/// Whose streams are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A proven Pod, by namespace and name.
    Pod(String, String),
    /// Proxies of which no Pod is known, by the identity of their certificate.
    Identity(String),
}

impl Quota {
    /// Counts one more stream of a holder, until the ticket is dropped; `None` when it has as many as it may.
    pub fn take(&self, holder: Holder) -> Option<Ticket> {
        let most = match holder {
            Holder::Pod(..) => OF_POD,
            Holder::Identity(_) => OF_IDENTITY,
        };
        let mut open = lock(&self.open);
        let count = open.entry(holder.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Ticket { open: self.open.clone(), holder })
    }

    /// Waits for the turn to send a first request: those of one address are read a few at a time, because nobody knows
    /// yet whose they are.
    pub async fn turn(&self, address: Option<IpAddr>) -> OwnedSemaphorePermit {
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
        semaphore.acquire_owned().await.expect("the semaphore is never closed")
    }
}

/// A counted stream.
#[derive(Debug)]
pub struct Ticket {
    open: Arc<Mutex<HashMap<Holder, usize>>>,
    holder: Holder,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.holder);
            }
        }
    }
}

fn lock<K: Eq + Hash, V>(table: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    // A poisoned lock only means that another holder panicked; the table itself is whole.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Streams of a Pod: it has one, and for a while those of connections that broke unseen.
const OF_POD: usize = 16;
/// Streams of proxies without a Pod that share an identity.
const OF_IDENTITY: usize = 100;
/// First requests of one address that are read at the same time.
const GREETING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_so_many_streams_and_room_again_when_one_ends() {
        let quota = Quota::default();
        let holder = || Holder::Pod("shop".into(), "a".into());
        let mut tickets: Vec<Ticket> = (0..OF_POD).map(|_| quota.take(holder()).unwrap()).collect();
        assert!(quota.take(holder()).is_none());
        assert!(quota.take(Holder::Pod("shop".into(), "b".into())).is_some());
        tickets.pop();
        assert!(quota.take(holder()).is_some());
        tickets.clear();
        assert!(lock(&quota.open).is_empty(), "nothing is kept of who has left");
    }

    #[tokio::test]
    async fn one_address_takes_turns_and_delays_no_other() {
        let quota = Quota::default();
        let (one, other) = (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
        let mut turns = vec![];
        for _ in 0..GREETING {
            turns.push(quota.turn(one).await);
        }
        assert!(futures_util::poll!(std::pin::pin!(quota.turn(one))).is_pending());
        drop(quota.turn(other).await);
        turns.pop();
        drop(quota.turn(one).await);
        turns.clear();
        drop(quota.turn(other).await);
        assert_eq!(lock(&quota.greeting).len(), 1, "only who asked last is known");
    }
}
