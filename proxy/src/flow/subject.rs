//! Pure. The subject of an authorization check.

use super::head::Head;
use super::peer::Peer;
use std::net::{IpAddr, SocketAddr};

/// The client and its request.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The original destination, or the proxy's address.
    pub destination: SocketAddr,
    /// The connection's peer.
    pub source: SocketAddr,
    /// The client's address, after trusted hops.
    pub client: IpAddr,
    /// SNI.
    pub server_name: Option<&'a str>,
    /// Whether the client uses TLS.
    pub tls: bool,
    /// The client's identity, if it sent a certificate.
    pub peer: Option<&'a Peer>,
    /// The request; `None` when a connection is checked.
    pub head: Option<&'a Head<'a>>,
}
