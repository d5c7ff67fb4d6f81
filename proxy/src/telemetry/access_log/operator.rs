//! Pure. Compiled operators of log formats: each header refers to its position among the captured headers.

use super::captures::{Captured, Captures};
use crate::config::environment;
use api::format::operator::{
    Attempted, CertificateOwner, Counted, End, Fact, Field, GrpcStatus, Host, Moment, Operator as Meant,
    Part, Point, Precision, ServerName, Session, Side, Which,
};
use api::format::time::Shape;
use http::HeaderName;

/// A compiled operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operator {
    /// A value that does not change while the proxy runs.
    Constant(Box<str>),
    /// A request header, or an alternative if it is missing; and the most bytes to write.
    Request(Source, Option<Source>, Option<usize>),
    Response(Source, Option<Source>, Option<usize>),
    Trailer(Source, Option<Source>, Option<usize>),
    /// A parameter of the query, and the most bytes to write.
    Query(Box<str>, Option<usize>),
    QueryWhole {
        decoded: bool,
        longest: Option<usize>,
    },
    /// The ID of an HTTP request, or else a unique ID.
    StreamId(Source),
    UniqueId,
    Time(Moment, Option<Shape>),
    Duration(Point, Point, Precision),
    Whole,
    PoolReady,
    Handshake,
    Protocol,
    UpstreamProtocol,
    Code,
    CodeDetails {
        spaces: bool,
    },
    Flags,
    FlagsLong,
    TerminationDetails,
    TransportFailure,
    Bytes(Counted),
    Zero,
    Attempts,
    Attempted(Attempted),
    Cluster,
    Address(End, Part),
    HostName {
        port: bool,
    },
    ServerName,
    /// The server name that the client requested in TLS, or the host before it was rewritten.
    Host {
        tls_first: bool,
        first: Source,
        second: Option<Source>,
    },
    Route,
    FilterChain,
    ConnectionId,
    UpstreamConnectionId,
    Certificate(CertificateOwner, Fact),
    Tls(Side, Session),
    GrpcStatus(GrpcStatus),
    LogType,
    /// The first of several operators that has a value, and the most bytes to write.
    FirstOf(Box<[Operator]>, Option<usize>),
    /// An operator that never has a value.
    Nothing,
}

/// Where a header's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Method,
    Path {
        query: bool,
    },
    Authority,
    Status,
    UpstreamTime,
    Captured {
        place: usize,
        /// Whether to keep the query of a header that is a path.
        query: bool,
    },
}

impl Operator {
    /// Compiles an operator; `None`: it names an invalid header.
    #[expect(clippy::too_many_lines, reason = "one line for each operator")]
    pub(super) fn compile(from: &Meant, longest: Option<usize>, captures: &mut Captures) -> Option<Self> {
        Some(match from {
            Meant::Request(first, second) => {
                let (first, second) = pair(first, second.as_ref(), true, &mut captures.request)?;
                Self::Request(first, second, longest)
            }
            Meant::RequestWithoutQuery(first, second) => {
                let (first, second) = pair(first, second.as_ref(), false, &mut captures.request)?;
                Self::Request(first, second, longest)
            }
            Meant::Response(first, second) => {
                let (first, second) = pair(first, second.as_ref(), true, &mut captures.response)?;
                Self::Response(first, second, longest)
            }
            Meant::Trailer(first, second) => {
                let (first, second) = pair(first, second.as_ref(), true, &mut captures.trailers)?;
                Self::Trailer(first, second, longest)
            }
            Meant::Path { query, which } => {
                let original = Field::Header("x-envoy-original-path".into());
                let (first, second) = match which {
                    Which::Original => (original, None),
                    Which::Current => (Field::Path, None),
                    Which::OriginalOrCurrent => (original, Some(Field::Path)),
                };
                let (first, second) = pair(&first, second.as_ref(), *query, &mut captures.request)?;
                Self::Request(first, second, longest)
            }
            Meant::QueryParameter(name) => Self::Query(name.as_str().into(), longest),
            Meant::Query { decoded } => Self::QueryWhole { decoded: *decoded, longest },
            Meant::StreamId => {
                captures.needs.stream_id = true;
                let id = Field::Header("x-request-id".into());
                Self::StreamId(source(&id, true, &mut captures.request)?)
            }
            Meant::ServerName(name) => server_name(*name, captures)?,
            Meant::FirstOf(list) => {
                let each = list.iter().map(|(operator, longest)| Self::compile(operator, *longest, captures));
                Self::FirstOf(each.collect::<Option<_>>()?, longest)
            }
            Meant::MachineName => Self::Constant(environment::host_name().into()),
            Meant::Environment(name) => Self::Constant(environment::value(name, longest).into()),
            Meant::UniqueId
            | Meant::Time(..)
            | Meant::Duration(..)
            | Meant::Whole
            | Meant::PoolReady
            | Meant::Handshake
            | Meant::Protocol
            | Meant::UpstreamProtocol
            | Meant::Code
            | Meant::CodeDetails { .. }
            | Meant::Flags
            | Meant::FlagsLong
            | Meant::TerminationDetails
            | Meant::TransportFailure
            | Meant::Bytes(_)
            | Meant::Zero
            | Meant::Attempts
            | Meant::Attempted(_)
            | Meant::Cluster
            | Meant::Address(..)
            | Meant::HostName { .. }
            | Meant::Route
            | Meant::FilterChain
            | Meant::ConnectionId
            | Meant::UpstreamConnectionId
            | Meant::Certificate(..)
            | Meant::Tls(..)
            | Meant::GrpcStatus(_)
            | Meant::LogType
            | Meant::Body
            | Meant::Nothing => {
                captures.needs.note(from);
                Self::plain(from)
            }
        })
    }

