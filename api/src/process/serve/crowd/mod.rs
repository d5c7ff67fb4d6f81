//! Pure. The open connections of a listener: how many there may be, how long each may take to say something, and which
//! one makes room when all places are taken.
//!
//! A connection without a verified identity is a stranger. Strangers and known peers have places of their own, so that
//! no number of strangers keeps a known peer out. When the places are taken, the connection that has shown least for
//! the longest time is closed: silent ones first, then those that never completed a handshake, then those that never
//! sent a request, then idle ones, then those whose request is not answered yet. A connection that is being served is
//! never closed to make room. What requests hold before they are answered is bounded in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime};

/// How many connections a listener keeps, and how long it waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections without a verified identity.
    pub strangers: usize,
    /// The same from one source address (IPv6: from one /64 network).
    pub strangers_per_source: usize,
    /// Connections with a verified identity.
    pub known: usize,
    /// The same from one source address.
    pub known_per_source: usize,
    /// From the beginning to the first byte.
    pub first_byte: Duration,
    /// From the beginning to the end of the TLS handshake, however steadily its bytes come.
    pub handshake: Duration,
    /// From the handshake (plaintext: from the beginning) to the end of the first request's headers. A known peer may
    /// take as long as between two requests.
    pub first_request: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From a request's headers to those of its response; this includes the request's body where the handler waits for
    /// it.
    pub response: Option<Duration>,
    /// From a request's headers to the end of the response's body. `None` where streams last.
    pub exchange: Option<Duration>,
    /// Bytes of an HTTP/1 request's head.
    pub head: usize,
    /// Bytes of bodies that are held, of requests until they are answered and of responses until they are sent: for all
    /// strangers together, and for all known peers. Beyond it, the connection is closed for which most is held, of the
    /// source for which most is held.
    pub bodies: usize,
    /// What a stranger's request counts among them beside its body.
    pub request: usize,
}

impl Default for Limits {
    /// For servers of the control plane.
    fn default() -> Self {
        Self {
            strangers: 10_000,
            strangers_per_source: 1_000,
            known: 10_000,
            // Many clients may be behind one address; still no address takes all places.
            known_per_source: 5_000,
            first_byte: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            response: Some(Duration::from_secs(60)),
            exchange: None,
            head: HEAD,
            bodies: BODIES,
            request: REQUEST,
        }
    }
}

impl Limits {
    /// For pages: whatever is asked for has an end.
    pub fn pages() -> Self {
        // A probe of the application may take as long as its manifest says.
        let (response, exchange) = (Some(Duration::from_secs(300)), Some(Duration::from_secs(600)));
        Self { response, exchange, ..Self::default() }
    }

    /// For listeners whose callers have no identities: so many in all and from one source, each soon done.
    pub const fn anonymous(strangers: usize, strangers_per_source: usize) -> Self {
        Self {
            strangers,
            strangers_per_source,
            known: 0,
            known_per_source: 0,
            first_byte: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            response: Some(Duration::from_secs(20)),
            exchange: Some(Duration::from_secs(20)),
            head: HEAD,
            bodies: BODIES,
            request: REQUEST,
        }
    }

    /// For callers on the same machine that are the process's own user: their requests may take any time and space.
    pub fn local() -> Self {
        Self {
            response: None,
            exchange: None,
            strangers_per_source: 10_000,
            head: 512 << 10,
            bodies: usize::MAX,
            request: 0,
            ..Self::default()
        }
    }

    /// The shortest time that a connection may have.
    pub fn shortest(&self) -> Duration {
        let always = [self.first_byte, self.handshake, self.first_request, self.idle];
        let shortest = always.into_iter().chain(self.response).chain(self.exchange).min();
        shortest.unwrap_or(self.first_byte)
    }

    /// The same with no more connections than a process with so many open files can serve beside other listeners.
    #[must_use]
    pub fn within(self, open_files: usize) -> Self {
        let (strangers, known) = ((open_files / 8).max(1), (open_files / 4).max(1));
        Self { strangers: self.strangers.min(strangers), known: self.known.min(known), ..self }
    }
}

