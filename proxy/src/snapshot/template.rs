//! Pure. Text with operators such as `%REQ(x)%`, parsed once: header values and bodies of the proxy's own responses.

use crate::config::environment;
use crate::flow::flags::Flags;
use crate::flow::peer::Peer;
use crate::flow::tls::Session;
use crate::matcher::{InvalidConfig, header_name};
use crate::telemetry::access_log::{moment, text as shown};
use api::format::operator::Session as About;
use api::format::operator::{
    CertificateOwner, End, Fact, Field, Host, Moment, Operator, Part, ServerName, Side, Which,
};
use api::format::time::Shape;
use api::format::{self, Place};
use http::{HeaderMap, HeaderName};
use std::io::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Text with operators.
#[derive(Debug)]
pub struct Template(Box<[Piece]>);

/// The values that operators may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request's headers, before changes.
    pub request: &'a HeaderMap,
    /// The response's headers, before changes.
    pub response: Option<&'a HeaderMap>,
    /// The request's method.
    pub method: &'a str,
    /// The request's host.
    pub authority: &'a str,
    /// The request's path and query.
    pub target: &'a str,
    /// The client's address, from trusted forwarding headers.
    pub remote: Option<SocketAddr>,
    /// The connection's peer.
    pub direct: Option<SocketAddr>,
    /// The client's destination.
    pub local: Option<SocketAddr>,
    /// The proxy's address on the client's connection.
    pub direct_local: Option<SocketAddr>,
    /// The client connection's number.
    pub connection: u64,
    /// Name of the filter chain.
    pub chain: &'a str,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the cluster.
    pub cluster: &'a str,
    /// The endpoint.
    pub upstream: Option<SocketAddr>,
    /// When the request began.
    pub start: Option<SystemTime>,
    /// SNI.
    pub server_name: &'a str,
    /// The client's identity, if it sent a certificate.
    pub peer: Option<&'a Peer>,
    /// TLS version and cipher of the client's connection.
    pub tls: Option<Session>,
    /// Status of the response; 0: not known yet.
    pub code: u16,
    /// Response flags.
    pub flags: Flags,
    /// The body of the proxy's own response.
    pub body: &'a [u8],
}

impl<'a> Context<'a> {
    /// A context that holds only the request's headers.
    pub fn of(request: &'a HeaderMap) -> Self {
        Self {
            request,
            response: None,
            method: "",
            authority: "",
            target: "",
            remote: None,
            direct: None,
            local: None,
            direct_local: None,
            connection: 0,
            chain: "",
            protocol: "",
            route: "",
            cluster: "",
            upstream: None,
            start: None,
            server_name: "",
            peer: None,
            tls: None,
            code: 0,
            flags: Flags::NONE,
            body: b"",
        }
    }
}

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    Value(Value),
}

#[derive(Debug)]
enum Value {
    /// A value that does not change while the proxy runs.
    Constant(Box<str>),
    /// A header of the request or, if it is missing, another one; cut to a number of bytes.
    Request(Source, Option<Source>, usize),
    Response(HeaderName, usize),
    /// The `:status` of a response.
    Status(usize),
    Address(End, Part),
    /// A query parameter, cut to a number of bytes.
    Query(Box<str>, usize),
    QueryWhole {
        decoded: bool,
        longest: usize,
    },
    Start(Option<Shape>),
    Text(TextField),
    Connection,
    Tls(About),
    Code,
    Flags,
    /// The first that has a value, cut to a number of bytes.
    FirstOf(Box<[Value]>, usize),
}

#[derive(Debug)]
enum Source {
    Method,
    Path,
    /// The path without the query.
    BarePath,
    Authority,
    Header(HeaderName),
    /// A header without the part from its question mark on.
    Bare(HeaderName),
}

#[derive(Debug, Clone, Copy)]
enum TextField {
    Protocol,
    Route,
    Cluster,
    Chain,
    PeerUris,
    PeerDns,
    PeerSubject,
    Body,
}

impl Template {
    /// Parses a header value.
    pub fn compile(text: &str) -> Result<Self, InvalidConfig> {
        Self::of(text, Place::Header)
    }

    /// Parses a response body.
    pub fn reply(text: &str) -> Result<Self, InvalidConfig> {
        Self::of(text, Place::Reply)
    }

