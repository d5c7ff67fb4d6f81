//! Pure. Data of a request or connection for rarely used log operators, gathered only where a log uses them.

use super::certificate::Certificate;
use super::tls::Session;
use api::format::operator::Point;
use api::model::listener::FilterChain;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Data for rarely used log operators.
#[derive(Debug, Clone)]
pub struct Extra {
    /// The number of the client's connection.
    pub connection: u64,
    /// The proxy's address on the client's connection.
    pub direct_local: SocketAddr,
    /// The filter chain of the connection.
    pub chain: Arc<FilterChain>,
    /// A UUID.
    pub unique: u128,
    /// The client's certificate, and the proxy's own towards the client.
    pub certificates: Option<Rc<Certificates>>,
    /// Time from the start of the connection to the end of the client's TLS handshake.
    pub handshake: Option<Duration>,
    /// The endpoints that were tried, in order.
    pub attempted: Vec<Attempted>,
    /// The connection to the endpoint.
    pub upstream: Option<Rc<Opened>>,
    /// Time until that connection was available.
    pub pool_ready: Option<Duration>,
    /// Bytes of header names and values of the request.
    pub request_head: u64,
    /// Bytes of header names and values of the response.
    pub response_head: u64,
    /// Bytes of names and values of the response trailers.
    pub trailers: u64,
    start: Instant,
    points: [Option<Instant>; POINTS],
}

/// Certificates of a client's connection.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// The client's.
    pub peer: Option<Certificate>,
    /// The proxy's.
    pub local: Option<Certificate>,
}

/// An endpoint that was tried.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// Its address.
    pub address: SocketAddr,
    /// Its hostname, if it has one.
    pub name: Option<Box<str>>,
    /// The number of the connection to it, if one was made.
    pub connection: Option<u64>,
}

/// Facts about a connection to an endpoint.
#[derive(Debug)]
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// When dialling began.
    pub began: Instant,
    /// When TCP was connected.
    pub connected: Instant,
    /// The TLS handshake, if there was one.
    pub secured: Option<Secured>,
    /// The endpoint's certificate, parsed when a log first uses it.
    certificate: OnceCell<Option<Box<Certificate>>>,
}

/// A TLS handshake with an endpoint.
#[derive(Debug)]
pub struct Secured {
    /// When it was complete.
    pub at: Instant,
    /// TLS version and cipher.
    pub session: Option<Session>,
    /// The server name that the proxy sent.
    pub server_name: Option<Box<str>>,
    /// The endpoint's certificates, leaf first.
    pub shown: Box<[Box<[u8]>]>,
}

impl Opened {
    /// A connection without TLS.
    pub fn new(number: u64, began: Instant, connected: Instant) -> Self {
        Self { number, began, connected, secured: None, certificate: OnceCell::new() }
    }

    /// The endpoint's certificate.
    pub fn certificate(&self) -> Option<&Certificate> {
        let shown =
            || self.secured.as_ref().and_then(|secured| Certificate::of(&secured.shown)).map(Box::new);
        self.certificate.get_or_init(shown).as_deref()
    }
}

impl Extra {
    /// The data known when a request or connection begins.
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

    /// Records the time of an event, replacing an earlier one.
    pub fn mark(&mut self, point: Point, now: Instant) {
        self.points[point as usize] = Some(now);
    }

    /// Records the time of an event, unless it is recorded already.
    pub fn mark_first(&mut self, point: Point, now: Instant) {
        self.points[point as usize].get_or_insert(now);
    }

    /// Records that the endpoint tried last has a connection, which was available after `took`.
    pub fn leased(&mut self, opened: &Rc<Opened>, took: Duration) {
        if let Some(last) = self.attempted.last_mut() {
            last.connection = Some(opened.number);
        }
        self.upstream = Some(opened.clone());
        self.pool_ready = Some(took);
    }

    /// Records when the request was sent: when its last byte arrived or, if that was earlier, when sending began.
    pub fn mark_sent(&mut self, ended: Instant) {
        if let Some(began) = self.points[Point::SendBegins as usize] {
            self.mark(Point::SendEnds, ended.max(began));
        }
    }

    /// The hostname of the endpoint tried last, if it has this address.
    pub fn host_name(&self, address: SocketAddr) -> Option<&str> {
        self.attempted.last().filter(|last| last.address == address)?.name.as_deref()
    }

    /// Whether any attempt had a connection: logs show no others.
    pub fn has_attempted(&self) -> bool {
        self.attempted.iter().any(|one| one.connection.is_some())
    }

    /// Nanoseconds from the start to an event. May be negative for events of the endpoint's connection.
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
            | Point::UpstreamResponseBegins
            | Point::UpstreamBodyBegins
            | Point::UpstreamResponseEnds
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
