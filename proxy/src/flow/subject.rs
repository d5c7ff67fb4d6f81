//! Pure. Who asks, for authorization.

use super::head::Head;
use super::peer::Peer;
use std::net::{IpAddr, SocketAddr};

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Our address, or the original destination.
    pub destination: SocketAddr,
    /// The connection's peer.
    pub source: SocketAddr,
    /// The client, after trusted hops.
    pub client: IpAddr,
    /// SNI.
    pub server_name: Option<&'a str>,
    /// The client speaks TLS.
    pub tls: bool,
    /// Who it is, if it showed a certificate.
    pub peer: Option<&'a Peer>,
    /// The request; `None` when a connection is checked.
    pub head: Option<&'a Head<'a>>,
}