    fn of(text: &str, place: Place) -> Result<Self, InvalidConfig> {
        let parsed =
            format::parse(text, place).map_err(|error| InvalidConfig(format!("`{text}` {error}")))?;
        let mut pieces = vec![];
        let mut literal = String::new();
        for piece in parsed {
            match piece {
                format::Piece::Literal(more) => literal.push_str(&more),
                format::Piece::Operator(operator, longest) => {
                    match value(&operator, longest.unwrap_or(usize::MAX))? {
                        Value::Constant(more) => literal.push_str(&more),
                        value => {
                            if !literal.is_empty() {
                                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                            }
                            pieces.push(Piece::Value(value));
                        }
                    }
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The text, if it has no operators.
    pub fn literal(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Literal(literal)] => Some(literal),
            _ => None,
        }
    }

    /// Whether it is a single operator with a numeric value.
    pub fn is_number(&self) -> bool {
        matches!(&*self.0, [Piece::Value(Value::Code | Value::Connection | Value::Address(_, Part::Port))])
    }

    /// Whether it is a single operator whose value may be missing.
    pub fn may_be_missing(&self) -> bool {
        matches!(&*self.0, [Piece::Value(value)] if !matches!(value, Value::Text(TextField::Body)))
    }

    /// Whether an operator refers to request headers.
    pub fn needs_request(&self) -> bool {
        self.reads(Head::Request)
    }

    /// Whether an operator refers to response headers.
    pub fn needs_response(&self) -> bool {
        self.reads(Head::Response)
    }

    fn reads(&self, head: Head) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Value(value) if value.reads(head)))
    }

    /// Substitutes the operators; those without a value leave nothing.
    pub fn make(&self, context: &Context<'_>) -> Vec<u8> {
        self.shown(context, true)
    }

    /// Substitutes the operators; those without a value leave a dash, unless `omit_empty`. Used for bodies.
    pub fn shown(&self, context: &Context<'_>, omit_empty: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            let before = out.len();
            piece.write(&mut out, context);
            if !omit_empty
                && out.len() == before
                && !matches!(piece, Piece::Value(Value::Text(TextField::Body)))
            {
                out.push(b'-');
            }
        }
        out
    }
}

/// A head that values are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Request,
    Response,
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>, context: &Context<'_>) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Value(value) => value.write(out, context),
        }
    }
}

impl Value {
    /// Whether the value is read from this head.
    fn reads(&self, head: Head) -> bool {
        match self {
            Self::Request(..) => head == Head::Request,
            Self::Response(..) => head == Head::Response,
            Self::FirstOf(list, _) => list.iter().any(|value| value.reads(head)),
            Self::Constant(_)
            | Self::Status(_)
            | Self::Address(..)
            | Self::Query(..)
            | Self::QueryWhole { .. }
            | Self::Start(_)
            | Self::Text(_)
            | Self::Connection
            | Self::Tls(_)
            | Self::Code
            | Self::Flags => false,
        }
    }

    fn write(&self, out: &mut Vec<u8>, context: &Context<'_>) {
        match self {
            Self::Constant(text) => out.extend_from_slice(text.as_bytes()),
            Self::Request(first, second, longest) => {
                let value = first.value(context).or_else(|| second.as_ref()?.value(context));
                out.extend_from_slice(cut(value, *longest));
            }
            Self::Response(name, longest) => {
                let value = context.response.and_then(|response| header(response, name));
                out.extend_from_slice(cut(value, *longest));
            }
            Self::Status(longest) if context.code > 0 => {
                out.extend(context.code.to_string().bytes().take(*longest));
            }
            Self::Status(_) => {}
            Self::Address(end, part) => {
                if let Some(address) = address(*end, context) {
                    part_of(out, *part, address);
                }
            }
            Self::Query(name, longest) => {
                let value = query_value(context.target, name).unwrap_or_default();
                out.extend_from_slice(cut(Some(value.as_bytes()), *longest));
            }
            Self::QueryWhole { decoded, longest } => {
                let query = context.target.split_once('?').map_or("", |(_, query)| query);
                if *decoded {
                    out.extend(shown::decoded(query).take(*longest));
                } else {
                    out.extend_from_slice(cut(Some(query.as_bytes()), *longest));
                }
            }
            Self::Start(shape) => match (context.start, shape) {
                (None, _) => {}
                (Some(start), None) => shown::iso_time(out, start),
                (Some(start), Some(shape)) => moment::write(shape, out, start),
            },
            Self::Text(word) => word.write(out, context),
            Self::Connection => out.extend(context.connection.to_string().bytes()),
            Self::Tls(what) => out.extend_from_slice(session(*what, context).unwrap_or_default().as_bytes()),
            Self::Code => out.extend(context.code.to_string().bytes()),
            // Envoy omits the dash for an empty set of flags only in logs.
            Self::Flags => out.extend(context.flags.to_string().bytes()),
            Self::FirstOf(list, longest) => {
                let before = out.len();
                for value in list {
                    value.write(out, context);
                    if out.len() > before {
                        break;
                    }
                }
                out.truncate(before.saturating_add(*longest));
            }
        }
    }
}

