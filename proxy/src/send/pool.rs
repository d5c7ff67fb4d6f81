//! Connections to one endpoint that belong to one thread. An HTTP/1 connection serves one request at a time and returns
//! when its response is complete; an HTTP/2 connection is shared until it is full or closes.

use super::connect::{ConnectError, Dial, connect};
use super::connection::{Connection, ConnectionInfo, ConnectionKind, Http1, Http2};
use super::error::SendError;
use crate::http1::client::Client;
use crate::http1::head::Limits;
use crate::http2;
use crate::io::{Stream, now};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Settings of a cluster's connections.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Most requests of a connection; 0: unlimited.
    pub max_requests: u32,
    /// Time after which an idle connection is closed.
    pub idle_timeout: Option<Duration>,
}

/// Connections to one endpoint.
pub struct Pool {
    idle: RefCell<Vec<Http1>>,
    shared: RefCell<Vec<Rc<Http2>>>,
    /// Allows one attempt to open an HTTP/2 connection at a time, so that waiting requests can share the connection.
    dialling: Semaphore,
    /// Number of failed attempts, and the last error.
    failures: RefCell<(u64, String)>,
    settings: Settings,
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            shared: RefCell::default(),
            dialling: Semaphore::new(1),
            failures: RefCell::default(),
            settings,
        })
    }

    /// An open connection that can take a request.
    pub(super) fn free(&self, kind: &ConnectionKind) -> Option<Connection> {
        if kind.http2 != Some(true) {
            let mut idle = self.idle.borrow_mut();
            // The connection that returned last is the least likely to have been closed meanwhile.
            while let Some(at) = idle.iter().rposition(|c| c.info.kind == *kind) {
                let connection = idle.swap_remove(at);
                if connection.usable() {
                    return Some(Connection::Http1(connection));
                }
            }
        }
        if kind.http2 != Some(false) {
            let shared = self.shared.borrow();
            let found = shared.iter().find(|c| c.info.kind == *kind && c.client.has_room());
            return found.map(|c| Connection::Http2(c.clone()));
        }
        None
    }

    /// Opens a connection; see `Pool::dial`.
    pub(super) async fn connect<G: 'static>(
        &self,
        kind: &ConnectionKind,
        dial: &Dial,
        opened: impl FnOnce(&Stream) -> (G, u32),
    ) -> Result<Connection, SendError> {
        if kind.http2 == Some(true) {
            let failures = self.failures.borrow().0;
            let _turn = self.dialling.acquire().await;
            if let Some(connection) = self.free(kind) {
                return Ok(connection);
            }
            if self.failures.borrow().0 != failures {
                // The attempt that we waited for has just failed. Failing one after the other would only add up waiting
                // times.
                return Err(ConnectError::Shared(self.failures.borrow().1.clone()).into());
            }
            let result = self.make(kind, dial, opened).await;
            if let Err(error) = &result {
                let why = match error {
                    SendError::Connect(cause) => cause.to_string(),
                    other => other.to_string(),
                };
                *self.failures.borrow_mut() = (failures + 1, why);
            }
            return result;
        }
        self.make(kind, dial, opened).await
    }

    async fn make<G: 'static>(
        &self,
        kind: &ConnectionKind,
        dial: &Dial,
        opened: impl FnOnce(&Stream) -> (G, u32),
    ) -> Result<Connection, SendError> {
        let (stream, connected) = connect(dial).await?;
        let http2 = kind.http2.unwrap_or_else(|| stream.alpn() == Some(b"h2"));
        let local = stream.socket().local_addr().ok();
        let (guard, tag) = opened(&stream);
        let info = ConnectionInfo { kind: kind.clone(), local, tag, opened: connected.into() };
        if http2 {
            let client = http2::client::connect(stream, guard).await.map_err(SendError::Protocol)?;
            let connection = Rc::new(Http2 { client, info });
            let mut shared = self.shared.borrow_mut();
            shared.retain(|c| !c.client.is_closed());
            shared.push(connection.clone());
            return Ok(Connection::Http2(connection));
        }
        let since = now();
        let connection =
            Http1 { client: Client::new(stream, LIMITS), info, served: 0, since, _guard: Box::new(guard) };
        Ok(Connection::Http1(connection))
    }

    /// Returns a connection to the pool, or closes it if it cannot be used again.
    pub(super) fn give_back(&self, mut connection: Http1) {
        connection.served += 1;
        let worn = self.settings.max_requests > 0 && connection.served >= self.settings.max_requests;
        if !worn && connection.usable() {
            connection.since = now();
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Closes connections that the endpoint closed or that were idle for too long. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let limit = self.settings.idle_timeout.unwrap_or(Duration::MAX);
        self.idle.borrow_mut().retain(|c| c.usable() && now.saturating_duration_since(c.since) < limit);
        self.shared.borrow_mut().retain(|c| !c.client.is_closed() && !c.client.idle_for(now, limit));
    }

    /// Whether the pool has no connection.
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.shared.borrow().is_empty()
    }
}

/// Limits of an HTTP/1 response head. The bytes are a little more than Envoy allows.
const LIMITS: Limits = Limits { bytes: 64 * 1024, count: 100 };