/// Number of a connection.
pub type Id = u64;

/// The open connections of a listener.
#[derive(Debug)]
pub struct Crowd {
    limits: Limits,
    entries: BTreeMap<Id, Entry>,
    strangers: Pool,
    known: Pool,
    next: Id,
}

/// Connections that share places.
#[derive(Debug, Default)]
struct Pool {
    all: Queue,
    sources: BTreeMap<IpAddr, Queue>,
    /// Bytes of bodies that are held for them.
    held: usize,
}

/// Connections in the order in which they make room.
type Queue = BTreeSet<Rank>;

/// How little a connection has shown, since when.
type Rank = (Phase, Instant, Id);

#[derive(Debug)]
struct Entry {
    source: IpAddr,
    known: bool,
    phase: Phase,
    /// Since when it has been in this phase.
    since: Instant,
    /// When the certificate of the peer ends.
    expires: Option<SystemTime>,
    /// The requests that are under way.
    exchanges: BTreeMap<u64, Asked>,
    next_exchange: u64,
}

/// A request that is under way.
#[derive(Debug)]
struct Asked {
    began: Instant,
    /// Its response has begun.
    answered: bool,
    /// Bytes of its body that have come before that, then those of the response.
    held: usize,
}

/// What a connection has shown so far, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Nothing.
    Silent,
    /// Bytes, but no finished handshake.
    Greeting,
    /// A finished handshake, but no request.
    Waiting,
    /// A request, which is over; nothing is under way.
    Idle,
    /// A request that is not answered.
    Asking,
    /// A request that is being answered.
    Served,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No first byte came in time.
    #[error("it sent nothing")]
    Silent,
    /// The handshake took too long.
    #[error("its handshake took too long")]
    Handshake,
    /// No request came in time.
    #[error("it sent no request")]
    NoRequest,
    /// No further request came in time.
    #[error("it was idle")]
    Idle,
    /// A request took too long.
    #[error("a request of it took too long")]
    Slow,
    /// The peer's certificate has ended.
    #[error("the certificate of its peer has expired")]
    Expired,
    /// The peer's certificate does not verify any more.
    #[error("the certificate of its peer is not trusted any more")]
    Untrusted,
    /// Another needed the place.
    #[error("it made room for another")]
    Room,
    /// Bodies took too much, and it had most of them.
    #[error("its requests and responses take too much")]
    Bodies,
}

/// What becomes of a connection that wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has one.
    Free(Id),
    /// It has that of another, which is to be closed.
    Taken(Id, Id),
    /// There is none.
    None,
}

impl Crowd {
    /// Nobody is there.
    pub fn new(limits: Limits) -> Self {
        let (strangers, known) = (Pool::default(), Pool::default());
        Self { limits, entries: BTreeMap::new(), strangers, known, next: 0 }
    }