fn address(end: End, context: &Context<'_>) -> Option<SocketAddr> {
    match end {
        End::Remote => context.remote,
        End::Direct => context.direct,
        End::Local => context.local,
        End::DirectLocal => context.direct_local,
        End::Upstream | End::UpstreamRemote => context.upstream,
        End::UpstreamLocal => None,
    }
}

fn part_of(out: &mut Vec<u8>, part: Part, address: SocketAddr) {
    match part {
        Part::Whole => shown::address(out, address),
        Part::Ip => shown::ip(out, address.ip()),
        Part::Network(bits) => shown::network(out, address.ip(), bits),
        Part::Port => shown::number(out, address.port().into()),
    }
}

fn session<'a>(what: About, context: &Context<'a>) -> Option<&'a str> {
    match what {
        About::Version => context.tls.map(|session| session.version),
        About::Cipher => context.tls.map(|session| session.cipher),
        About::Group => context.tls.and_then(|session| session.group),
        About::ServerName => Some(context.server_name),
    }
}

fn query_value<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let query = target.split_once('?')?.1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

impl Source {
    fn value<'a>(&self, context: &Context<'a>) -> Option<&'a [u8]> {
        let text = |text: &'a str| Some(text.as_bytes()).filter(|text| !text.is_empty());
        match self {
            Self::Method => text(context.method),
            Self::Path => text(context.target),
            Self::BarePath => text(context.target).map(bare),
            Self::Authority => text(context.authority),
            Self::Header(name) => header(context.request, name),
            Self::Bare(name) => header(context.request, name).map(bare),
        }
    }
}

fn bare(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'?').next().unwrap_or_default()
}

