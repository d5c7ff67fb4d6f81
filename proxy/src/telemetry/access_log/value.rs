//! Pure. Determines the value of an operator for a record.

use super::moment;
use super::operator::{Operator, Source};
use super::text;
use crate::flow::extra;
use crate::flow::flags::Flags;
use crate::flow::record::{Detail, NO_GRPC_STATUS, Record, Traffic};
use crate::flow::unique;
use api::format::operator::{
    Attempted, CertificateOwner, Counted, End, Fact, GrpcStatus, Moment, Part, Point, Precision, Session,
    Side,
};
use api::format::time::Shape;
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The value of an operator.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Absent,
    Number(u64),
    /// A number that JSON shows as a string.
    Digits(u64),
    Text(&'a [u8]),
    /// Text without control characters, in which quotation marks are already escaped.
    Escaped(&'a str),
    /// URIs, joined by commas.
    Uris(&'a [Arc<str>]),
    Names(&'a [Box<str>]),
    FlagsLong(Flags),
    Shaped(&'a Shape, SystemTime),
    Address(SocketAddr),
    Ip(IpAddr),
    Network(IpAddr, u8),
    Time(SystemTime),
    Flags(Flags),
    /// Percent-decoded text, cut to this many bytes.
    Decoded(&'a str, usize),
    /// Text with spaces replaced by underscores.
    Underscored(&'a str),
    Attempted(&'a [extra::Attempted], Attempted),
    /// A name, or the address if there is no name.
    HostName(Option<&'a str>, SocketAddr, bool),
    Unique(u128),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        match text {
            Some(text) if !text.is_empty() => Self::Text(text.as_bytes()),
            _ => Self::Absent,
        }
    }

    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if let Self::Absent = self { other() } else { self }
    }

    fn is_empty(self) -> bool {
        matches!(self, Self::Absent | Self::Text(b""))
    }

    fn cut(self, longest: Option<usize>) -> Self {
        match (self, longest) {
            (Self::Text(text), Some(longest)) if text.len() > longest => Self::Text(&text[..longest]),
            (Self::Decoded(text, most), Some(longest)) => Self::Decoded(text, most.min(longest)),
            (other, _) => other,
        }
    }

    /// Whether the written value may hold characters that need an escape, apart from texts.
    pub(super) fn may_need_escapes(self) -> bool {
        match self {
            Self::Escaped(_)
            | Self::Uris(_)
            | Self::Names(_)
            | Self::Shaped(..)
            | Self::Text(_)
            | Self::Decoded(..)
            | Self::Underscored(_)
            | Self::Attempted(..)
            | Self::HostName(..) => true,
            Self::Absent
            | Self::Number(_)
            | Self::Digits(_)
            | Self::FlagsLong(_)
            | Self::Address(_)
            | Self::Ip(_)
            | Self::Network(..)
            | Self::Time(_)
            | Self::Flags(_)
            | Self::Unique(_) => false,
        }
    }

    /// The bytes that `write` writes, for values that may need escapes.
    pub(super) fn made(self) -> Vec<u8> {
        let mut made = vec![];
        self.write(&mut made);
        made
    }

    /// Appends the value unescaped.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => {}
            Self::Number(number) | Self::Digits(number) => text::number(out, number),
            Self::Escaped(text) => out.extend_from_slice(text.as_bytes()),
            Self::Uris(all) => joined(out, all.iter(), |out, uri| out.extend_from_slice(uri.as_bytes())),
            Self::Names(all) => joined(out, all.iter(), |out, name| out.extend_from_slice(name.as_bytes())),
            Self::Shaped(shape, at) => moment::write(shape, out, at),
            Self::FlagsLong(flags) => {
                joined(out, flags.long(), |out, flag| out.extend_from_slice(flag.as_bytes()));
            }
            Self::Text(text) => out.extend_from_slice(text),
            Self::Address(address) => text::address(out, address),
            Self::Ip(ip) => text::ip(out, ip),
            Self::Network(ip, bits) => text::network(out, ip, bits),
            Self::Time(at) => text::iso_time(out, at),
            Self::Flags(flags) if flags.is_empty() => out.push(b'-'),
            Self::Flags(flags) => text::shown(out, &flags),
            Self::Decoded(text, most) => out.extend(text::decoded(text).take(most)),
            Self::Underscored(text) => {
                out.extend(text.bytes().map(|b| if b.is_ascii_whitespace() { b'_' } else { b }));
            }
            Self::Attempted(all, what) => attempted(out, all, what),
            Self::HostName(name, address, port) => host_name(out, name, address, port),
            Self::Unique(number) => out.extend_from_slice(&unique::text(number)),
        }
    }
}

#[expect(clippy::too_many_lines, reason = "one line for each operator")]
pub(super) fn value<'a>(operator: &'a Operator, record: &'a Record, detail: &'a Detail) -> Value<'a> {
    let extra = detail.extra.as_deref();
    match operator {
        Operator::Request(first, second, longest) => {
            let request = |s: &Source| header(s, record, detail, &detail.request_headers);
            request(first).or(|| second.as_ref().map_or(Value::Absent, request)).cut(*longest)
        }
        Operator::Response(first, second, longest) => {
            let response = |s: &Source| header(s, record, detail, &detail.response_headers);
            response(first).or(|| second.as_ref().map_or(Value::Absent, response)).cut(*longest)
        }
        Operator::Trailer(first, second, longest) => {
            let trailer = |s: &Source| header(s, record, detail, &detail.response_trailers);
            trailer(first).or(|| second.as_ref().map_or(Value::Absent, trailer)).cut(*longest)
        }
        Operator::Query(name, longest) => query_value(detail, name).cut(*longest),
        Operator::QueryWhole { decoded, longest } => whole_query(detail, *decoded).cut(*longest),
        Operator::Host { tls_first, first, second } => host((*tls_first, first, second), record, detail),
        Operator::FirstOf(list, longest) => {
            let all = list.iter().map(|operator| value(operator, record, detail));
            let mut all = all.filter(|value| !value.is_empty());
            all.next().unwrap_or(Value::Absent).cut(*longest)
        }
        Operator::Constant(text) => Value::Text(text.as_bytes()),
        Operator::StreamId(id) if record.key.traffic != Traffic::Tcp => {
            header(id, record, detail, &detail.request_headers)
        }
        Operator::StreamId(_) | Operator::UniqueId => {
            extra.map_or(Value::Absent, |e| Value::Unique(e.unique))
        }
        Operator::Time(of, shape) => time(*of, shape.as_ref(), record, detail),
        Operator::Duration(from, to, precision) => duration((*from, *to), *precision, record, detail),
        Operator::Whole => Value::Number(millis(record.duration)),
        Operator::PoolReady => took(extra.and_then(|extra| extra.pool_ready)),
        Operator::Handshake => took(extra.and_then(|extra| extra.handshake).filter(|_| is_tcp(record))),
        Operator::Protocol => Value::text(detail.protocol),
        Operator::UpstreamProtocol => Value::text(detail.upstream_protocol),
        Operator::Code => Value::Number(record.key.code.into()),
        Operator::CodeDetails { spaces } => match detail.code_details.as_deref() {
            Some(text) if !spaces && text.contains(char::is_whitespace) => Value::Underscored(text),
            other => Value::text(other),
        },
        Operator::Flags => Value::Flags(record.key.flags),
        Operator::FlagsLong if record.key.flags.is_empty() => Value::Absent,
        Operator::FlagsLong => Value::FlagsLong(record.key.flags),
        Operator::TerminationDetails => Value::text(detail.termination_details.as_deref()),
        Operator::TransportFailure => Value::text(detail.transport_failure.as_deref()),
        Operator::Bytes(Counted::Received) => Value::Number(record.received),
        Operator::Bytes(Counted::Sent) => Value::Number(record.sent),
        Operator::Bytes(Counted::RequestHeaders) => Value::Number(extra.map_or(0, |e| e.request_head)),
        Operator::Bytes(Counted::ResponseHeaders) => Value::Number(extra.map_or(0, |e| e.response_head)),
        Operator::Bytes(Counted::ResponseTrailers) => Value::Number(extra.map_or(0, |e| e.trailers)),
        Operator::Zero => Value::Number(0),
        Operator::Attempts => Value::Number(detail.attempts.into()),
        Operator::Attempted(what) => match extra {
            Some(extra) if extra.has_attempted() => Value::Attempted(&extra.attempted, *what),
            _ => Value::Absent,
        },
        Operator::Cluster => Value::text(detail.cluster.as_deref()),
        Operator::Address(end, part) => address(*end, *part, detail),
        Operator::HostName { port } => match (detail.upstream_host, extra) {
            (Some(address), Some(extra)) => Value::HostName(extra.host_name(address), address, *port),
            _ => Value::Absent,
        },
        Operator::ServerName => Value::text(detail.server_name.as_deref()),
        Operator::Route => Value::text(detail.route.as_deref()),
        Operator::FilterChain => Value::text(extra.map(|extra| extra.chain.name.as_str())),
        Operator::ConnectionId => Value::Number(extra.map_or(0, |extra| extra.connection)),
        Operator::UpstreamConnectionId => {
            Value::Number(extra.and_then(|e| e.upstream.as_ref()).map_or(0, |opened| opened.number))
        }
        Operator::Certificate(holder, fact) => certificate(*holder, *fact, detail),
        Operator::Tls(side, what) => session(*side, *what, detail),
        Operator::GrpcStatus(shown) => grpc_status(record.key.grpc_status, *shown),
        Operator::LogType if is_tcp(record) => Value::Text(b"TcpConnectionEnd"),
        Operator::LogType => Value::Text(b"DownstreamEnd"),
        Operator::Nothing => Value::Absent,
    }
}

fn is_tcp(record: &Record) -> bool {
    record.key.traffic == Traffic::Tcp
}

fn took(time: Option<Duration>) -> Value<'static> {
    time.map_or(Value::Absent, |time| Value::Number(millis(time)))
}

fn time<'a>(of: Moment, shape: Option<&'a Shape>, record: &Record, detail: &'a Detail) -> Value<'a> {
    let extra = detail.extra.as_deref();
    let peer = || extra?.certificates.as_ref()?.peer.as_ref();
    let upstream = || extra?.upstream.as_ref()?.certificate();
    let at = match of {
        Moment::Start => detail.start,
        Moment::Emit => detail.start.map(|start| start + record.duration),
        Moment::PeerFrom => peer().map(|certificate| certificate.from),
        Moment::PeerUntil => peer().map(|certificate| certificate.until),
        Moment::UpstreamFrom => upstream().map(|certificate| certificate.from),
        Moment::UpstreamUntil => upstream().map(|certificate| certificate.until),
    };
    match (at, shape) {
        (None, _) => Value::Absent,
        (Some(at), None) => Value::Time(at),
        (Some(at), Some(shape)) => Value::Shaped(shape, at),
    }
}

fn duration(
    (from, to): (Point, Point),
    precision: Precision,
    record: &Record,
    detail: &Detail,
) -> Value<'static> {
    let (Some(from), Some(to)) = (point(from, record, detail), point(to, record, detail)) else {
        return Value::Absent;
    };
    let divisor = match precision {
        Precision::Milli => 1_000_000,
        Precision::Micro => 1_000,
        Precision::Nano => 1,
    };
    // If the two points are in the wrong order, there is no duration, as in Envoy.
    u64::try_from(to - from).map_or(Value::Absent, |nanos| Value::Number(nanos / divisor))
}

