//! The token issuer's keys, shared between the task that reads them and the requests that need them. Lets an issuer
//! rotate its keys while the authority runs: a request with an unknown key triggers a fresh read.

use api::jws::key_set::KeySet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The requests' end: the current keys, and a way to ask for newer ones.
#[derive(Clone)]
pub struct Keys {
    current: watch::Receiver<Arc<KeySet>>,
    wanted: Arc<Notify>,
}

/// The reading task's end.
pub struct Writer {
    current: watch::Sender<Arc<KeySet>>,
    wanted: Arc<Notify>,
}

/// Creates both ends, without keys.
pub fn channel() -> (Writer, Keys) {
    let (sender, current) = watch::channel(Arc::new(KeySet::default()));
    let wanted = Arc::new(Notify::new());
    (Writer { current: sender, wanted: wanted.clone() }, Keys { current, wanted })
}

impl Keys {
    /// Returns the keys as last read.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.borrow().clone()
    }

    /// Asks for a fresh read, waits for it briefly, and returns the keys as they are then.
    pub async fn refreshed(&self) -> Arc<KeySet> {
        let mut current = self.current.clone();
        current.mark_unchanged();
        self.wanted.notify_one();
        // If no read completes in time, or the reader has ended, the old keys decide.
        let _ = tokio::time::timeout(REFRESH_WAIT, current.changed()).await;
        self.current()
    }
}

impl Writer {
    /// Makes `keys` the current ones. Wakes waiting requests even if nothing changed.
    pub fn replace(&self, keys: KeySet) {
        self.current.send_replace(Arc::new(keys));
    }

    /// Resolves when a request asks for a fresh read.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

const REFRESH_WAIT: Duration = Duration::from_secs(2);
