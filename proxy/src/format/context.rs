//! Pure. The values of a request or connection that operators in text may refer to.

use crate::flow::flags::Flags;
use crate::flow::peer::Peer;
use crate::flow::tls::Session;
use http::HeaderMap;
use std::net::SocketAddr;
use std::time::SystemTime;

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