/// Nanoseconds from the start of the request to a point.
fn point(point: Point, record: &Record, detail: &Detail) -> Option<i128> {
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    match (point, is_tcp(record)) {
        (Point::RequestBegins, _) | (Point::ConnectionBegins, true) => Some(0),
        (Point::UpstreamResponseBegins, _) => detail.responded.map(nanos),
        (Point::ResponseEnds, false) | (Point::ConnectionEnds, true) => Some(nanos(record.duration)),
        (Point::ConnectionBegins | Point::ConnectionEnds, false) | (Point::ResponseEnds, true) => None,
        (
            Point::RequestEnds
            | Point::ConnectBegins
            | Point::ConnectEnds
            | Point::Secured
            | Point::SendBegins
            | Point::SendEnds
            | Point::UpstreamBodyBegins
            | Point::UpstreamResponseEnds
            | Point::ResponseBegins,
            _,
        ) => detail.extra.as_ref()?.nanos(point),
    }
}

fn address(end: End, part: Part, detail: &Detail) -> Value<'_> {
    let address = match end {
        End::Upstream => detail.upstream_host,
        // If the upstream was never reached, its connection has no local address.
        End::UpstreamRemote => detail.upstream_host.filter(|_| detail.upstream_local.is_some()),
        End::UpstreamLocal => detail.upstream_local,
        End::Local => detail.downstream_local,
        End::DirectLocal => detail.extra.as_ref().map(|extra| extra.direct_local),
        End::Remote => detail.downstream_remote,
        End::Direct => detail.downstream_direct,
    };
    address.map_or(Value::Absent, |address| match part {
        Part::Whole => Value::Address(address),
        Part::Ip => Value::Ip(address.ip()),
        Part::Network(bits) => Value::Network(address.ip(), bits),
        Part::Port => Value::Number(address.port().into()),
    })
}

