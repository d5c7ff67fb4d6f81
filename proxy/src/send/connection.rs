//! A connection to an endpoint, and the properties that decide which requests it can serve.

use crate::flow::extra::Opened;
use crate::http1::client::Client;
use crate::{http2, io};
use std::any::Any;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// A connection that can take a request.
pub(super) enum Connection {
    /// HTTP/1: for one request at a time.
    Http1(Http1),
    /// HTTP/2: shared.
    Http2(Rc<Http2>),
}

/// The properties that connections must share to serve the same requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionKind {
    /// Whether to use HTTP/2; `None`: negotiated by ALPN.
    pub http2: Option<bool>,
    /// Whether to offer the mesh's own ALPN.
    pub mesh: bool,
    /// The TLS server name, if it depends on the request.
    pub name: Option<Box<str>>,
}

/// Facts about a connection, known from its start.
pub(super) struct ConnectionInfo {
    pub(super) kind: ConnectionKind,
    pub(super) local: Option<SocketAddr>,
    pub(super) tag: u32,
    pub(super) opened: Rc<Opened>,
}

/// An HTTP/1 connection.
pub struct Http1 {
    pub(super) client: Client<io::Stream>,
    pub(super) info: ConnectionInfo,
    pub(super) served: u32,
    pub(super) since: Instant,
    /// Dropped with the connection.
    pub(super) _guard: Box<dyn Any>,
}

impl Http1 {
    pub(super) fn usable(&self) -> bool {
        self.client.is_ready()
    }
}

/// An HTTP/2 connection.
pub struct Http2 {
    pub(super) client: http2::client::Client,
    pub(super) info: ConnectionInfo,
}
