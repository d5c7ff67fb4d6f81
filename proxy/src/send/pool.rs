//! Connections to one endpoint that belong to one thread. An HTTP/1 connection serves one request at a time and comes
//! back when its response is complete; an HTTP/2 connection is shared until it is full or goes away.

use super::connect::{ConnectError, Dial, connect};
use super::lease::{About, Http1, Http2, Lease};
use super::{SendError, Settings};
use crate::http1::client::Client;
use crate::http1::head::Limits;
use crate::http2;
use crate::io::{Stream, now};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// What connections have to have in common to serve the same requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flavor {
    /// HTTP/2; `None`: whatever the endpoint chooses in TLS.
    pub http2: Option<bool>,
    /// With the mesh's own ALPN.
    pub mesh: bool,
    /// The name asked for in TLS, where requests decide it.
    pub name: Option<Box<str>>,
}

/// Connections to one endpoint.
pub struct Pool {
    idle: RefCell<Vec<Http1>>,
    shared: RefCell<Vec<Rc<Http2>>>,
    /// One HTTP/2 connection is made at a time: what waits may share it.
    dialling: Semaphore,
    /// How often that failed, and why the last time.
    failures: RefCell<(u64, String)>,
    settings: Settings,
}

impl Pool {
    /// No connections.
    pub fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            shared: RefCell::default(),
            dialling: Semaphore::new(1),
            failures: RefCell::default(),
            settings,
        })
    }

    /// A connection that is there and free.
    pub fn ready(self: &Rc<Self>, flavor: &Flavor) -> Option<Lease> {
        if flavor.http2 != Some(true) {
            let mut idle = self.idle.borrow_mut();
            // The last one to come back is the least likely to have been closed meanwhile.
            while let Some(at) = idle.iter().rposition(|c| c.about.flavor == *flavor) {
                let connection = idle.swap_remove(at);
                if connection.usable() {
                    return Some(Lease::Http1(connection, self.clone()));
                }
            }
        }
        if flavor.http2 != Some(false) {
            let shared = self.shared.borrow();
            let found = shared.iter().find(|c| c.about.flavor == *flavor && c.client.has_room());
            return found.map(|c| Lease::Http2(c.clone()));
        }
        None
    }

    /// Makes a connection. `opened` is told of it, and gives a guard that lives as long as the connection and a number
    /// that leases show as their `tag`.
    pub async fn dial<G: 'static>(
        self: &Rc<Self>,
        flavor: &Flavor,
        dial: &Dial,
        opened: impl FnOnce(&Stream) -> (G, u32),
    ) -> Result<Lease, SendError> {
        if flavor.http2 == Some(true) {
            let failures = self.failures.borrow().0;
            let _turn = self.dialling.acquire().await;
            if let Some(lease) = self.ready(flavor) {
                return Ok(lease);
            }
            if self.failures.borrow().0 != failures {
                // Whoever had the turn before failed just now; failing in a row would only add up waits.
                return Err(ConnectError::Shared(self.failures.borrow().1.clone()).into());
            }
            let result = self.make(flavor, dial, opened).await;
            if let Err(error) = &result {
                let why = match error {
                    SendError::Connect(cause) => cause.to_string(),
                    other => other.to_string(),
                };
                *self.failures.borrow_mut() = (failures + 1, why);
            }
            return result;
        }
        self.make(flavor, dial, opened).await
    }

    async fn make<G: 'static>(
        self: &Rc<Self>,
        flavor: &Flavor,
        dial: &Dial,
        opened: impl FnOnce(&Stream) -> (G, u32),
    ) -> Result<Lease, SendError> {
        let (stream, connected) = connect(dial).await?;
        let http2 = flavor.http2.unwrap_or_else(|| stream.alpn() == Some(b"h2"));
        let local = stream.socket().local_addr().ok();
        let (guard, tag) = opened(&stream);
        let about = About { flavor: flavor.clone(), local, tag, opened: connected.into() };
        if http2 {
            let client = http2::client::connect(stream, guard).await.map_err(SendError::Protocol)?;
            let connection = Rc::new(Http2 { client, about });
            let mut shared = self.shared.borrow_mut();
            shared.retain(|c| !c.client.is_closed());
            shared.push(connection.clone());
            return Ok(Lease::Http2(connection));
        }
        let since = now();
        let connection =
            Http1 { client: Client::new(stream, LIMITS), about, served: 0, since, _guard: Box::new(guard) };
        Ok(Lease::Http1(connection, self.clone()))
    }

    /// Takes a connection back.
    pub(super) fn give_back(&self, mut connection: Http1) {
        connection.served += 1;
        let worn = self.settings.max_requests > 0 && connection.served >= self.settings.max_requests;
        if !worn && connection.usable() {
            connection.since = now();
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Closes what is closed at the other end or was idle for too long. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let limit = self.settings.idle_timeout.unwrap_or(Duration::MAX);
        self.idle.borrow_mut().retain(|c| c.usable() && now.saturating_duration_since(c.since) < limit);
        self.shared.borrow_mut().retain(|c| !c.client.is_closed() && !c.client.idle_for(now, limit));
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.shared.borrow().is_empty()
    }
}

/// What the head of an HTTP/1 response may cost; in bytes a little more than Envoy allows.
const LIMITS: Limits = Limits { bytes: 64 * 1024, count: 100 };
