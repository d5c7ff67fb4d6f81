//! Pure. Limits the open connections of a listener: their number, the time that each phase may take, and the bytes of
//! buffered bodies. Decides which connection is closed when a limit is reached.
//!
//! A connection without a verified identity is anonymous. Anonymous and authenticated connections have separate
//! limits, so that no number of anonymous connections keeps an authenticated client out. When a limit is reached, the
//! listener closes the connection that has made the least progress, the oldest first: without any bytes, without a
//! finished handshake, without a request, idle, with a request that has no response yet. A connection whose response
//! has begun is never closed to admit another one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime};

/// Limits on the connections of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections without a verified identity.
    pub anonymous: usize,
    /// The same from one source address (IPv6: from one /64 network).
    pub anonymous_per_source: usize,
    /// The most connections with a verified identity.
    pub authenticated: usize,
    /// The same from one source address.
    pub authenticated_per_source: usize,
    /// From accepting the connection to its first byte.
    pub first_byte: Duration,
    /// From accepting the connection to the end of the TLS handshake, even if bytes keep arriving.
    pub handshake: Duration,
    /// From the handshake (plaintext: from accepting the connection) to the end of the first request's headers. An
    /// authenticated client may take as long as between two requests.
    pub first_request: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From a request's headers to its response's headers. Includes the request's body if the handler waits for it.
    pub response: Option<Duration>,
    /// From a request's headers to the end of the response's body. `None` for servers with long-lived streams.
    pub exchange: Option<Duration>,
    /// The age, give or take 10 %, at which a connection is closed gracefully (HTTP/2: with GOAWAY), so that clients with
    /// long-lived streams spread over replicas.
    pub age: Option<Duration>,
    /// The most bytes of an HTTP/1 request's head.
    pub head: usize,
    /// The most bytes of buffered bodies (of requests until their responses begin, of responses until they are sent),
    /// for all anonymous connections together, and for all authenticated ones. Beyond, the listener closes the
    /// connection with the most buffered bytes, of the source with the most buffered bytes.
    pub bodies: usize,
    /// Bytes that an anonymous client's request counts among `bodies` in addition to its body.
    pub request: usize,
}

impl Default for Limits {
    /// Limits for servers of the control plane.
    fn default() -> Self {
        Self {
            anonymous: 10_000,
            anonymous_per_source: 1_000,
            authenticated: 10_000,
            // Many clients may share one address, but no address may use up the whole limit.
            authenticated_per_source: 5_000,
            first_byte: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            response: Some(Duration::from_secs(60)),
            exchange: None,
            age: None,
            head: HEAD,
            bodies: BODIES,
            request: REQUEST,
        }
    }
}

impl Limits {
    /// Limits for HTTP pages, whose responses all end.
    pub fn pages() -> Self {
        // A probe of the application may take as long as its manifest allows.
        let (response, exchange) = (Some(Duration::from_secs(300)), Some(Duration::from_secs(600)));
        Self { response, exchange, ..Self::default() }
    }

    /// Limits for listeners whose clients have no identities and send short requests: connections in total and from
    /// one source.
    pub const fn anonymous(anonymous: usize, anonymous_per_source: usize) -> Self {
        Self {
            anonymous,
            anonymous_per_source,
            authenticated: 0,
            authenticated_per_source: 0,
            first_byte: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            response: Some(Duration::from_secs(20)),
            exchange: Some(Duration::from_secs(20)),
            age: None,
            head: HEAD,
            bodies: BODIES,
            request: REQUEST,
        }
    }

    /// Limits for clients on the same machine that run as the process's own user: requests may take any time and
    /// space.
    pub fn local() -> Self {
        Self {
            response: None,
            exchange: None,
            anonymous_per_source: 10_000,
            head: 512 << 10,
            bodies: usize::MAX,
            request: 0,
            ..Self::default()
        }
    }

    /// The shortest of the time limits.
    pub fn shortest(&self) -> Duration {
        let always = [self.first_byte, self.handshake, self.first_request, self.idle];
        let shortest = always.into_iter().chain(self.response).chain(self.exchange).min();
        shortest.unwrap_or(self.first_byte)
    }

    /// Lowers the limits on connections for a process that may open this many files and has other listeners too.
    #[must_use]
    pub fn within(self, open_files: usize) -> Self {
        let (anonymous, authenticated) = ((open_files / 8).max(1), (open_files / 4).max(1));
        Self {
            anonymous: self.anonymous.min(anonymous),
            authenticated: self.authenticated.min(authenticated),
            ..self
        }
    }
}

/// Number of a connection.
pub type Id = u64;

/// The open connections of a listener.
#[derive(Debug)]
pub struct Connections {
    limits: Limits,
    entries: BTreeMap<Id, Entry>,
    anonymous: Pool,
    authenticated: Pool,
    next: Id,
}

