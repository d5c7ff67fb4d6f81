//! Pure. Operators of log formats, parsed once.

use super::{FormatError, Log};
use http::HeaderName;

/// What an operator stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operator {
    StartTime(TimeFormat),
    /// A header by its place among those captured, with the most bytes to show.
    Request(Source, Option<Source>, Option<usize>),
    Response(Source, Option<Source>, Option<usize>),
    Trailer(usize),
    Protocol,
    ResponseCode,
    ResponseFlags,
    CodeDetails,
    TerminationDetails,
    TransportFailure,
    BytesReceived,
    BytesSent,
    Duration,
    UpstreamHost,
    UpstreamCluster,
    UpstreamLocal,
    DownstreamLocal,
    DownstreamLocalIp,
    DownstreamLocalPort,
    DownstreamRemote,
    DownstreamRemoteIp,
    ServerName,
    RouteName,
    PeerUri,
    Attempts,
    GrpcStatus,
    Hostname,
    /// What this proxy has no value for.
    Absent,
}

/// Where the value of `%REQ()%` and `%RESP()%` comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Method,
    Path { query: bool },
    Authority,
    Status,
    UpstreamTime,
    Captured(usize),
}

/// How a time is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// `2026-01-31T12:00:00.123Z`
    Iso,
    /// Seconds since 1970.
    Seconds,
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
            ("START_TIME", None) => Self::StartTime(TimeFormat::Iso),
            ("START_TIME", Some("%s")) => Self::StartTime(TimeFormat::Seconds),
            ("GRPC_STATUS" | "GRPC_STATUS_NUMBER", _) => Self::GrpcStatus,
            (
                "METADATA" | "DYNAMIC_METADATA" | "FILTER_STATE" | "CLUSTER_METADATA" | "ENVIRONMENT",
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
        "DURATION" => Operator::Duration,
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Operator::UpstreamHost,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "UPSTREAM_LOCAL_ADDRESS" => Operator::UpstreamLocal,
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::DownstreamLocal,
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::DownstreamLocalIp,
        "DOWNSTREAM_LOCAL_PORT" => Operator::DownstreamLocalPort,
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::DownstreamRemote,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Operator::DownstreamRemoteIp
        }
        "REQUESTED_SERVER_NAME" => Operator::ServerName,
        "ROUTE_NAME" => Operator::RouteName,
        "DOWNSTREAM_PEER_URI_SAN" => Operator::PeerUri,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
        "HOSTNAME" => Operator::Hostname,
        "REQUEST_DURATION"
        | "RESPONSE_DURATION"
        | "RESPONSE_TX_DURATION"
        | "TRACE_ID"
        | "CONNECTION_ID"
        | "DOWNSTREAM_TLS_VERSION"
        | "DOWNSTREAM_TLS_CIPHER"
        | "DOWNSTREAM_PEER_SUBJECT" => Operator::Absent,
        _ => return None,
    })
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

fn alternatives(
    argument: &str,
    captured: &mut Vec<HeaderName>,
    query: bool,
) -> Option<(Source, Option<Source>)> {
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

fn source(name: &str, captured: &mut Vec<HeaderName>, query: bool) -> Option<Source> {
    Some(match name.to_ascii_lowercase().as_str() {
        ":method" => Source::Method,
        ":path" => Source::Path { query },
        ":authority" | "host" => Source::Authority,
        ":status" => Source::Status,
        "x-envoy-upstream-service-time" => Source::UpstreamTime,
        other => Source::Captured(capture(other, captured)?),
    })
}

fn capture(name: &str, captured: &mut Vec<HeaderName>) -> Option<usize> {
    let name: HeaderName = name.to_ascii_lowercase().parse().ok()?;
    Some(captured.iter().position(|known| *known == name).unwrap_or_else(|| {
        captured.push(name);
        captured.len() - 1
    }))
}
