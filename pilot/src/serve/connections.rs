//! Who is connected and how far each proxy is: what `/debug/syncz` and `/debug/connections` show.

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
    /// Written when a stream comes or goes; what changes meanwhile is behind a lock of the stream's own.
    table: Arc<RwLock<BTreeMap<u64, Arc<Mutex<Connection>>>>>,
    next: Arc<AtomicU64>,
    proxies: Proxies,
}

/// One open stream.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Node id, as the proxy announced it.
    pub node: String,
    /// Version of the proxy.
    pub user_agent: String,
    /// What its configuration depends on.
    pub scope: Arc<Scope>,
    /// Identity of its certificate; empty on the plaintext port.
    pub identity: String,
    /// Where it connects from.
    pub address: String,
    /// Since when.
    pub since: SystemTime,
    /// How far it is, by type.
    pub status: BTreeMap<Kind, Status>,
    /// Generation of the newest snapshot that was looked at for it.
    pub generation: u64,
    /// Something of it is not sent yet: it waits for what the proxy asks or acknowledges next.
    pub held: bool,
}

impl Connection {
    /// The proxy has acknowledged everything that this generation means for it.
    pub fn is_in_step(&self, generation: u64) -> bool {
        self.generation >= generation
            && !self.held
            && self.status.values().all(|s| s.nonce_sent == s.nonce_acked && s.nack.is_none())
    }
}

impl Connections {
    /// No streams yet. What proxies acknowledge is noted among `proxies`.
    pub fn new(proxies: Proxies) -> Self {
        Self { proxies, ..Self::default() }
    }

    /// Adds a stream; it leaves the table when the guard is dropped.
    pub fn add(&self, connection: Connection) -> Guard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.proxies.add(format!("{}.{}", connection.scope.pod, connection.scope.namespace));
        let connection = Arc::new(Mutex::new(connection));
        self.table.write().unwrap_or_else(PoisonError::into_inner).insert(id, connection.clone());
        Guard { connections: self.clone(), id, connection, place }
    }

    /// A copy of the table.
    pub fn list(&self) -> Vec<Connection> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().map(|connection| lock(connection).clone()).collect()
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A poisoned lock only means that another reader panicked; the connection itself is whole.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream's place in the table.
#[derive(Debug)]
pub struct Guard {
    connections: Connections,
    id: u64,
    connection: Arc<Mutex<Connection>>,
    place: ProxyPlace,
}

impl Guard {
    /// Notes that the proxy's configuration depends on something else from now on.
    pub fn rescope(&self, scope: Arc<Scope>) {
        lock(&self.connection).scope = scope;
    }

    /// Notes how far the proxy is with a generation, and whether something of it is held back.
    pub fn update(&self, status: BTreeMap<Kind, Status>, generation: u64, held: bool) {
        self.place.note(&status, generation, held);
        let mut connection = lock(&self.connection);
        connection.status = status;
        connection.generation = generation;
        connection.held = held;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.table.write().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
