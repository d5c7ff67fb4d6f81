//! The open xDS streams and the progress of each proxy, as shown by `/debug/syncz` and `/debug/connections`.

use crate::flow::Scope;
use crate::verdict::progress::{Proxies, ProxyPlace};
use api::model::Kind;
use api::xds::server::Status;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

/// The open streams.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// Locked for writing when a stream opens or closes; each stream's state has its own lock.
    table: Arc<RwLock<BTreeMap<u64, Arc<Mutex<Connection>>>>>,
    next: Arc<AtomicU64>,
    proxies: Proxies,
}

/// One open stream.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Node ID that the proxy sent.
    pub node: String,
    /// Version of the proxy.
    pub user_agent: String,
    /// The inputs that decide its configuration.
    pub scope: Arc<Scope>,
    /// SPIFFE ID of its certificate; empty on the plaintext port.
    pub identity: String,
    /// Address that it connects from.
    pub address: String,
    /// When the stream was opened.
    pub since: SystemTime,
    /// Its progress, by resource type.
    pub status: BTreeMap<Kind, Box<Status>>,
    /// Generation of the newest snapshot computed for it.
    pub generation: u64,
    /// Whether part of that generation is not sent yet, because it waits for a request or an acknowledgement.
    pub deferred: bool,
}

impl Connection {
    /// Whether the proxy has acknowledged everything of this generation.
    pub fn is_in_step(&self, generation: u64) -> bool {
        self.generation >= generation
            && !self.deferred
            && self.status.values().all(|s| s.nonce_sent == s.nonce_acked && s.nack.is_none())
    }
}

impl Connections {
    /// Creates an empty table. Acknowledgements are recorded in `proxies`.
    pub fn new(proxies: Proxies) -> Self {
        Self { proxies, ..Self::default() }
    }

    /// Adds a stream. Dropping the guard removes it.
    pub fn add(&self, connection: Connection) -> Guard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.proxies.add(format!("{}.{}", connection.scope.pod, connection.scope.namespace));
        let connection = Arc::new(Mutex::new(connection));
        self.table.write().unwrap_or_else(PoisonError::into_inner).insert(id, connection.clone());
        Guard { connections: self.clone(), id, connection, place }
    }

    /// Returns a copy of the table.
    pub fn list(&self) -> Vec<Connection> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().map(|connection| lock(connection).clone()).collect()
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A poisoned lock only means that another reader panicked; the connection itself is consistent.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream's entry in the table.
#[derive(Debug)]
pub struct Guard {
    connections: Connections,
    id: u64,
    connection: Arc<Mutex<Connection>>,
    place: ProxyPlace,
}

impl Guard {
    /// Records a change of the proxy's scope.
    pub fn rescope(&self, scope: Arc<Scope>) {
        lock(&self.connection).scope = scope;
    }

    /// Records the proxy's progress with a generation, and whether part of it is deferred.
    pub fn update(&self, status: BTreeMap<Kind, Box<Status>>, generation: u64, deferred: bool) {
        self.place.note(&status, generation, deferred);
        let mut connection = lock(&self.connection);
        connection.status = status;
        connection.generation = generation;
        connection.deferred = deferred;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.table.write().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