fn certificate(holder: CertificateOwner, fact: Fact, detail: &Detail) -> Value<'_> {
    let extra = detail.extra.as_deref();
    let certificate = match (holder, fact, detail.peer.as_deref()) {
        (CertificateOwner::Peer, Fact::Uris, Some(peer)) if !peer.uris.is_empty() => {
            return Value::Uris(&peer.uris);
        }
        (CertificateOwner::Peer, Fact::Dns, Some(peer)) if !peer.dns.is_empty() => {
            return Value::Names(&peer.dns);
        }
        (CertificateOwner::Peer, Fact::Subject, Some(peer)) if !peer.subject.is_empty() => {
            return Value::Escaped(&peer.subject);
        }
        (CertificateOwner::Peer, ..) => extra.and_then(|e| e.certificates.as_ref()?.peer.as_ref()),
        (CertificateOwner::Local, ..) => extra.and_then(|e| e.certificates.as_ref()?.local.as_ref()),
        (CertificateOwner::Upstream, ..) => extra.and_then(|e| e.upstream.as_ref()?.certificate()),
    };
    let Some(certificate) = certificate else { return Value::Absent };
    Some(certificate.fact(fact)).filter(|text| !text.is_empty()).map_or(Value::Absent, Value::Escaped)
}

fn session(side: Side, what: Session, detail: &Detail) -> Value<'_> {
    let secured = detail.extra.as_deref().and_then(|extra| extra.upstream.as_deref()?.secured.as_ref());
    let session = match side {
        Side::Downstream => detail.tls,
        Side::Upstream => secured.and_then(|secured| secured.session),
    };
    match (what, side) {
        (Session::Version, _) => Value::text(session.map(|session| session.version)),
        (Session::Cipher, _) => Value::text(session.map(|session| session.cipher)),
        (Session::Group, _) => Value::text(session.and_then(|session| session.group)),
        (Session::ServerName, Side::Upstream) => Value::text(secured.and_then(|s| s.server_name.as_deref())),
        (Session::ServerName, Side::Downstream) => Value::text(detail.server_name.as_deref()),
    }
}

