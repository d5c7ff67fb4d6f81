//! Pure. Writes one line. A text value that is not there reads `-`; in JSON it is `null`, as Envoy has it.

use super::operator::{Operator, Source, TimeFormat};
use super::{Format, Log, Piece, text};
use crate::flow::flags::Flags;
use crate::flow::record::{Detail, NO_GRPC_STATUS, Record, Traffic};
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// Appends the line of a record.
pub(super) fn write(out: &mut Vec<u8>, log: &Log, record: &Record) {
    let empty;
    let detail = match record.detail.as_deref() {
        Some(detail) => detail,
        None => {
            empty = Detail::default();
            &empty
        }
    };
    match &log.format {
        Format::Text(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                    Piece::Operator(operator) => match value(operator, record, detail) {
                        Value::Absent => out.push(b'-'),
                        Value::Text(text) => text::plain(out, text),
                        other => other.write(out),
                    },
                }
            }
        }
        Format::Json(fields) => {
            for (key, pieces) in fields {
                out.extend_from_slice(key);
                json_value(out, pieces, record, detail);
            }
            out.extend_from_slice(if fields.is_empty() { b"{}\n" } else { b"}\n" });
        }
    }
}

fn json_value(out: &mut Vec<u8>, pieces: &[Piece], record: &Record, detail: &Detail) {
    if let [Piece::Operator(operator)] = pieces {
        return match value(operator, record, detail) {
            Value::Absent => out.extend_from_slice(b"null"),
            Value::Text(text) => text::json(out, text),
            number @ Value::Number(_) => number.write(out),
            other => {
                out.push(b'"');
                other.write(out);
                out.push(b'"');
            }
        };
    }
    let mut joined = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => joined.extend_from_slice(literal.as_bytes()),
            Piece::Operator(operator) => match value(operator, record, detail) {
                Value::Absent => joined.push(b'-'),
                other => other.write(&mut joined),
            },
        }
    }
    text::json(out, &joined);
}

/// What stands for an operator. Only `Text` may hold characters that need an escape.
#[derive(Clone, Copy)]
enum Value<'a> {
    Absent,
    Number(u64),
    Text(&'a [u8]),
    Address(SocketAddr),
    Ip(IpAddr),
    Time(SystemTime),
    Flags(Flags),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        match text {
            Some(text) if !text.is_empty() => Self::Text(text.as_bytes()),
            _ => Self::Absent,
        }
    }

    fn address(address: Option<SocketAddr>) -> Self {
        address.map_or(Self::Absent, Self::Address)
    }

    fn ip(address: Option<SocketAddr>) -> Self {
        address.map_or(Self::Absent, |address| Self::Ip(address.ip()))
    }

    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if let Self::Absent = self { other() } else { self }
    }

    fn cut(self, longest: Option<usize>) -> Self {
        match (self, longest) {
            (Self::Text(text), Some(longest)) if text.len() > longest => Self::Text(&text[..longest]),
            (other, _) => other,
        }
    }

    /// Writes it as it is.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => {}
            Self::Number(number) => text::number(out, number),
            Self::Text(text) => out.extend_from_slice(text),
            Self::Address(address) => text::address(out, address),
            Self::Ip(ip) => text::ip(out, ip),
            Self::Time(at) => text::iso_time(out, at),
            Self::Flags(flags) if flags.is_empty() => out.push(b'-'),
            Self::Flags(flags) => text::shown(out, &flags),
        }
    }
}

fn value<'a>(operator: &Operator, record: &'a Record, detail: &'a Detail) -> Value<'a> {
    match operator {
        Operator::Request(first, second, longest) => {
            let request = |s: &Source| header(s, record, detail, &detail.request_headers);
            request(first).or(|| second.as_ref().map_or(Value::Absent, request)).cut(*longest)
        }
        Operator::Response(first, second, longest) => {
            let response = |s: &Source| header(s, record, detail, &detail.response_headers);
            response(first).or(|| second.as_ref().map_or(Value::Absent, response)).cut(*longest)
        }
        Operator::Trailer(place) => captured(detail.response_trailers.get(*place)),
        Operator::StartTime(TimeFormat::Iso) => detail.start.map_or(Value::Absent, Value::Time),
        Operator::StartTime(TimeFormat::Seconds) => {
            detail.start.map_or(Value::Absent, |at| Value::Number(text::since_epoch(at).as_secs()))
        }
        Operator::Protocol => Value::text(detail.protocol),
        Operator::ResponseCode => Value::Number(record.key.code.into()),
        Operator::ResponseFlags => Value::Flags(record.key.flags),
        Operator::CodeDetails => Value::text(detail.code_details.as_deref()),
        Operator::TerminationDetails => Value::text(detail.termination_details.as_deref()),
        Operator::TransportFailure => Value::text(detail.transport_failure.as_deref()),
        Operator::BytesReceived => Value::Number(record.received),
        Operator::BytesSent => Value::Number(record.sent),
        Operator::Duration => Value::Number(millis(record.duration)),
        Operator::UpstreamHost => Value::address(detail.upstream_host),
        Operator::UpstreamCluster => Value::text(detail.cluster.as_deref()),
        Operator::UpstreamLocal => Value::address(detail.upstream_local),
        Operator::DownstreamLocal => Value::address(detail.downstream_local),
        Operator::DownstreamLocalIp => Value::ip(detail.downstream_local),
        Operator::DownstreamLocalPort => {
            detail.downstream_local.map_or(Value::Absent, |a| Value::Number(a.port().into()))
        }
        Operator::DownstreamRemote => Value::address(detail.downstream_remote),
        Operator::DownstreamRemoteIp => Value::ip(detail.downstream_remote),
        Operator::ServerName => Value::text(detail.server_name.as_deref()),
        Operator::RouteName => Value::text(detail.route.as_deref()),
        Operator::PeerUri => Value::text(detail.peer_uri.as_deref()),
        Operator::Attempts => Value::Number(detail.attempts.into()),
        Operator::GrpcStatus => match record.key.grpc_status {
            NO_GRPC_STATUS => Value::Absent,
            status => Value::Number(status.into()),
        },
        Operator::Hostname | Operator::Absent => Value::Absent,
    }
}

fn header<'a>(
    source: &Source,
    record: &'a Record,
    detail: &'a Detail,
    headers: &'a [Option<HeaderValue>],
) -> Value<'a> {
    match source {
        Source::Method => Value::text(detail.method.as_ref().map(http::Method::as_str)),
        Source::Path { query } => {
            let target = detail.target.as_ref();
            let text = if *query {
                target.map(|t| t.path_and_query().map_or(t.path(), http::uri::PathAndQuery::as_str))
            } else {
                target.map(http::Uri::path)
            };
            Value::text(text)
        }
        Source::Authority => captured(Some(&detail.authority)),
        Source::Status if record.key.traffic == Traffic::Tcp => Value::Absent,
        Source::Status => Value::Number(record.key.code.into()),
        Source::UpstreamTime => detail.upstream_time.map_or(Value::Absent, |t| Value::Number(millis(t))),
        Source::Captured(place) => captured(headers.get(*place)),
    }
}

fn captured(value: Option<&Option<HeaderValue>>) -> Value<'_> {
    match value {
        Some(Some(value)) => Value::Text(value.as_bytes()),
        _ => Value::Absent,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
