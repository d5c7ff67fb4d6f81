//! Limits on the streams of each client: how many it has, how much memory they use together, and how many it opens at
//! the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The streams of all clients.
#[derive(Debug, Clone, Default)]
pub struct Quota {
    open: Arc<Mutex<HashMap<Holder, Usage>>>,
    greeting: Arc<Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>>,
}

/// The number of a holder's streams and the memory that they use.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    streams: usize,
    /// The size of their clients' subscriptions.
    bytes: usize,
}

/// The client whose streams are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A proven Pod, by namespace and name.
    Pod(String, String),
    /// Proxies without a known Pod, by the identity of their certificate.
    Identity(String),
    /// Clients on pilot's own machine without a certificate, which could claim to be any Pod.
    Machine,
}

impl Quota {
    /// Counts another stream of a holder until the ticket is dropped. `None` if the holder has reached its limit.
    pub fn take(&self, holder: Holder) -> Option<Ticket> {
        let mut open = lock(&self.open);
        let usage = open.entry(holder.clone()).or_default();
        if usage.streams >= holder.limit().streams {
            return None;
        }
        usage.streams += 1;
        Some(Ticket { open: self.open.clone(), holder, bytes: 0 })
    }

    /// Waits for permission to read a first request. Only a few from the same address are read at a time, since their
    /// client is not known before. `None` if too many from that address wait already.
    pub async fn turn(&self, address: Option<IpAddr>) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut greeting = lock(&self.greeting);
            greeting.retain(|_, semaphore| semaphore.strong_count() > 0);
            let known = greeting.get(&address).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
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
    fn limit(&self) -> Usage {
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
    open: Arc<Mutex<HashMap<Holder, Usage>>>,
    holder: Holder,
    bytes: usize,
}

impl Ticket {
    /// Records the memory that the stream uses. Returns false if the holder's streams exceed their limit.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let mut open = lock(&self.open);
        let Some(usage) = open.get_mut(&self.holder) else { return false };
        usage.bytes = usage.bytes - self.bytes + bytes;
        self.bytes = bytes;
        usage.bytes <= self.holder.limit().bytes
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(usage) = open.get_mut(&self.holder) {
            usage.streams -= 1;
            usage.bytes -= self.bytes;
            if usage.streams == 0 {
                open.remove(&self.holder);
            }
        }
    }
}

fn lock<K: Eq + Hash, V>(table: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    // A poisoned lock only means that another holder panicked; the table itself is consistent.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Limit for a Pod: it has one stream, and for a while those of connections that broke without notice. Three times the
/// names that a stream may subscribe to fit.
const OF_POD: Usage = Usage { streams: 16, bytes: 64 << 20 };
/// Limit for proxies without a Pod that share an identity.
const OF_IDENTITY: Usage = Usage { streams: 100, bytes: 512 << 20 };
/// Limit for processes on the same machine, on the plaintext port, which is open only if configured.
const OF_MACHINE: Usage = Usage { streams: 10_000, bytes: 512 << 20 };
/// The number of first requests from one address that are read at the same time.
const GREETING: usize = 16;
/// The number of streams from one address that may wait for that. Further ones are refused and must reconnect later.
const WAITING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_may_open_a_limited_number_of_streams_at_a_time() {
        let quota = Quota::default();
        let holder = || Holder::Pod("shop".into(), "a".into());
        let mut tickets: Vec<Ticket> = (0..OF_POD.streams).map(|_| quota.take(holder()).unwrap()).collect();
        assert!(quota.take(holder()).is_none());
        assert!(quota.take(Holder::Pod("shop".into(), "b".into())).is_some());
        tickets.pop();
        assert!(quota.take(holder()).is_some());
        tickets.clear();
        assert!(lock(&quota.open).is_empty(), "holders without streams are removed");
    }

    #[test]
    fn the_streams_of_a_holder_share_its_memory_limit() {
        let quota = Quota::default();
        let take = |pod: &str| quota.take(Holder::Pod("shop".into(), pod.into())).unwrap();
        let (mut one, mut two, mut other) = (take("a"), take("a"), take("b"));
        let half = OF_POD.bytes / 2;
        assert!(one.hold(half) && two.hold(half) && other.hold(OF_POD.bytes));
        assert!(!two.hold(half + 1));
        assert!(two.hold(1) && one.hold(OF_POD.bytes - 1));
        drop(one);
        assert!(two.hold(OF_POD.bytes), "the memory of a stream is free when it ends");
    }

    #[tokio::test]
    async fn first_requests_of_one_address_are_limited_and_delay_no_other_address() {
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
        assert_eq!(lock(&quota.greeting).len(), 1, "only the last address is kept");
    }
}
