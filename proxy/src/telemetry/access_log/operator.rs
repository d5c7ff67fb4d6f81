//! Pure. Operators of log formats, parsed once.

use super::moment::Shape;
use super::{Captured, FormatError, Log};

/// What an operator stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operator {
    StartTime(TimeFormat),
    /// A header by its place among those captured, with the most bytes to show.
    Request(Source, Option<Source>, Option<usize>),
    Response(Source, Option<Source>, Option<usize>),
    Trailer(usize),
    /// A parameter of the query, with the most bytes to show.
    Query(Box<str>, Option<usize>),
    QueryWhole,
    Protocol,
    ResponseCode,
    ResponseFlags,
    FlagsLong,
    CodeDetails,
    TerminationDetails,
    TransportFailure,
    BytesReceived,
    BytesSent,
    Duration,
    ResponseDuration,
    ResponseTransfer,
    UpstreamCluster,
    UpstreamProtocol,
    Address(End, Part),
    ServerName,
    RouteName,
    PeerUri,
    PeerDns,
    PeerSubject,
    TlsVersion,
    TlsCipher,
    Attempts,
    /// As a name or as a number.
    GrpcStatus(GrpcStatus),
    AccessLogType,
    /// What this proxy has no value for.
    Absent,
}

/// Where the value of `%REQ()%` and `%RESP()%` comes from.
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
        /// With what follows a question mark, if it is a path.
        query: bool,
    },
}

/// How a time is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// `2026-01-31T12:00:00.123Z`
    Iso,
    Shape(Shape),
}

/// Whose address is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As chosen.
    Upstream,
    /// As reached.
    UpstreamRemote,
    UpstreamLocal,
    Local,
    Remote,
    Direct,
}

/// How much of an address is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Address and port.
    Whole,
    /// The address.
    Ip,
    /// The port.
    Port,
}

/// How a gRPC status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrpcStatus {
    Camel,
    Snake,
    Number,
}

impl Operator {
    pub(super) fn parse(text: &str, log: &mut Log) -> Result<Self, FormatError> {
        let unknown = || FormatError::Unknown(text.to_owned());
        let (name, argument, longest) = split(text).ok_or_else(unknown)?;
        Ok(match (name, argument) {
            ("REQ", Some(argument)) => {
                let (first, second) = alternatives(argument, &mut log.request, true).ok_or_else(unknown)?;
                Self::Request(first, second, longest)
            }
            ("REQ_WITHOUT_QUERY", Some(argument)) => {
                let (first, second) = alternatives(argument, &mut log.request, false).ok_or_else(unknown)?;
                Self::Request(first, second, longest)
            }
            ("RESP", Some(argument)) => {
                let (first, second) = alternatives(argument, &mut log.response, true).ok_or_else(unknown)?;
                Self::Response(first, second, longest)
            }
            ("TRAILER", Some(argument)) => {
                Self::Trailer(capture(argument, &mut log.trailers).ok_or_else(unknown)?)
            }
            ("PATH", argument) => path(argument.unwrap_or_default(), log, longest).ok_or_else(unknown)?,
            ("QUERY_PARAM", Some(name)) => Self::Query(name.into(), longest),
            ("STREAM_ID", None) => {
                let (first, _) = alternatives("x-request-id", &mut log.request, true).ok_or_else(unknown)?;
                Self::Request(first, None, None)
            }
            ("START_TIME", None | Some("")) => Self::StartTime(TimeFormat::Iso),
            ("START_TIME", Some(format)) => {
                Self::StartTime(TimeFormat::Shape(Shape::parse(format).ok_or_else(unknown)?))
            }
            ("GRPC_STATUS", None | Some("" | "CAMEL_STRING")) => Self::GrpcStatus(GrpcStatus::Camel),
            ("GRPC_STATUS", Some("SNAKE_STRING")) => Self::GrpcStatus(GrpcStatus::Snake),
            ("GRPC_STATUS", Some("NUMBER")) | ("GRPC_STATUS_NUMBER", None) => {
                Self::GrpcStatus(GrpcStatus::Number)
            }
            (
                "METADATA" | "DYNAMIC_METADATA" | "FILTER_STATE" | "CLUSTER_METADATA" | "UPSTREAM_METADATA",
                Some(_),
            ) => Self::Absent,
            (name, None) => simple(name).ok_or_else(unknown)?,
            _ => return Err(unknown()),
        })
    }
}

