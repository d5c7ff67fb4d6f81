//! The addresses that listeners are bound to, for readiness, the admin interface, and tests that ask for port 0.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::sync::watch;

/// Listeners by name, each with its bound address or the reason why binding failed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bound(watch::Sender<BTreeMap<String, Result<SocketAddr, String>>>);

impl Default for Bound {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }
}

impl Bound {
    /// All listeners.
    pub fn all(&self) -> BTreeMap<String, Result<SocketAddr, String>> {
        self.0.borrow().clone()
    }

    /// One listener's address.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.0.borrow().get(name)?.as_ref().ok().copied()
    }

    /// Waits until a listener is bound or has failed.
    pub async fn wait_for(&self, name: &str) -> Result<SocketAddr, String> {
        let mut receiver = self.0.subscribe();
        let found = receiver.wait_for(|all| all.contains_key(name)).await;
        found.ok().and_then(|all| all.get(name).cloned()).unwrap_or_else(|| Err("the proxy has ended".into()))
    }

    /// Waits until a listener is bound to `wanted` or, if its port is 0, to any port of that IP address.
    pub(super) async fn wait_for_bound(&self, name: &str, wanted: SocketAddr) -> SocketAddr {
        let fits =
            |at: &SocketAddr| at.ip() == wanted.ip() && (wanted.port() == 0 || at.port() == wanted.port());
        let found = |all: &BTreeMap<String, Result<SocketAddr, String>>| {
            all.get(name).and_then(|result| result.as_ref().ok()).copied().filter(fits)
        };
        let mut receiver = self.0.subscribe();
        let known = receiver.wait_for(|all| found(all).is_some()).await;
        known.ok().and_then(|all| found(&all)).unwrap_or(wanted)
    }

    /// Subscribes to changes: a listener is bound, fails to bind, or is removed.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<String, Result<SocketAddr, String>>> {
        self.0.subscribe()
    }

    pub(super) fn set(&self, name: &str, result: Result<SocketAddr, String>) {
        self.0.send_if_modified(|all| all.insert(name.to_owned(), result.clone()) != Some(result));
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.send_if_modified(|all| all.remove(name).is_some());
    }
}