    /// Compiles an operator that depends neither on headers nor on the machine.
    fn plain(from: &Meant) -> Self {
        match from {
            Meant::UniqueId => Self::UniqueId,
            Meant::Time(moment, shape) => Self::Time(*moment, shape.clone()),
            Meant::Duration(from, to, precision) => Self::Duration(*from, *to, *precision),
            Meant::Whole => Self::Whole,
            Meant::PoolReady => Self::PoolReady,
            Meant::Handshake => Self::Handshake,
            Meant::Protocol => Self::Protocol,
            Meant::UpstreamProtocol => Self::UpstreamProtocol,
            Meant::Code => Self::Code,
            Meant::CodeDetails { spaces } => Self::CodeDetails { spaces: *spaces },
            Meant::Flags => Self::Flags,
            Meant::FlagsLong => Self::FlagsLong,
            Meant::TerminationDetails => Self::TerminationDetails,
            Meant::TransportFailure => Self::TransportFailure,
            Meant::Bytes(counted) => Self::Bytes(*counted),
            Meant::Zero => Self::Zero,
            Meant::Attempts => Self::Attempts,
            Meant::Attempted(what) => Self::Attempted(*what),
            Meant::Cluster => Self::Cluster,
            Meant::Address(end, part) => Self::Address(*end, *part),
            Meant::HostName { port } => Self::HostName { port: *port },
            Meant::Route => Self::Route,
            Meant::FilterChain => Self::FilterChain,
            Meant::ConnectionId => Self::ConnectionId,
            Meant::UpstreamConnectionId => Self::UpstreamConnectionId,
            Meant::Certificate(holder, fact) => Self::Certificate(*holder, *fact),
            Meant::Tls(side, what) => Self::Tls(*side, *what),
            Meant::GrpcStatus(shown) => Self::GrpcStatus(*shown),
            Meant::LogType => Self::LogType,
            // The text of a response generated by the proxy is not kept for logs, and other responses have none.
            Meant::Body => Self::Constant("".into()),
            Meant::Nothing
            | Meant::Request(..)
            | Meant::RequestWithoutQuery(..)
            | Meant::Response(..)
            | Meant::Trailer(..)
            | Meant::Path { .. }
            | Meant::QueryParameter(_)
            | Meant::Query { .. }
            | Meant::StreamId
            | Meant::ServerName(_)
            | Meant::FirstOf(_)
            | Meant::MachineName
            | Meant::Environment(_) => Self::Nothing,
        }
    }
}

fn pair(
    first: &Field,
    second: Option<&Field>,
    query: bool,
    captured: &mut Captured,
) -> Option<(Source, Option<Source>)> {
    let first = source(first, query, captured)?;
    let second = match second {
        Some(second) => Some(source(second, query, captured)?),
        None => None,
    };
    Some((first, second))
}

fn server_name(name: ServerName, captures: &mut Captures) -> Option<Operator> {
    let (tls_first, host) = match name {
        ServerName::Tls => return Some(Operator::ServerName),
        ServerName::TlsOr(host) => (true, host),
        ServerName::Host(host) => (false, host),
    };
    let original = Field::Header("x-envoy-original-host".into());
    let (first, second) = match host {
        Host::Original => (original, None),
        Host::Current => (Field::Authority, None),
        Host::OriginalOrCurrent => (original, Some(Field::Authority)),
    };
    let (first, second) = pair(&first, second.as_ref(), true, &mut captures.request)?;
    Some(Operator::Host { tls_first, first, second })
}

fn source(field: &Field, query: bool, captured: &mut Captured) -> Option<Source> {
    let name = match field {
        Field::Method => return Some(Source::Method),
        Field::Path => return Some(Source::Path { query }),
        Field::Authority => return Some(Source::Authority),
        Field::Status => return Some(Source::Status),
        // Every forwarded request carries it.
        Field::Scheme => "x-forwarded-proto",
        Field::Header(name) if name == "x-envoy-upstream-service-time" => return Some(Source::UpstreamTime),
        Field::Header(name) => name,
    };
    let name: HeaderName = name.parse().ok()?;
    Some(Source::Captured { place: captured.place(name), query })
}