/// Connections that share a limit.
#[derive(Debug, Default)]
struct Pool {
    all: Queue,
    sources: BTreeMap<IpAddr, Queue>,
    /// Bytes of their buffered bodies.
    buffered: usize,
}

/// Connections in the order in which they are closed when a limit is reached.
type Queue = BTreeSet<Rank>;

/// A connection's place in a queue: its phase, since when it has been in it, and its number.
type Rank = (Phase, Instant, Id);

#[derive(Debug)]
struct Entry {
    source: IpAddr,
    authenticated: bool,
    phase: Phase,
    /// Since when it has been in this phase.
    since: Instant,
    /// When the peer's certificate expires.
    expires: Option<SystemTime>,
    /// The active requests.
    exchanges: BTreeMap<u64, Exchange>,
    next_exchange: u64,
}

/// An active request.
#[derive(Debug)]
struct Exchange {
    began: Instant,
    /// Whether its response has begun.
    responded: bool,
    /// Buffered bytes: of the request's body until the response begins, then of the response's body.
    buffered: usize,
}

/// The progress of a connection, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// No byte has arrived.
    Silent,
    /// Bytes have arrived, but the handshake is not finished.
    Handshaking,
    /// The handshake is finished; no request has arrived.
    Waiting,
    /// Earlier requests have ended; none is active.
    Idle,
    /// A request is active; no response has begun.
    Pending,
    /// A response has begun.
    Responding,
}

/// Why the listener closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// No byte arrived in time.
    #[error("no byte arrived in time")]
    Silent,
    /// The handshake took too long.
    #[error("the handshake took too long")]
    Handshake,
    /// No request arrived in time.
    #[error("no request arrived in time")]
    NoRequest,
    /// No further request arrived in time.
    #[error("idle timeout")]
    Idle,
    /// A request took too long.
    #[error("a request took too long")]
    Slow,
    /// The peer's certificate has expired.
    #[error("the peer's certificate has expired")]
    Expired,
    /// The peer's certificate does not verify against the current roots.
    #[error("the peer's certificate is not trusted by the current roots")]
    Untrusted,
    /// It was closed to admit another connection.
    #[error("closed to admit another connection")]
    Room,
    /// The limit on buffered bodies was exceeded, and this connection had the most.
    #[error("too many bytes of request and response bodies are buffered")]
    Bodies,
}

/// The decision about an incoming connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is admitted.
    Free(Id),
    /// It is admitted, and the second connection must be closed.
    Taken(Id, Id),
    /// It is refused.
    None,
}

impl Connections {
    /// No connections.
    pub fn new(limits: Limits) -> Self {
        let (anonymous, authenticated) = (Pool::default(), Pool::default());
        Self { limits, entries: BTreeMap::new(), anonymous, authenticated, next: 0 }
    }

