//! Pure. Writes one line. A text value that is not there reads `-`; in JSON it is `null`, as Envoy has it.

use super::moment::Shape;
use super::operator::{End, GrpcStatus, Operator, Part, Source, TimeFormat};
use super::{Format, Log, Piece, text};
use crate::flow::flags::Flags;
use crate::flow::record::{Detail, NO_GRPC_STATUS, Record, Traffic};
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
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
                        list @ (Value::Uris(_) | Value::Names(_)) => text::plain(out, &list.made()),
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
            made @ (Value::Escaped(_) | Value::Uris(_) | Value::Names(_) | Value::Shaped(..)) => {
                text::json(out, &made.made());
            }
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

/// What stands for an operator. Only texts, names and shaped times may hold characters that need an escape.
#[derive(Clone, Copy)]
enum Value<'a> {
    Absent,
    Number(u64),
    /// A number that is text in JSON.
    Digits(u64),
    Text(&'a [u8]),
    /// Text without control characters whose quotation marks are escaped already.
    Escaped(&'a str),
    /// Joined by commas.
    Uris(&'a [Arc<str>]),
    Names(&'a [Box<str>]),
    FlagsLong(Flags),
    Shaped(&'a Shape, SystemTime),
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

    /// What `write` writes, for what may hold characters that need an escape.
    fn made(self) -> Vec<u8> {
        let mut made = vec![];
        self.write(&mut made);
        made
    }

    /// Writes it as it is.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => {}
            Self::Number(number) | Self::Digits(number) => text::number(out, number),
            Self::Escaped(text) => out.extend_from_slice(text.as_bytes()),
            Self::Uris(all) => joined(out, all.iter().map(|uri| &**uri)),
            Self::Names(all) => joined(out, all.iter().map(|name| &**name)),
            Self::Shaped(shape, at) => shape.write(out, at),
            Self::FlagsLong(flags) => joined(out, flags.long()),
            Self::Text(text) => out.extend_from_slice(text),
            Self::Address(address) => text::address(out, address),
            Self::Ip(ip) => text::ip(out, ip),
            Self::Time(at) => text::iso_time(out, at),
            Self::Flags(flags) if flags.is_empty() => out.push(b'-'),
            Self::Flags(flags) => text::shown(out, &flags),
        }
    }
}

fn value<'a>(operator: &'a Operator, record: &'a Record, detail: &'a Detail) -> Value<'a> {
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
        Operator::Query(name, longest) => query_value(detail, name).cut(*longest),
        Operator::QueryWhole => Value::text(detail.target.as_ref().and_then(http::Uri::query)),
        Operator::StartTime(TimeFormat::Iso) => detail.start.map_or(Value::Absent, Value::Time),
        Operator::StartTime(TimeFormat::Shape(shape)) => {
            detail.start.map_or(Value::Absent, |at| Value::Shaped(shape, at))
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
        Operator::FlagsLong if record.key.flags.is_empty() => Value::Absent,
        Operator::FlagsLong => Value::FlagsLong(record.key.flags),
        Operator::ResponseDuration => {
            detail.responded.map_or(Value::Absent, |time| Value::Number(millis(time)))
        }
        Operator::ResponseTransfer => detail
            .responded
            .map_or(Value::Absent, |time| Value::Number(millis(record.duration.saturating_sub(time)))),
        Operator::UpstreamProtocol => Value::text(detail.upstream_protocol),
        Operator::UpstreamCluster => Value::text(detail.cluster.as_deref()),
        Operator::Address(end, part) => address(*end, *part, detail),
        Operator::ServerName => Value::text(detail.server_name.as_deref()),
        Operator::RouteName => Value::text(detail.route.as_deref()),
        Operator::PeerUri
        | Operator::PeerDns
        | Operator::PeerSubject
        | Operator::TlsVersion
        | Operator::TlsCipher => caller(operator, detail),
        Operator::Attempts => Value::Number(detail.attempts.into()),
        Operator::GrpcStatus(shown) => grpc_status(record.key.grpc_status, *shown),
        Operator::AccessLogType if record.key.traffic == Traffic::Tcp => Value::Text(b"TcpConnectionEnd"),
        Operator::AccessLogType => Value::Text(b"DownstreamEnd"),
        Operator::Absent => Value::Absent,
    }
}

fn address(end: End, part: Part, detail: &Detail) -> Value<'_> {
    let address = match end {
        End::Upstream => detail.upstream_host,
        // What was never reached has no address of ours either.
        End::UpstreamRemote => detail.upstream_host.filter(|_| detail.upstream_local.is_some()),
        End::UpstreamLocal => detail.upstream_local,
        End::Local => detail.downstream_local,
        End::Remote => detail.downstream_remote,
        End::Direct => detail.downstream_direct,
    };
    match part {
        Part::Whole => Value::address(address),
        Part::Ip => Value::ip(address),
        Part::Port => address.map_or(Value::Absent, |address| Value::Number(address.port().into())),
    }
}

/// Who the client is, and how its TLS is.
fn caller<'a>(operator: &Operator, detail: &'a Detail) -> Value<'a> {
    match (operator, &detail.peer) {
        (Operator::TlsVersion, _) => Value::text(detail.tls.map(|(version, _)| version)),
        (Operator::TlsCipher, _) => Value::text(detail.tls.map(|(_, cipher)| cipher)),
        (Operator::PeerUri, Some(peer)) if !peer.uris.is_empty() => Value::Uris(&peer.uris),
        (Operator::PeerDns, Some(peer)) if !peer.dns.is_empty() => Value::Names(&peer.dns),
        (Operator::PeerSubject, Some(peer)) if !peer.subject.is_empty() => Value::Escaped(&peer.subject),
        _ => Value::Absent,
    }
}

fn joined<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a str>) {
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
}

fn query_value<'a>(detail: &'a Detail, name: &str) -> Value<'a> {
    let query = detail.target.as_ref().and_then(http::Uri::query).unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Value::text(pairs.find(|(known, _)| *known == name).map(|(_, value)| value))
}

fn grpc_status(status: u8, shown: GrpcStatus) -> Value<'static> {
    if status == NO_GRPC_STATUS {
        return Value::Absent;
    }
    match (GRPC_STATUSES.get(usize::from(status)), shown) {
        (Some((camel, _)), GrpcStatus::Camel) => Value::Text(camel.as_bytes()),
        (Some((_, snake)), GrpcStatus::Snake) => Value::Text(snake.as_bytes()),
        _ => Value::Number(status.into()),
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
        Source::Status => Value::Digits(record.key.code.into()),
        Source::UpstreamTime => detail.upstream_time.map_or(Value::Absent, |t| Value::Digits(millis(t))),
        Source::Captured { place, query: true } => captured(headers.get(*place)),
        Source::Captured { place, query: false } => match captured(headers.get(*place)) {
            Value::Text(text) => Value::Text(text.split(|byte| *byte == b'?').next().unwrap_or_default()),
            other => other,
        },
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

/// Names of gRPC's statuses, by number.
const GRPC_STATUSES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];
