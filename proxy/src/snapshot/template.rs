//! Pure. Text with operators such as `%REQ(x)%`, parsed once: header values and the bodies of the proxy's own answers.

use super::InvalidConfig;
use super::matcher::header_name;
use crate::config::surroundings;
use crate::flow::flags::Flags;
use crate::flow::peer::Peer;
use crate::telemetry::access_log::moment::Shape;
use crate::telemetry::access_log::{Part, address_part, operator_end};
use http::{HeaderMap, HeaderName};
use std::io::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Text with operators.
#[derive(Debug)]
pub struct Template(Box<[Piece]>);

/// What operators may refer to.
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
    /// The client, as far as it can be trusted.
    pub remote: Option<SocketAddr>,
    /// The connection's peer.
    pub direct: Option<SocketAddr>,
    /// Our address.
    pub local: Option<SocketAddr>,
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
    /// The client, if it showed a certificate.
    pub peer: Option<&'a Peer>,
    /// Version and cipher suite of the client's TLS, in OpenSSL's words.
    pub tls: Option<(&'static str, &'static str)>,
    /// Status of the response; 0: there is none yet.
    pub code: u16,
    /// What went wrong.
    pub flags: Flags,
    /// The text of an answer of our own.
    pub body: &'a [u8],
}

impl<'a> Context<'a> {
    /// Nothing but headers is known.
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
    /// A header of the request or, where it is not there, another one; with the most bytes to show.
    Request(Field, Option<Field>, Option<usize>),
    Response(HeaderName, Option<HeaderName>, Option<usize>),
    Address(Which, Part),
    /// A parameter of the query, with the most bytes to show.
    Query(Box<str>, usize),
    Start(Shape),
    Text(Known),
}

#[derive(Debug)]
enum Field {
    Method,
    Path,
    Authority,
    Header(HeaderName),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Remote,
    Direct,
    Local,
    Upstream,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Protocol,
    Route,
    Cluster,
    ServerName,
    PeerUris,
    PeerDns,
    PeerSubject,
    TlsVersion,
    TlsCipher,
    Code,
    Flags,
    Body,
}

impl Template {
    /// Parses a text.
    pub fn compile(text: &str) -> Result<Self, InvalidConfig> {
        let mut pieces = vec![];
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let end = operator_end(rest)
                .ok_or_else(|| InvalidConfig(format!("`{text}` has an operator without end")))?;
            let operator = &rest[..end];
            rest = &rest[end + 1..];
            if operator.is_empty() {
                literal.push('%');
                continue;
            }
            if let Some(constant) = surroundings::constant(operator) {
                literal.push_str(&constant);
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(piece(operator)?);
        }
        literal.push_str(rest);
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

    /// Whether it is one operator that stands for a number.
    pub fn is_number(&self) -> bool {
        matches!(&*self.0, [Piece::Text(Known::Code) | Piece::Address(_, Part::Port)])
    }

    /// Whether it refers to headers of the request.
    pub fn needs_request(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Request(..)))
    }

    /// Whether it refers to headers of the response.
    pub fn needs_response(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Response(..)))
    }

    /// The text with what stands for its operators; what is not there leaves nothing.
    pub fn make(&self, context: &Context<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            piece.write(&mut out, context);
        }
        out
    }

    /// The same with a dash for what is not there, as bodies have it.
    pub fn make_with_dashes(&self, context: &Context<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            let before = out.len();
            piece.write(&mut out, context);
            if out.len() == before && !matches!(piece, Piece::Text(Known::Body)) {
                out.push(b'-');
            }
        }
        out
    }
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>, context: &Context<'_>) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Request(first, second, longest) => {
                let value = first.value(context).or_else(|| second.as_ref()?.value(context));
                out.extend_from_slice(cut(value, *longest));
            }
            Self::Response(first, second, longest) => {
                let of = |name: &HeaderName| header(context.response?, name);
                let value = of(first).or_else(|| of(second.as_ref()?));
                out.extend_from_slice(cut(value, *longest));
            }
            Self::Address(which, part) => {
                let address = match which {
                    Which::Remote => context.remote,
                    Which::Direct => context.direct,
                    Which::Local => context.local,
                    Which::Upstream => context.upstream,
                };
                out.extend(address.map(|address| shown(*part, address)).unwrap_or_default().bytes());
            }
            Self::Query(name, longest) => {
                let value = query_value(context.target, name).unwrap_or_default();
                out.extend_from_slice(&value.as_bytes()[..value.len().min(*longest)]);
            }
            Self::Start(shape) => {
                if let Some(start) = context.start {
                    shape.write(out, start);
                }
            }
            Self::Text(known) => known.write(out, context),
        }
    }
}

fn query_value<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let query = target.split_once('?')?.1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

impl Field {
    fn value<'a>(&self, context: &Context<'a>) -> Option<&'a [u8]> {
        let text = |text: &'a str| Some(text.as_bytes()).filter(|text| !text.is_empty());
        match self {
            Self::Method => text(context.method),
            Self::Path => text(context.target),
            Self::Authority => text(context.authority),
            Self::Header(name) => header(context.request, name),
        }
    }
}

fn shown(part: Part, address: SocketAddr) -> String {
    match part {
        Part::Whole => address.to_string(),
        Part::Ip => address.ip().to_string(),
        Part::Port => address.port().to_string(),
    }
}