fn simple(name: &str) -> Option<Operator> {
    Some(match name {
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_FLAGS" => Operator::ResponseFlags,
        "RESPONSE_CODE_DETAILS" => Operator::CodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => Operator::TerminationDetails,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Operator::TransportFailure,
        "BYTES_RECEIVED" => Operator::BytesReceived,
        "BYTES_SENT" => Operator::BytesSent,
        "RESPONSE_FLAGS_LONG" => Operator::FlagsLong,
        "DURATION" => Operator::Duration,
        "RESPONSE_DURATION" => Operator::ResponseDuration,
        "RESPONSE_TX_DURATION" => Operator::ResponseTransfer,
        "QUERY_PARAMS" => Operator::QueryWhole,
        "UPSTREAM_HOST" => Operator::Address(End::Upstream, Part::Whole),
        "UPSTREAM_PROTOCOL" => Operator::UpstreamProtocol,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "REQUESTED_SERVER_NAME" => Operator::ServerName,
        "ROUTE_NAME" => Operator::RouteName,
        "DOWNSTREAM_PEER_URI_SAN" => Operator::PeerUri,
        "DOWNSTREAM_PEER_DNS_SAN" => Operator::PeerDns,
        "DOWNSTREAM_PEER_SUBJECT" => Operator::PeerSubject,
        "DOWNSTREAM_TLS_VERSION" => Operator::TlsVersion,
        "DOWNSTREAM_TLS_CIPHER" => Operator::TlsCipher,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
        "ACCESS_LOG_TYPE" => Operator::AccessLogType,
        "TRACE_ID" => Operator::Absent,
        other => return address(other),
    })
}

fn address(name: &str) -> Option<Operator> {
    let ends = [
        ("UPSTREAM_REMOTE_", End::UpstreamRemote),
        ("UPSTREAM_LOCAL_", End::UpstreamLocal),
        ("DOWNSTREAM_LOCAL_", End::Local),
        ("DOWNSTREAM_REMOTE_", End::Remote),
        ("DOWNSTREAM_DIRECT_REMOTE_", End::Direct),
    ];
    let (end, part) = address_part(name, &ends)?;
    Some(Operator::Address(end, part))
}

/// Whose address an operator names, by how it starts, and how much of it, by how it ends.
pub fn address_part<E: Copy>(name: &str, ends: &[(&str, E)]) -> Option<(E, Part)> {
    let (rest, end) = ends.iter().find_map(|(start, end)| Some((name.strip_prefix(start)?, *end)))?;
    let part = match rest {
        "ADDRESS" => Part::Whole,
        "ADDRESS_WITHOUT_PORT" => Part::Ip,
        "PORT" => Part::Port,
        _ => return None,
    };
    Some((end, part))
}

/// `%PATH(WQ or NQ:PATH, ORIG or ORIG_OR_PATH)%`
fn path(argument: &str, log: &mut Log, longest: Option<usize>) -> Option<Operator> {
    let (query, which) = argument.split_once(':').unwrap_or((argument, ""));
    let query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        _ => return None,
    };
    let names = match which {
        "" | "ORIG_OR_PATH" => "x-envoy-original-path?:path",
        "PATH" => ":path",
        "ORIG" => "x-envoy-original-path",
        _ => return None,
    };
    let (first, second) = alternatives(names, &mut log.request, query)?;
    Some(Operator::Request(first, second, longest))
}

/// Name, argument in parentheses, and the length after a colon.
fn split(text: &str) -> Option<(&str, Option<&str>, Option<usize>)> {
    let Some((name, rest)) = text.split_once('(') else {
        return Some((text, None, None));
    };
    let (argument, rest) = rest.rsplit_once(')')?;
    let longest = match rest.strip_prefix(':') {
        Some(number) => Some(number.parse().ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((name, Some(argument), longest))
}

fn alternatives(argument: &str, captured: &mut Captured, query: bool) -> Option<(Source, Option<Source>)> {
    let (first, second) = match argument.split_once('?') {
        Some((first, second)) => (first, Some(second)),
        None => (argument, None),
    };
    let first = source(first, captured, query)?;
    let second = match second {
        Some(second) => Some(source(second, captured, query)?),
        None => None,
    };
    Some((first, second))
}

fn source(name: &str, captured: &mut Captured, query: bool) -> Option<Source> {
    Some(match name.to_ascii_lowercase().as_str() {
        ":method" => Source::Method,
        ":path" => Source::Path { query },
        ":authority" | "host" => Source::Authority,
        ":status" => Source::Status,
        // A request always carries it when it is sent on.
        ":scheme" => Source::Captured { place: capture("x-forwarded-proto", captured)?, query },
        "x-envoy-upstream-service-time" => Source::UpstreamTime,
        other => Source::Captured { place: capture(other, captured)?, query },
    })
}

fn capture(name: &str, captured: &mut Captured) -> Option<usize> {
    Some(captured.place(name.to_ascii_lowercase().parse().ok()?))
}
