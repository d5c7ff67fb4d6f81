//! Pure. What few logs name of a request or connection, gathered only where one does.

use super::certificate::Certificate;
use super::tls::Session;
use api::format::operator::{self, Point};
use api::model::listener::FilterChain;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What few logs name.
#[derive(Debug, Clone)]
pub struct Extra {
    /// The number of the client's connection.
    pub connection: u64,
    /// Our address towards the client.
    pub direct_local: SocketAddr,
    /// The filter chain that took the connection.
    pub chain: Arc<FilterChain>,
    /// A number that nothing else has.
    pub unique: u128,
    /// The client's certificate, and ours towards the client.
    pub certificates: Option<Rc<Certificates>>,
    /// How long the client's TLS handshake took, from the connection's beginning.
    pub handshake: Option<Duration>,
    /// The endpoints that were tried, in order.
    pub attempted: Vec<Attempted>,
    /// The connection to the endpoint.
    pub upstream: Option<Rc<Opened>>,
    /// Until it was there.
    pub pool_ready: Option<Duration>,
    /// Bytes of names and values in the head of the request.
    pub request_head: u64,
    /// In the head of the response.
    pub response_head: u64,
    /// In the trailers of the response.
    pub trailers: u64,
    start: Instant,
    points: [Option<Instant>; POINTS],
}

/// Certificates of a client's connection.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// The client's.
    pub peer: Option<Certificate>,
    /// Ours.
    pub local: Option<Certificate>,
}

/// An endpoint that was tried.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// Its address.
    pub address: SocketAddr,
    /// Its name, where it has one.
    pub name: Option<Box<str>>,
    /// The number of the connection, if there was one.
    pub connection: Option<u64>,
}

/// A connection to an endpoint, as it was made.
#[derive(Debug)]
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// When it was asked for.
    pub began: Instant,
    /// When it was there.
    pub connected: Instant,
    /// How TLS went.
    pub secured: Option<Secured>,
    /// What the endpoint's certificate says, once a log has asked.
    certificate: OnceCell<Option<Box<Certificate>>>,
}

/// A TLS handshake with an endpoint.
#[derive(Debug)]
pub struct Secured {
    /// When it was made.
    pub at: Instant,
    /// How the connection is encrypted.
    pub session: Option<Session>,
    /// The name that was asked for.
    pub server_name: Option<Box<str>>,
    /// What the endpoint showed, leaf first.
    pub shown: Box<[Box<[u8]>]>,
}

impl Opened {
    /// A connection without TLS.
    pub fn new(number: u64, began: Instant, connected: Instant) -> Self {
        Self { number, began, connected, secured: None, certificate: OnceCell::new() }
    }

    /// What the endpoint's certificate says.
    pub fn certificate(&self) -> Option<&Certificate> {
        let shown =
            || self.secured.as_ref().and_then(|secured| Certificate::of(&secured.shown)).map(Box::new);
        self.certificate.get_or_init(shown).as_deref()
    }
}

impl Extra {
    /// What is known when a request or connection begins.
    pub fn new(start: Instant, connection: u64, direct_local: SocketAddr, chain: Arc<FilterChain>) -> Self {
        Self {
            connection,
            direct_local,
            chain,
            unique: 0,
            certificates: None,
            handshake: None,
            attempted: vec![],
            upstream: None,
            pool_ready: None,
            request_head: 0,
            response_head: 0,
            trailers: 0,
            start,
            points: [None; POINTS],
        }
    }

    /// Something happened for the last time so far.
    pub fn mark(&mut self, point: Point, now: Instant) {
        self.points[point as usize] = Some(now);
    }

    /// Something happened, perhaps not for the first time.
    pub fn mark_first(&mut self, point: Point, now: Instant) {
        self.points[point as usize].get_or_insert(now);
    }

    /// A connection to the endpoint that was chosen last was there after some time.
    pub fn leased(&mut self, opened: &Rc<Opened>, took: Duration) {
        if let Some(last) = self.attempted.last_mut() {
            last.connection = Some(opened.number);
        }
        self.upstream = Some(opened.clone());
        self.pool_ready = Some(took);
    }

    /// The request was sent when its last byte had come, or at once where that was before.
    pub fn mark_sent(&mut self, ended: Instant) {
        if let Some(began) = self.points[Point::SendBegins as usize] {
            self.mark(Point::SendEnds, ended.max(began));
        }
    }

    /// The name of the endpoint that was tried last.
    pub fn host_name(&self, address: SocketAddr) -> Option<&str> {
        self.attempted.last().filter(|last| last.address == address)?.name.as_deref()
    }

    /// Whether there is anything to tell of all attempts.
    pub fn has_attempted(&self, what: operator::Attempted) -> bool {
        match what {
            operator::Attempted::Hosts { .. } | operator::Attempted::Names { .. } => {
                !self.attempted.is_empty()
            }
            operator::Attempted::Connections => self.attempted.iter().any(|one| one.connection.is_some()),
        }
    }

    /// Nanoseconds from the beginning to a point; what belongs to the endpoint's connection may come before.
    pub fn nanos(&self, point: Point) -> Option<i128> {
        let opened = self.upstream.as_deref();
        let at = match point {
            Point::ConnectBegins => opened.map(|o| o.began),
            Point::ConnectEnds => opened.map(|o| o.connected),
            Point::Secured => opened.and_then(|o| o.secured.as_ref()).map(|secured| secured.at),
            Point::RequestBegins
            | Point::RequestEnds
            | Point::SendBegins
            | Point::SendEnds
            | Point::AnswerBegins
            | Point::AnswerBodyBegins
            | Point::AnswerEnds
            | Point::ResponseBegins
            | Point::ResponseEnds
            | Point::ConnectionBegins
            | Point::ConnectionEnds => self.points[point as usize],
        }?;
        let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        let after = nanos(at.saturating_duration_since(self.start));
        Some(after - nanos(self.start.saturating_duration_since(at)))
    }
}

const POINTS: usize = Point::ConnectionEnds as usize + 1;
