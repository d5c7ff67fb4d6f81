//! Pure. What the logs of a chain need from a request: headers by name, and facts that are collected only if a log
//! names them.

use api::format::operator::{CertificateOwner, Counted, End, Fact, Moment, Operator, Point, Side};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::{Array, SmallVec};

/// What one log captures. All logs of a chain store their headers in one shared row, one log after the other.
#[derive(Debug, Default)]
pub(super) struct Captures {
    pub(super) request: Captured,
    pub(super) response: Captured,
    pub(super) trailers: Captured,
    pub(super) needs: Needs,
}

/// The headers that a log captures.
#[derive(Debug, Default)]
pub(super) struct Captured {
    first: usize,
    names: Vec<HeaderName>,
}

/// What a log needs besides headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// A field of `flow::extra`.
    pub(super) extra: bool,
    /// A request ID, which a TCP connection must generate.
    pub(super) stream_id: bool,
    /// The certificates of the client's connection.
    pub(super) certificates: bool,
}

impl Captured {
    fn after(before: &Self) -> Self {
        Self { first: before.first + before.names.len(), names: vec![] }
    }

    /// Returns the position in the row at which a header's value is stored.
    pub(super) fn place(&mut self, name: HeaderName) -> usize {
        let known = self.names.iter().position(|known| *known == name);
        self.first
            + known.unwrap_or_else(|| {
                self.names.push(name);
                self.names.len() - 1
            })
    }
}

impl Captures {
    /// Creates the captures of a log that follows another one in the row.
    pub(super) fn after(before: Option<&Self>) -> Self {
        let Some(before) = before else { return Self::default() };
        Self {
            request: Captured::after(&before.request),
            response: Captured::after(&before.response),
            trailers: Captured::after(&before.trailers),
            needs: Needs::default(),
        }
    }
}

impl Captured {
    /// Appends the values of a head to the row.
    pub(super) fn keep<A: Array<Item = Option<HeaderValue>>>(
        &self,
        headers: &HeaderMap,
        row: &mut SmallVec<A>,
    ) {
        row.extend(self.names.iter().map(|name| headers.get(name).cloned()));
    }
}

impl Needs {
    /// Records the needs of an operator that is not a header.
    pub(super) fn note(&mut self, operator: &Operator) {
        let (extra, certificates) = match operator {
            Operator::UniqueId
            | Operator::PoolReady
            | Operator::Handshake
            | Operator::Attempted(_)
            | Operator::HostName { .. }
            | Operator::FilterChain
            | Operator::ConnectionId
            | Operator::UpstreamConnectionId
            | Operator::Bytes(
                Counted::RequestHeaders | Counted::ResponseHeaders | Counted::ResponseTrailers,
            )
            | Operator::Address(End::DirectLocal, _)
            | Operator::Tls(Side::Upstream, _)
            | Operator::Time(Moment::UpstreamFrom | Moment::UpstreamUntil, _)
            | Operator::Certificate(CertificateOwner::Upstream, _) => (true, false),
            Operator::Duration(from, to, _) => (is_marked(*from) || is_marked(*to), false),
            Operator::Request(..)
            | Operator::RequestWithoutQuery(..)
            | Operator::Response(..)
            | Operator::Trailer(..)
            | Operator::Path { .. }
            | Operator::QueryParameter(_)
            | Operator::Query { .. }
            | Operator::StreamId
            | Operator::Time(Moment::Start | Moment::Emit, _)
            | Operator::Whole
            | Operator::Protocol
            | Operator::UpstreamProtocol
            | Operator::Code
            | Operator::CodeDetails { .. }
            | Operator::Flags
            | Operator::FlagsLong
            | Operator::TerminationDetails
            | Operator::TransportFailure
            | Operator::Bytes(Counted::Received | Counted::Sent)
            | Operator::Zero
            | Operator::Attempts
            | Operator::Cluster
            | Operator::Address(..)
            | Operator::ServerName(_)
            | Operator::Route
            | Operator::Tls(Side::Downstream, _)
            | Operator::GrpcStatus(_)
            | Operator::LogType
            | Operator::Body
            | Operator::MachineName
            | Operator::Environment(_)
            | Operator::FirstOf(_)
            | Operator::Certificate(CertificateOwner::Peer, Fact::Uris | Fact::Dns | Fact::Subject)
            | Operator::Nothing => (false, false),
            Operator::Certificate(CertificateOwner::Peer | CertificateOwner::Local, _)
            | Operator::Time(Moment::PeerFrom | Moment::PeerUntil, _) => (true, true),
        };
        self.extra |= extra;
        self.certificates |= certificates;
    }
}

/// Whether a point in time is recorded only on request; every record has the others.
fn is_marked(point: Point) -> bool {
    match point {
        Point::RequestBegins
        | Point::UpstreamResponseBegins
        | Point::ResponseEnds
        | Point::ConnectionBegins
        | Point::ConnectionEnds => false,
        Point::RequestEnds
        | Point::ConnectBegins
        | Point::ConnectEnds
        | Point::Secured
        | Point::SendBegins
        | Point::SendEnds
        | Point::UpstreamBodyBegins
        | Point::UpstreamResponseEnds
        | Point::ResponseBegins => true,
    }
}
