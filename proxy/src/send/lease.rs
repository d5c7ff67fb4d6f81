//! The use of a pooled connection for one request.

use super::body::RequestBody;
use super::connect::Dial;
use super::connection::{Connection, ConnectionKind, Http1, Http2};
use super::error::SendError;
use super::incoming::Incoming;
use super::pool::Pool;
use crate::flow::extra::Opened;
use crate::http2::client::Slot;
use crate::io::Stream;
use http::{HeaderMap, Request, Response, Version};
use std::net::SocketAddr;
use std::rc::Rc;

/// The use of a connection for one request.
pub enum Lease {
    /// HTTP/1: exclusive until the response is complete.
    Http1(Http1, Rc<Pool>),
    /// HTTP/2: shared.
    Http2(Rc<Http2>),
}

/// A response, and its connection.
pub struct Sent {
    /// The response.
    pub response: Response<Incoming>,
    /// Holds the connection until the response is complete.
    pub returned: Returned,
    /// The request's headers, which are returned only over HTTP/1.
    pub request_headers: Option<HeaderMap>,
}

/// Holds the connection of a response. `complete` returns it to the pool; dropping this earlier closes it (an HTTP/2
/// connection stays open, only the stream ends).
pub struct Returned(PooledConnection);

enum PooledConnection {
    Http1(Option<(Box<Http1>, Rc<Pool>)>),
    Http2 { _slot: Slot },
}

impl Returned {
    /// Declares the response complete, so that the connection may serve the next request.
    pub fn complete(self) {
        if let PooledConnection::Http1(Some((connection, pool))) = self.0 {
            pool.give_back(*connection);
        }
    }
}

impl Pool {
    /// An open connection that can take a request, if there is one.
    pub fn ready(self: &Rc<Self>, kind: &ConnectionKind) -> Option<Lease> {
        self.free(kind).map(|connection| Lease::of(connection, self))
    }

    /// Opens a connection. `opened` is called with it, and returns a guard, which is dropped with the connection, and a
    /// number, which leases return as their `tag`.
    pub async fn dial<G: 'static>(
        self: &Rc<Self>,
        kind: &ConnectionKind,
        dial: &Dial,
        opened: impl FnOnce(&Stream) -> (G, u32),
    ) -> Result<Lease, SendError> {
        self.connect(kind, dial, opened).await.map(|connection| Lease::of(connection, self))
    }
}

impl Lease {
    fn of(connection: Connection, pool: &Rc<Pool>) -> Self {
        match connection {
            Connection::Http1(connection) => Self::Http1(connection, pool.clone()),
            Connection::Http2(connection) => Self::Http2(connection),
        }
    }

    /// The HTTP version of its requests.
    pub fn version(&self) -> Version {
        match self {
            Self::Http1(..) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
        }
    }

    /// The proxy's address of the connection.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Http1(connection, _) => connection.info.local,
            Self::Http2(connection) => connection.info.local,
        }
    }

    /// Facts about how the connection was established.
    pub fn opened(&self) -> &Rc<Opened> {
        match self {
            Self::Http1(connection, _) => &connection.info.opened,
            Self::Http2(connection) => &connection.info.opened,
        }
    }

    /// The number that `opened` returned for the connection.
    pub fn tag(&self) -> u32 {
        match self {
            Self::Http1(connection, _) => connection.info.tag,
            Self::Http2(connection) => connection.info.tag,
        }
    }

    /// Whether it has served a request before.
    pub fn reused(&self) -> bool {
        match self {
            Self::Http1(connection, _) => connection.served > 0,
            Self::Http2(connection) => connection.client.has_served(),
        }
    }

    /// Sends a request. On an error, a request that was not sent at all, or that has no body, may be returned too.
    pub async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<Sent, (SendError, Option<Request<RequestBody>>)> {
        let reused = self.reused();
        match self {
            Self::Http1(connection, pool) => {
                let result = connection.client.send(request).await;
                let (response, request_headers) =
                    result.map_err(|(failure, request)| (SendError::sequential(failure, reused), request))?;
                let response = response.map(Incoming::from);
                let returned = Returned(PooledConnection::Http1(Some((Box::new(connection), pool))));
                Ok(Sent { response, returned, request_headers: Some(request_headers) })
            }
            Self::Http2(connection) => {
                let result = connection.client.send(request).await;
                let (response, slot) = result
                    .map_err(|(failure, request)| (SendError::multiplexed(failure, reused), request))?;
                let response = response.map(Incoming::from);
                Ok(Sent {
                    response,
                    returned: Returned(PooledConnection::Http2 { _slot: slot }),
                    request_headers: None,
                })
            }
        }
    }
}
