//! Pure. The value of one operator: where it is read from, and how it is written.

use super::context::Context;
use crate::telemetry::access_log::{moment, text as shown};
use api::format::operator::Session as About;
use api::format::operator::{End, Part};
use api::format::time::Shape;
use http::{HeaderMap, HeaderName};
use std::io::Write;
use std::net::SocketAddr;

/// The value of an operator.
#[derive(Debug)]
pub(super) enum Value {
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

/// A part of the request.
#[derive(Debug)]
pub(super) enum Source {
    Method,
    Path,
    /// The path without the query.
    BarePath,
    Authority,
    Header(HeaderName),
    /// A header without the part from its question mark on.
    Bare(HeaderName),
}

/// A text of the context.
#[derive(Debug, Clone, Copy)]
pub(super) enum TextField {
    Protocol,
    Route,
    Cluster,
    Chain,
    PeerUris,
    PeerDns,
    PeerSubject,
    Body,
}
/// A head that values are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Request,
    Response,
}

impl Value {
    /// Whether the value is read from this head.
    pub(super) fn reads(&self, head: Head) -> bool {
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

    /// Appends the value as text.
    pub(super) fn write(&self, out: &mut Vec<u8>, context: &Context<'_>) {
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