    /// Number of open connections.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Admits an incoming connection, which is anonymous and silent at first.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Admission {
        let source = network(address);
        let room = self.anonymous.room(source, self.limits.anonymous, self.limits.anonymous_per_source);
        let Ok(victim) = room else { return Admission::None };
        if let Some(victim) = victim {
            self.remove(victim);
        }
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            source,
            authenticated: false,
            phase: Phase::Silent,
            since: now,
            expires: None,
            exchanges: BTreeMap::new(),
            next_exchange: 0,
        };
        self.anonymous.insert(source, (entry.phase, now, id));
        self.entries.insert(id, entry);
        victim.map_or(Admission::Free(id), |victim| Admission::Taken(id, victim))
    }

    /// Notes the first byte of a connection. `handshake_first`: the connection begins with a TLS handshake.
    pub fn first_byte(&mut self, id: Id, handshake_first: bool) {
        let phase = if handshake_first { Phase::Handshaking } else { Phase::Waiting };
        if let Some(since) = self.entries.get(&id).filter(|entry| entry.phase < phase).map(|e| e.since) {
            // The limits count from the beginning, so that a client gains nothing by sending a byte now and then.
            self.enter(id, phase, since);
        }
    }

    /// Notes the end of a handshake. `authenticated`: the peer has proven an identity; `expires`: when its certificate
    /// expires. Returns a connection that must be closed, if any: another one, or this one if all authenticated
    /// connections are busy.
    pub fn handshake_done(
        &mut self,
        id: Id,
        authenticated: bool,
        expires: Option<SystemTime>,
        now: Instant,
    ) -> Option<Id> {
        let source = self.entries.get(&id)?.source;
        let mut victim = None;
        if authenticated {
            match self.authenticated.room(
                source,
                self.limits.authenticated,
                self.limits.authenticated_per_source,
            ) {
                Ok(found) => victim = found,
                Err(NoRoom) => {
                    self.remove(id);
                    return Some(id);
                }
            }
            if let Some(victim) = victim {
                self.remove(victim);
            }
        }
        let entry = self.entries.get_mut(&id)?;
        self.anonymous.remove(source, (entry.phase, entry.since, id));
        entry.authenticated = authenticated;
        entry.expires = expires;
        entry.phase = Phase::Waiting;
        entry.since = now;
        let pool = if authenticated { &mut self.authenticated } else { &mut self.anonymous };
        pool.insert(source, (Phase::Waiting, now, id));
        victim
    }

    /// Notes the headers of a request. Returns the request's number on the connection.
    pub fn began(&mut self, id: Id, now: Instant) -> u64 {
        let Some(entry) = self.entries.get_mut(&id) else { return 0 };
        let number = entry.next_exchange;
        entry.next_exchange += 1;
        let pool = if entry.authenticated { &mut self.authenticated } else { &mut self.anonymous };
        let buffered = if entry.authenticated { 0 } else { self.limits.request };
        pool.buffered += buffered;
        entry.exchanges.insert(number, Exchange { began: now, responded: false, buffered });
        self.update_phase(id, now);
        number
    }

    /// Counts bytes of a request's body, which are buffered until its response begins. Returns a connection that must
    /// be closed, if any.
    pub fn received(&mut self, id: Id, exchange: u64, bytes: usize) -> Option<Id> {
        let entry = self.entries.get_mut(&id)?;
        let exchange = entry.exchanges.get_mut(&exchange).filter(|exchange| !exchange.responded)?;
        exchange.buffered = exchange.buffered.saturating_add(bytes);
        let authenticated = entry.authenticated;
        self.buffer(authenticated, 0, bytes, false)
    }

    /// Counts buffered bytes of a pool. Returns a connection that must be closed, if any. A response that alone
    /// exceeds the limit is admitted while everything else fits: it exists already, and a large page could otherwise
    /// never be sent.
    fn buffer(&mut self, authenticated: bool, before: usize, bytes: usize, is_response: bool) -> Option<Id> {
        let pool = if authenticated { &mut self.authenticated } else { &mut self.anonymous };
        let others = pool.buffered.saturating_sub(before);
        pool.buffered = others.saturating_add(bytes);
        let fits = pool.buffered <= self.limits.bodies || (is_response && others <= self.limits.bodies);
        if bytes == 0 || fits {
            return None;
        }
        let victim = self.largest_buffer(authenticated)?;
        self.remove(victim);
        Some(victim)
    }

    /// Notes that the response to a request has begun, with this many buffered bytes of its body. Returns a connection
    /// that must be closed, if any.
    pub fn responded(&mut self, id: Id, exchange: u64, bytes: usize, now: Instant) -> Option<Id> {
        let entry = self.entries.get_mut(&id)?;
        let exchange = entry.exchanges.get_mut(&exchange)?;
        exchange.responded = true;
        let after = if entry.authenticated { bytes } else { bytes.saturating_add(self.limits.request) };
        let (authenticated, before) = (entry.authenticated, std::mem::replace(&mut exchange.buffered, after));
        self.update_phase(id, now);
        self.buffer(authenticated, before, after, true)
    }

    /// Notes the end of a response.
    pub fn ended(&mut self, id: Id, exchange: u64, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = if entry.authenticated { &mut self.authenticated } else { &mut self.anonymous };
        let buffered = entry.exchanges.remove(&exchange).map_or(0, |exchange| exchange.buffered);
        pool.buffered = pool.buffered.saturating_sub(buffered);
        self.update_phase(id, now);
    }

    /// Removes a connection.
    pub fn remove(&mut self, id: Id) {
        if let Some(entry) = self.entries.remove(&id) {
            let pool = if entry.authenticated { &mut self.authenticated } else { &mut self.anonymous };
            pool.buffered = pool.buffered.saturating_sub(entry.buffered());
            pool.remove(entry.source, (entry.phase, entry.since, id));
        }
    }

    /// The connection with the most buffered bytes, of the source with the most. So a client that sends little is not
    /// closed because of others, however many connections they have.
    fn largest_buffer(&self, authenticated: bool) -> Option<Id> {
        let holders = || self.entries.iter().filter(|(_, entry)| entry.authenticated == authenticated);
        let mut sources: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (_, entry) in holders() {
            *sources.entry(entry.source).or_default() += entry.buffered();
        }
        let (source, _) = sources.into_iter().max_by_key(|(_, buffered)| *buffered)?;
        let own = holders().filter(|(_, entry)| entry.source == source);
        own.max_by_key(|(_, entry)| entry.buffered()).map(|(id, _)| *id)
    }

    /// Removes and returns a connection to close when the process has no file descriptor left.
    pub fn evict(&mut self) -> Option<Id> {
        let id = self.anonymous.victim().or_else(|| self.authenticated.victim())?;
        self.remove(id);
        Some(id)
    }

    /// Removes and returns the connections whose time limits have passed, and when to check again: no later than any
    /// limit that begins in the meantime can pass.
    pub fn due(&mut self, now: Instant, wall: SystemTime) -> (Vec<(Id, CloseReason)>, Option<Instant>) {
        let mut expired = vec![];
        let mut next: Option<Instant> = None;
        for (id, entry) in &self.entries {
            let (limit, reason) = entry.limit(&self.limits);
            if entry.expires.is_some_and(|end| end <= wall) {
                expired.push((*id, CloseReason::Expired));
            } else if limit.is_some_and(|limit| limit <= now) {
                expired.push((*id, reason));
            } else {
                // The wall clock may be set meanwhile, so expiry is checked at least every `LOOK_AGAIN`.
                let end = entry.expires.map(|end| now + left(end, wall).min(LOOK_AGAIN));
                next = [next, limit, end].into_iter().flatten().min();
            }
        }
        for (id, _) in &expired {
            self.remove(*id);
        }
        let soon = (!self.entries.is_empty()).then(|| now + self.limits.shortest().min(LOOK_AGAIN));
        (expired, [next, soon].into_iter().flatten().min())
    }

    /// Derives the phase from the active requests.
    fn update_phase(&mut self, id: Id, now: Instant) {
        let Some(entry) = self.entries.get(&id) else { return };
        let phase = if entry.exchanges.is_empty() {
            Phase::Idle
        } else if entry.exchanges.values().any(|exchange| exchange.responded) {
            Phase::Responding
        } else {
            Phase::Pending
        };
        self.enter(id, phase, now);
    }

    fn enter(&mut self, id: Id, phase: Phase, since: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = if entry.authenticated { &mut self.authenticated } else { &mut self.anonymous };
        pool.remove(entry.source, (entry.phase, entry.since, id));
        (entry.phase, entry.since) = (phase, since);
        pool.insert(entry.source, (phase, since, id));
    }
}