impl Known {
    fn write(self, out: &mut Vec<u8>, context: &Context<'_>) {
        let text = match self {
            Self::Protocol => context.protocol,
            Self::Route => context.route,
            Self::Cluster => context.cluster,
            Self::ServerName => context.server_name,
            Self::PeerUris => return joined(out, context.peer.iter().flat_map(|peer| &peer.uris)),
            Self::PeerDns => return joined(out, context.peer.iter().flat_map(|peer| &peer.dns)),
            Self::PeerSubject => context.peer.map_or("", |peer| &peer.subject),
            Self::TlsVersion => context.tls.map_or("", |(version, _)| version),
            Self::TlsCipher => context.tls.map_or("", |(_, cipher)| cipher),
            Self::Code => return out.extend(context.code.to_string().bytes()),
            // Envoy leaves out the dash that stands for no flag at all in logs only.
            Self::Flags => return out.extend(context.flags.to_string().bytes()),
            Self::Body => return out.extend_from_slice(context.body),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn joined<T: std::fmt::Display>(out: &mut Vec<u8>, items: impl Iterator<Item = T>) {
    for (place, item) in items.enumerate() {
        // Writing to memory does not fail.
        let _ = write!(out, "{}{item}", if place > 0 { "," } else { "" });
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

fn cut(value: Option<&[u8]>, longest: Option<usize>) -> &[u8] {
    let value = value.unwrap_or_default();
    &value[..longest.unwrap_or(usize::MAX).min(value.len())]
}

fn piece(operator: &str) -> Result<Piece, InvalidConfig> {
    let unknown = || InvalidConfig(format!("operator %{operator}% is not supported here"));
    let (name, argument, longest) = split(operator).ok_or_else(unknown)?;
    let (first, second) = match argument.split_once('?') {
        Some((first, second)) => (first, Some(second)),
        None => (argument, None),
    };
    match name {
        "REQ" => Ok(Piece::Request(field(first)?, second.map(field).transpose()?, longest)),
        "STREAM_ID" if argument.is_empty() => Ok(Piece::Request(field("x-request-id")?, None, None)),
        "QUERY_PARAM" => Ok(Piece::Query(argument.into(), longest.unwrap_or(usize::MAX))),
        "START_TIME" => {
            let format = if argument.is_empty() { "%FT%T.%3fZ" } else { argument };
            Shape::parse(format).map(Piece::Start).ok_or_else(unknown)
        }
        "RESP" => Ok(Piece::Response(lower(first)?, second.map(lower).transpose()?, longest)),
        _ if argument.is_empty() => simple(name).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

/// Name, argument in parentheses (empty without), and the length after a colon.
fn split(operator: &str) -> Option<(&str, &str, Option<usize>)> {
    let Some((name, rest)) = operator.split_once('(') else { return Some((operator, "", None)) };
    let (argument, rest) = rest.rsplit_once(')')?;
    let longest = match rest.strip_prefix(':') {
        Some(number) => Some(number.parse().ok()?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((name, argument, longest))
}

fn lower(name: &str) -> Result<HeaderName, InvalidConfig> {
    header_name(&name.to_ascii_lowercase())
}

fn field(name: &str) -> Result<Field, InvalidConfig> {
    Ok(match name.to_ascii_lowercase().as_str() {
        ":method" => Field::Method,
        ":path" => Field::Path,
        // A request always carries it when it is sent on.
        ":scheme" => Field::Header(HeaderName::from_static("x-forwarded-proto")),
        ":authority" | "host" => Field::Authority,
        other => Field::Header(header_name(other)?),
    })
}

fn simple(name: &str) -> Option<Piece> {
    let known = match name {
        "PROTOCOL" => Known::Protocol,
        "ROUTE_NAME" => Known::Route,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Known::Cluster,
        "REQUESTED_SERVER_NAME" => Known::ServerName,
        "DOWNSTREAM_PEER_URI_SAN" => Known::PeerUris,
        "DOWNSTREAM_PEER_DNS_SAN" => Known::PeerDns,
        "DOWNSTREAM_PEER_SUBJECT" => Known::PeerSubject,
        "DOWNSTREAM_TLS_VERSION" => Known::TlsVersion,
        "DOWNSTREAM_TLS_CIPHER" => Known::TlsCipher,
        "RESPONSE_CODE" => Known::Code,
        "RESPONSE_FLAGS" => Known::Flags,
        "LOCAL_REPLY_BODY" => Known::Body,
        "UPSTREAM_HOST" => return Some(Piece::Address(Which::Upstream, Part::Whole)),
        _ => return address(name),
    };
    Some(Piece::Text(known))
}

fn address(name: &str) -> Option<Piece> {
    let sides = [
        ("DOWNSTREAM_REMOTE_", Which::Remote),
        ("DOWNSTREAM_DIRECT_REMOTE_", Which::Direct),
        ("DOWNSTREAM_LOCAL_", Which::Local),
        ("UPSTREAM_REMOTE_", Which::Upstream),
    ];
    let (which, part) = address_part(name, &sides)?;
    Some(Piece::Address(which, part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn operators_stand_for_what_the_request_tells() {
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
    fn unknown_operators_are_refused() {
        for text in ["%NOPE%", "%REQ(a", "50%", "%REQ(a)x%", "%PROTOCOL(x)%", "%DOWNSTREAM_LOCAL_NAME%"] {
            assert!(Template::compile(text).is_err(), "{text}");
        }
    }
}