    /// Number of open connections.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A connection comes in. It is a stranger that has said nothing.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Place {
        let source = network(address);
        let room = self.strangers.room(source, self.limits.strangers, self.limits.strangers_per_source);
        let Ok(victim) = room else { return Place::None };
        if let Some(victim) = victim {
            self.remove(victim);
        }
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            source,
            known: false,
            phase: Phase::Silent,
            since: now,
            expires: None,
            exchanges: BTreeMap::new(),
            next_exchange: 0,
        };
        self.strangers.insert(source, (entry.phase, now, id));
        self.entries.insert(id, entry);
        victim.map_or(Place::Free(id), |victim| Place::Taken(id, victim))
    }

    /// The first byte has come. `greets`: what comes first is a handshake.
    pub fn spoke(&mut self, id: Id, greets: bool) {
        let phase = if greets { Phase::Greeting } else { Phase::Waiting };
        if let Some(since) = self.entries.get(&id).filter(|entry| entry.phase < phase).map(|e| e.since) {
            // The limits count from the beginning, so that a byte now and then gains nothing.
            self.enter(id, phase, since);
        }
    }

    /// The handshake is over. `known`: the peer has proven an identity; `expires`: until when it holds. Another
    /// connection may have to be closed for it, or, where there is no place for one more known peer, this one.
    pub fn greeted(&mut self, id: Id, known: bool, expires: Option<SystemTime>, now: Instant) -> Option<Id> {
        let source = self.entries.get(&id)?.source;
        let mut victim = None;
        if known {
            match self.known.room(source, self.limits.known, self.limits.known_per_source) {
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
        self.strangers.remove(source, (entry.phase, entry.since, id));
        entry.known = known;
        entry.expires = expires;
        entry.phase = Phase::Waiting;
        entry.since = now;
        let pool = if known { &mut self.known } else { &mut self.strangers };
        pool.insert(source, (Phase::Waiting, now, id));
        victim
    }

    /// The headers of a request have come; its number among those of the connection.
    pub fn began(&mut self, id: Id, now: Instant) -> u64 {
        let Some(entry) = self.entries.get_mut(&id) else { return 0 };
        let number = entry.next_exchange;
        entry.next_exchange += 1;
        let pool = if entry.known { &mut self.known } else { &mut self.strangers };
        let held = if entry.known { 0 } else { self.limits.request };
        pool.held += held;
        entry.exchanges.insert(number, Asked { began: now, answered: false, held });
        self.settle(id, now);
        number
    }

    /// Bytes of a request's body have come, which are held until it is answered. Gives back the connection that has to
    /// be closed for their sake.
    pub fn took(&mut self, id: Id, exchange: u64, bytes: usize) -> Option<Id> {
        let entry = self.entries.get_mut(&id)?;
        let asked = entry.exchanges.get_mut(&exchange).filter(|asked| !asked.answered)?;
        asked.held = asked.held.saturating_add(bytes);
        let known = entry.known;
        self.hold(known, 0, bytes, false)
    }

    /// Counts bytes of a pool; the connection that has to be closed for their sake. A response that alone exceeds the
    /// limit passes while everything else fits: it is made already, and one page too large would never be seen.
    fn hold(&mut self, known: bool, before: usize, bytes: usize, is_response: bool) -> Option<Id> {
        let pool = if known { &mut self.known } else { &mut self.strangers };
        let others = pool.held.saturating_sub(before);
        pool.held = others.saturating_add(bytes);
        let fits = pool.held <= self.limits.bodies || (is_response && others <= self.limits.bodies);
        if bytes == 0 || fits {
            return None;
        }
        let victim = self.holding_most(known)?;
        self.remove(victim);
        Some(victim)
    }

    /// The response to a request has begun; so much of its body is known and held until it is sent. Gives back the
    /// connection that has to be closed for its sake.
    pub fn answered(&mut self, id: Id, exchange: u64, bytes: usize, now: Instant) -> Option<Id> {
        let entry = self.entries.get_mut(&id)?;
        let asked = entry.exchanges.get_mut(&exchange)?;
        asked.answered = true;
        let after = if entry.known { bytes } else { bytes.saturating_add(self.limits.request) };
        let (known, before) = (entry.known, std::mem::replace(&mut asked.held, after));
        self.settle(id, now);
        self.hold(known, before, after, true)
    }

    /// A request and its response are over.
    pub fn ended(&mut self, id: Id, exchange: u64, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = if entry.known { &mut self.known } else { &mut self.strangers };
        let held = entry.exchanges.remove(&exchange).map_or(0, |asked| asked.held);
        pool.held = pool.held.saturating_sub(held);
        self.settle(id, now);
    }

    /// A connection is over.
    pub fn remove(&mut self, id: Id) {
        if let Some(entry) = self.entries.remove(&id) {
            let pool = if entry.known { &mut self.known } else { &mut self.strangers };
            pool.held = pool.held.saturating_sub(entry.held());
            pool.remove(entry.source, (entry.phase, entry.since, id));
        }
    }

    /// The connection that holds most bytes, of the source that holds most: whoever sends a little is not closed for the
    /// sake of others, however many connections they have.
    fn holding_most(&self, known: bool) -> Option<Id> {
        let holders = || self.entries.iter().filter(|(_, entry)| entry.known == known);
        let mut sources: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (_, entry) in holders() {
            *sources.entry(entry.source).or_default() += entry.held();
        }
        let (source, _) = sources.into_iter().max_by_key(|(_, held)| *held)?;
        let own = holders().filter(|(_, entry)| entry.source == source);
        own.max_by_key(|(_, entry)| entry.held()).map(|(id, _)| *id)
    }

    /// The connection that makes room when the process has none left for another.
    pub fn evict(&mut self) -> Option<Id> {
        let id = self.strangers.victim().or_else(|| self.known.victim())?;
        self.remove(id);
        Some(id)
    }

    /// Takes out the connections whose time is up, and says when to look again: no later than any limit that begins
    /// meanwhile can end.
    pub fn due(&mut self, now: Instant, wall: SystemTime) -> (Vec<(Id, Why)>, Option<Instant>) {
        let mut over = vec![];
        let mut next: Option<Instant> = None;
        for (id, entry) in &self.entries {
            let (limit, why) = entry.limit(&self.limits);
            if entry.expires.is_some_and(|end| end <= wall) {
                over.push((*id, Why::Expired));
            } else if limit.is_some_and(|limit| limit <= now) {
                over.push((*id, why));
            } else {
                // A clock that is set is noticed with the next look.
                let end = entry.expires.map(|end| now + left(end, wall).min(LOOK_AGAIN));
                next = [next, limit, end].into_iter().flatten().min();
            }
        }
        for (id, _) in &over {
            self.remove(*id);
        }
        let soon = (!self.entries.is_empty()).then(|| now + self.limits.shortest().min(LOOK_AGAIN));
        (over, [next, soon].into_iter().flatten().min())
    }

    /// Finds the phase from the requests that are under way.
    fn settle(&mut self, id: Id, now: Instant) {
        let Some(entry) = self.entries.get(&id) else { return };
        let phase = if entry.exchanges.is_empty() {
            Phase::Idle
        } else if entry.exchanges.values().any(|asked| asked.answered) {
            Phase::Served
        } else {
            Phase::Asking
        };
        self.enter(id, phase, now);
    }

    fn enter(&mut self, id: Id, phase: Phase, since: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = if entry.known { &mut self.known } else { &mut self.strangers };
        pool.remove(entry.source, (entry.phase, entry.since, id));
        (entry.phase, entry.since) = (phase, since);
        pool.insert(entry.source, (phase, since, id));
    }
}

impl Entry {
    /// Bytes that its requests hold.
    fn held(&self) -> usize {
        self.exchanges.values().map(|asked| asked.held).sum()
    }

    /// When the connection is closed if nothing changes, and why.
    fn limit(&self, limits: &Limits) -> (Option<Instant>, Why) {
        match self.phase {
            Phase::Silent => (Some(self.since + limits.first_byte), Why::Silent),
            Phase::Greeting => (Some(self.since + limits.handshake), Why::Handshake),
            Phase::Waiting if !self.known => (Some(self.since + limits.first_request), Why::NoRequest),
            Phase::Waiting | Phase::Idle => (Some(self.since + limits.idle), Why::Idle),
            Phase::Asking | Phase::Served => {
                let ends = self.exchanges.values().filter_map(|asked| {
                    let response = limits.response.filter(|_| !asked.answered);
                    [response, limits.exchange].into_iter().flatten().min().map(|limit| asked.began + limit)
                });
                (ends.min(), Why::Slow)
            }
        }
    }
}

/// All places are taken by connections that are being served.
struct NoRoom;

impl Pool {
    /// The connection that makes room for one more of this source, if one has to.
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
    queue.first().filter(|(phase, ..)| *phase < Phase::Served).map(|(.., id)| *id)
}

/// What counts as one source: who has an IPv6 address usually has its whole /64 network.
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
