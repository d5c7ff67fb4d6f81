//! Pure. Writes one line. A text value that is not there reads `-`; in JSON it is `null`, as Envoy has it.

use super::operator::{Operator, Source, TimeFormat};
use super::{Format, Log, Piece};
use crate::flow::record::{Detail, NO_GRPC_STATUS, Record, Traffic};
use http::HeaderValue;
use std::borrow::Cow;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends the line of a record.
pub(super) fn write(out: &mut Vec<u8>, log: &Log, record: &Record) {
    let empty = Detail::default();
    let detail = record.detail.as_deref().unwrap_or(&empty);
    match &log.format {
        Format::Text(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                    Piece::Operator(operator) => match value(operator, record, detail) {
                        Value::Absent => out.push(b'-'),
                        Value::Number(number) => {
                            let _ = write!(out, "{number}");
                        }
                        Value::Text(text) => plain(out, &text),
                    },
                }
            }
        }
        Format::Json(fields) => {
            out.push(b'{');
            for (i, (key, pieces)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(out, key.as_bytes());
                out.push(b':');
                json_value(out, pieces, record, detail);
            }
            out.extend_from_slice(b"}\n");
        }
    }
}

fn json_value(out: &mut Vec<u8>, pieces: &[Piece], record: &Record, detail: &Detail) {
    if let [Piece::Operator(operator)] = pieces {
        match value(operator, record, detail) {
            Value::Absent => out.extend_from_slice(b"null"),
            Value::Number(number) => {
                let _ = write!(out, "{number}");
            }
            Value::Text(text) => string(out, &text),
        }
        return;
    }
    let mut text = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.extend_from_slice(literal.as_bytes()),
            Piece::Operator(operator) => match value(operator, record, detail) {
                Value::Absent => text.push(b'-'),
                Value::Number(number) => {
                    let _ = write!(text, "{number}");
                }
                Value::Text(value) => text.extend_from_slice(&value),
            },
        }
    }
    string(out, &text);
}

enum Value<'a> {
    Absent,
    Number(u64),
    Text(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        match text {
            Some(text) if !text.is_empty() => Self::Text(text.as_bytes().into()),
            _ => Self::Absent,
        }
    }

    fn shown(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Absent, |value| Self::Text(value.to_string().into_bytes().into()))
    }

    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if let Self::Absent = self { other() } else { self }
    }

    fn cut(self, longest: Option<usize>) -> Self {
        match (self, longest) {
            (Self::Text(text), Some(longest)) if text.len() > longest => {
                Self::Text(text[..longest].to_vec().into())
            }
            (other, _) => other,
        }
    }
}

fn value<'a>(operator: &Operator, record: &'a Record, detail: &'a Detail) -> Value<'a> {
    let ip = |address: Option<SocketAddr>| Value::shown(address.map(|a| a.ip()));
    match operator {
        Operator::Request(first, second, longest) => {
            let request = |s: &Source| header(s, record, detail, &detail.request_headers);
            let found = request(first);
            second.as_ref().map_or(Value::Absent, request).pipe(|other| found.or(|| other)).cut(*longest)
        }
        Operator::Response(first, second, longest) => {
            let response = |s: &Source| header(s, record, detail, &detail.response_headers);
            let found = response(first);
            second.as_ref().map_or(Value::Absent, response).pipe(|other| found.or(|| other)).cut(*longest)
        }
        Operator::Trailer(place) => captured(detail.response_trailers.get(*place)),
        Operator::StartTime(format) => detail.start.map_or(Value::Absent, |at| time(at, format)),
        Operator::Protocol => Value::text(detail.protocol),
        Operator::ResponseCode => Value::Number(record.key.code.into()),
        Operator::ResponseFlags => Value::shown(Some(record.key.flags)),
        Operator::CodeDetails => Value::text(detail.code_details.as_deref()),
        Operator::TerminationDetails => Value::text(detail.termination_details.as_deref()),
        Operator::TransportFailure => Value::text(detail.transport_failure.as_deref()),
        Operator::BytesReceived => Value::Number(record.received),
        Operator::BytesSent => Value::Number(record.sent),
        Operator::Duration => Value::Number(millis(record.duration)),
        Operator::UpstreamHost => Value::shown(detail.upstream_host),
        Operator::UpstreamCluster => Value::text(detail.cluster.as_deref()),
        Operator::UpstreamLocal => Value::shown(detail.upstream_local),
        Operator::DownstreamLocal => Value::shown(detail.downstream_local),
        Operator::DownstreamLocalIp => ip(detail.downstream_local),
        Operator::DownstreamLocalPort => {
            detail.downstream_local.map_or(Value::Absent, |a| Value::Number(a.port().into()))
        }
        Operator::DownstreamRemote => Value::shown(detail.downstream_remote),
        Operator::DownstreamRemoteIp => ip(detail.downstream_remote),
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

trait Pipe: Sized {
    fn pipe<T>(self, with: impl FnOnce(Self) -> T) -> T {
        with(self)
    }
}

impl Pipe for Value<'_> {}

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
        Some(Some(value)) => Value::Text(value.as_bytes().into()),
        _ => Value::Absent,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn time<'a>(at: SystemTime, format: &TimeFormat) -> Value<'a> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    match format {
        TimeFormat::Seconds => Value::Number(since.as_secs()),
        TimeFormat::Iso => {
            let at = time::OffsetDateTime::from_unix_timestamp(since.as_secs() as i64)
                .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute(),
                at.second(),
                since.subsec_millis()
            );
            Value::Text(text.into_bytes().into())
        }
    }
}

/// A client decides what its headers hold: control characters must not forge lines.
fn plain(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'"' => out.extend_from_slice(b"\\\""),
            0..0x20 | 0x7f => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            other => out.push(*other),
        }
    }
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => {
                let _ = write!(out, "{c}");
            }
        }
    }
    out.push(b'"');
}