impl Entry {
    /// Buffered bytes of its requests and responses.
    fn buffered(&self) -> usize {
        self.exchanges.values().map(|exchange| exchange.buffered).sum()
    }

    /// When the connection is closed unless it makes progress, and why.
    fn limit(&self, limits: &Limits) -> (Option<Instant>, CloseReason) {
        match self.phase {
            Phase::Silent => (Some(self.since + limits.first_byte), CloseReason::Silent),
            Phase::Handshaking => (Some(self.since + limits.handshake), CloseReason::Handshake),
            Phase::Waiting if !self.authenticated => {
                (Some(self.since + limits.first_request), CloseReason::NoRequest)
            }
            Phase::Waiting | Phase::Idle => (Some(self.since + limits.idle), CloseReason::Idle),
            Phase::Pending | Phase::Responding => {
                let ends = self.exchanges.values().filter_map(|exchange| {
                    let response = limits.response.filter(|_| !exchange.responded);
                    [response, limits.exchange]
                        .into_iter()
                        .flatten()
                        .min()
                        .map(|limit| exchange.began + limit)
                });
                (ends.min(), CloseReason::Slow)
            }
        }
    }
}

/// No connection may be closed: a response has begun on all of them.
struct NoRoom;

impl Pool {
    /// The connection that must be closed to admit one more of this source, if any.
    fn room(&self, source: IpAddr, most: usize, per_source: usize) -> Result<Option<Id>, NoRoom> {
        if let Some(own) = self.sources.get(&source).filter(|own| own.len() >= per_source) {
            return victim(own).map(Some).ok_or(NoRoom);
        }
        if self.all.len() >= most {
            return self.victim().map(Some).ok_or(NoRoom);
        }
        Ok(None)
    }

    fn victim(&self) -> Option<Id> {
        victim(&self.all)
    }

    fn insert(&mut self, source: IpAddr, rank: Rank) {
        self.all.insert(rank);
        self.sources.entry(source).or_default().insert(rank);
    }

    fn remove(&mut self, source: IpAddr, rank: Rank) {
        self.all.remove(&rank);
        if let Some(own) = self.sources.get_mut(&source) {
            own.remove(&rank);
            if own.is_empty() {
                self.sources.remove(&source);
            }
        }
    }
}

fn victim(queue: &Queue) -> Option<Id> {
    queue.first().filter(|(phase, ..)| *phase < Phase::Responding).map(|(.., id)| *id)
}

/// The source of an address. An IPv6 client usually has a whole /64 network, which counts as one source.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

fn left(end: SystemTime, wall: SystemTime) -> Duration {
    end.duration_since(wall).unwrap_or_default()
}

const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Requests here have few headers; a token takes most of what they have.
const HEAD: usize = 32 << 10;
const BODIES: usize = 64 << 20;
/// The state of a stream and of its handler.
const REQUEST: usize = 4 << 10;

#[cfg(test)]
mod tests;