impl TextField {
    fn write(self, out: &mut Vec<u8>, context: &Context<'_>) {
        let text = match self {
            Self::Protocol => context.protocol,
            Self::Route => context.route,
            Self::Cluster => context.cluster,
            Self::Chain => context.chain,
            Self::PeerUris => return joined(out, context.peer.iter().flat_map(|peer| &peer.uris)),
            Self::PeerDns => return joined(out, context.peer.iter().flat_map(|peer| &peer.dns)),
            Self::PeerSubject => context.peer.map_or("", |peer| &peer.subject),
            Self::Body => return out.extend_from_slice(context.body),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn joined<T: std::fmt::Display>(out: &mut Vec<u8>, items: impl Iterator<Item = T>) {
    for (place, item) in items.enumerate() {
        // Writing to memory cannot fail.
        let _ = write!(out, "{}{item}", if place > 0 { "," } else { "" });
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

fn cut(value: Option<&[u8]>, longest: usize) -> &[u8] {
    let value = value.unwrap_or_default();
    &value[..longest.min(value.len())]
}

/// Compiles an operator. `longest` is the most bytes of its value to write.
#[expect(clippy::too_many_lines, reason = "one line for each operator")]
fn value(from: &Operator, longest: usize) -> Result<Value, InvalidConfig> {
    Ok(match from {
        Operator::Request(first, second) => request((first, second.as_ref()), true, longest)?,
        Operator::RequestWithoutQuery(first, second) => request((first, second.as_ref()), false, longest)?,
        Operator::Response(first, None) => response(first, longest)?,
        Operator::Response(first, Some(second)) => {
            Value::FirstOf([response(first, longest)?, response(second, longest)?].into(), longest)
        }
        Operator::Path { query, which } => {
            let original = Field::Header("x-envoy-original-path".into());
            match which {
                Which::Original => request((&original, None), *query, longest)?,
                Which::Current => request((&Field::Path, None), *query, longest)?,
                Which::OriginalOrCurrent => request((&original, Some(&Field::Path)), *query, longest)?,
            }
        }
        Operator::QueryParameter(name) => Value::Query(name.as_str().into(), longest),
        Operator::Query { decoded } => Value::QueryWhole { decoded: *decoded, longest },
        Operator::StreamId => request((&Field::Header("x-request-id".into()), None), true, longest)?,
        Operator::ServerName(name) => server_name(*name, longest)?,
        Operator::FirstOf(list) => {
            let each = list.iter().map(|(operator, longest)| value(operator, longest.unwrap_or(usize::MAX)));
            Value::FirstOf(each.collect::<Result<_, _>>()?, longest)
        }
        Operator::MachineName => Value::Constant(environment::host_name().into()),
        Operator::Environment(name) => Value::Constant(environment::value(name, Some(longest)).into()),
        Operator::Time(Moment::Start, shape) => Value::Start(shape.clone()),
        Operator::Address(end, part) => Value::Address(*end, *part),
        Operator::Protocol => Value::Text(TextField::Protocol),
        Operator::Route => Value::Text(TextField::Route),
        Operator::Cluster => Value::Text(TextField::Cluster),
        Operator::FilterChain => Value::Text(TextField::Chain),
        Operator::Certificate(CertificateOwner::Peer, Fact::Uris) => Value::Text(TextField::PeerUris),
        Operator::Certificate(CertificateOwner::Peer, Fact::Dns) => Value::Text(TextField::PeerDns),
        Operator::Certificate(CertificateOwner::Peer, Fact::Subject) => Value::Text(TextField::PeerSubject),
        Operator::Body => Value::Text(TextField::Body),
        Operator::ConnectionId => Value::Connection,
        Operator::Tls(Side::Downstream, what) => Value::Tls(*what),
        Operator::Code => Value::Code,
        Operator::Flags => Value::Flags,
        // The table of operators does not allow these here.
        Operator::Trailer(..)
        | Operator::UniqueId
        | Operator::Time(..)
        | Operator::Duration(..)
        | Operator::Whole
        | Operator::PoolReady
        | Operator::Handshake
        | Operator::UpstreamProtocol
        | Operator::CodeDetails { .. }
        | Operator::FlagsLong
        | Operator::TerminationDetails
        | Operator::TransportFailure
        | Operator::Bytes(_)
        | Operator::Zero
        | Operator::Attempts
        | Operator::Attempted(_)
        | Operator::HostName { .. }
        | Operator::UpstreamConnectionId
        | Operator::Certificate(..)
        | Operator::Tls(Side::Upstream, _)
        | Operator::GrpcStatus(_)
        | Operator::LogType
        | Operator::Nothing => return Err(InvalidConfig("an operator is for access logs alone".into())),
    })
}

fn request(
    (first, second): (&Field, Option<&Field>),
    query: bool,
    longest: usize,
) -> Result<Value, InvalidConfig> {
    let second = second.map(|field| source(field, query)).transpose()?;
    Ok(Value::Request(source(first, query)?, second, longest))
}

fn source(field: &Field, query: bool) -> Result<Source, InvalidConfig> {
    Ok(match field {
        Field::Method => Source::Method,
        Field::Path if query => Source::Path,
        Field::Path => Source::BarePath,
        Field::Authority => Source::Authority,
        // A forwarded request always carries this header.
        Field::Scheme => Source::Header(HeaderName::from_static("x-forwarded-proto")),
        Field::Status => return Err(InvalidConfig("a request has no status".into())),
        Field::Header(name) if query => Source::Header(header_name(name)?),
        Field::Header(name) => Source::Bare(header_name(name)?),
    })
}

fn response(field: &Field, longest: usize) -> Result<Value, InvalidConfig> {
    match field {
        Field::Status => Ok(Value::Status(longest)),
        Field::Header(name) => Ok(Value::Response(header_name(name)?, longest)),
        Field::Method | Field::Path | Field::Authority | Field::Scheme => {
            Err(InvalidConfig("a response has no such header".into()))
        }
    }
}

fn server_name(name: ServerName, longest: usize) -> Result<Value, InvalidConfig> {
    let (tls, host) = match name {
        ServerName::Tls => return Ok(Value::Tls(About::ServerName)),
        ServerName::TlsOr(host) => (Some(Value::Tls(About::ServerName)), host),
        ServerName::Host(host) => (None, host),
    };
    let original = Field::Header("x-envoy-original-host".into());
    let host = match host {
        Host::Original => request((&original, None), true, longest)?,
        Host::Current => request((&Field::Authority, None), true, longest)?,
        Host::OriginalOrCurrent => request((&original, Some(&Field::Authority)), true, longest)?,
    };
    Ok(Value::FirstOf(tls.into_iter().chain([host]).collect(), longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn operators_have_the_values_of_the_request() {
        let request =
            HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_static("source"))]);
        let local = "10.0.0.2:8080".parse().ok();
        let context = Context {
            method: "GET",
            target: "/p?q",
            authority: "h",
            local,
            code: 503,
            body: b"why",
            route: "r",
            ..Context::of(&request)
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("%REQ(X-A)%", "source"),
            ("%REQ(x-b?x-a):3%", "sou"),
            ("%REQ(:METHOD)% %REQ(:path)% %REQ(:AUTHORITY)%", "GET /p?q h"),
            ("%RESPONSE_CODE%:%LOCAL_REPLY_BODY%", "503:why"),
            ("%DOWNSTREAM_LOCAL_PORT% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "8080 10.0.0.2"),
            ("%ROUTE_NAME%/%UPSTREAM_CLUSTER%", "r/"),
            ("100%%", "100%"),
            ("%RESP(x-a)%", ""),
        ] {
            let made = Template::compile(text).unwrap().make(&context);
            assert_eq!(String::from_utf8(made).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn operators_have_the_values_of_the_connection() {
        let request = HeaderMap::new();
        let session = Session { version: "TLSv1.3", cipher: "c", group: Some("X25519") };
        let context = Context {
            target: "/p?a=b%20c",
            authority: "host",
            direct_local: "127.0.0.1:15006".parse().ok(),
            upstream: "10.1.2.3:80".parse().ok(),
            connection: 7,
            chain: "chain",
            tls: Some(session),
            code: 200,
            ..Context::of(&request)
        };
        for (text, expected) in [
            ("%CONNECTION_ID% %FILTER_CHAIN_NAME% %DOWNSTREAM_TLS_GROUP%", "7 chain X25519"),
            (
                "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)%",
                "127.0.0.1:15006 10.0.0.0/8",
            ),
            ("%PATH(NQ)% %PATH(WQ:PATH):3% %QUERY_PARAMS% %QUERY_PARAMS(DECODED)%", "/p /p? a=b%20c a=b c"),
            ("%REQUESTED_SERVER_NAME(SNI_FIRST)%|%REQUESTED_SERVER_NAME%|", "host||"),
            ("%RESP(x?:status):2%", "20"),
            (
                "%COALESCE({\"operators\": [\"REQUESTED_SERVER_NAME\", {\"command\": \"REQ\", \"param\": \":authority\"}]}):2%",
                "ho",
            ),
        ] {
            let made = Template::compile(text).unwrap().make(&context);
            assert_eq!(String::from_utf8(made).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn all_operators_of_the_grammar_compile() {
        let request = HeaderMap::new();
        for row in format::rows() {
            let arguments = [
                "",
                "()",
                "(x)",
                "(x?:status)",
                "(:path?x)",
                "(NQ)",
                "(DECODED)",
                "(SNI_FIRST)",
                "(16)",
                "(%s)",
            ];
            let written = arguments.map(|argument| format!("%{}{argument}%", row.name));
            for text in written.into_iter().chain([row.example()]) {
                for place in [Place::Header, Place::Reply] {
                    let made = Template::of(&text, place);
                    assert_eq!(made.is_ok(), format::parse(&text, place).is_ok(), "{text}");
                    if let Ok(template) = made {
                        template.shown(&Context::of(&request), false);
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_operators_are_refused() {
        for text in ["%NOPE%", "%REQ(a", "50%", "%REQ(a)x%", "%PROTOCOL(x)%", "%DOWNSTREAM_LOCAL_NAME%"] {
            assert!(Template::compile(text).is_err(), "{text}");
        }
    }
}