fn host<'a>(
    (tls_first, first, second): (bool, &Source, &Option<Source>),
    record: &'a Record,
    detail: &'a Detail,
) -> Value<'a> {
    let of = |source: &Source| header(source, record, detail, &detail.request_headers);
    let named = || of(first).or(|| second.as_ref().map_or(Value::Absent, of));
    if tls_first { Value::text(detail.server_name.as_deref()).or(named) } else { named() }
}

fn joined<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn attempted(out: &mut Vec<u8>, all: &[extra::Attempted], what: Attempted) {
    // As in Envoy an endpoint that could not be connected to is not among them.
    let connected = all.iter().filter(|one| one.connection.is_some());
    match what {
        Attempted::Hosts { port } => {
            joined(out, connected, |out, one| host_name(out, None, one.address, port));
        }
        Attempted::Names { port } => {
            joined(out, connected, |out, one| host_name(out, one.name.as_deref(), one.address, port));
        }
        Attempted::Connections => {
            joined(out, all.iter().filter_map(|one| one.connection), text::number);
        }
    }
}

fn host_name(out: &mut Vec<u8>, name: Option<&str>, address: SocketAddr, port: bool) {
    match (name, port) {
        (None, true) => text::address(out, address),
        (None, false) => text::ip(out, address.ip()),
        (Some(name), true) => out.extend_from_slice(name.as_bytes()),
        (Some(name), false) => {
            let bare = name.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
            out.extend_from_slice(bare.map_or(name, |(name, _)| name).as_bytes());
        }
    }
}

fn query(detail: &Detail) -> Option<&str> {
    detail.target.as_ref().and_then(http::Uri::query)
}

fn query_value<'a>(detail: &'a Detail, name: &str) -> Value<'a> {
    let mut pairs = query(detail).unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    Value::text(pairs.find(|(known, _)| *known == name).map(|(_, value)| value))
}

fn whole_query(detail: &Detail, decoded: bool) -> Value<'_> {
    match query(detail) {
        Some(query) if decoded && !query.is_empty() => Value::Decoded(query, usize::MAX),
        other => Value::text(other),
    }
}

fn grpc_status(status: u8, shown: GrpcStatus) -> Value<'static> {
    if status == NO_GRPC_STATUS {
        return Value::Absent;
    }
    match (GRPC_STATUSES.get(usize::from(status)), shown) {
        (Some((camel, _)), GrpcStatus::Camel) => Value::Text(camel.as_bytes()),
        (Some((_, snake)), GrpcStatus::Snake) => Value::Text(snake.as_bytes()),
        (_, GrpcStatus::Number) => Value::Number(status.into()),
        // A status without a name is still text.
        (None, GrpcStatus::Camel | GrpcStatus::Snake) => Value::Digits(status.into()),
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

/// The names of gRPC status codes, by number.
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
