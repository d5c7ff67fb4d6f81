//! One request on a connection of a pool.

use super::SendError;
use super::body::RequestBody;
use super::connect::Dial;
use super::connection::{Connection, Flavor, Http1, Http2};
use super::incoming::Incoming;
use super::pool::Pool;
use crate::flow::extra::Opened;
use crate::http2::client::Slot;
use crate::io::Stream;
use http::{HeaderMap, Request, Response, Version};
use std::net::SocketAddr;
use std::rc::Rc;

/// A connection for one request.
pub enum Lease {
    /// HTTP/1: ours alone until the response is complete.
    Http1(Http1, Rc<Pool>),
    /// HTTP/2: shared.
    Http2(Rc<Http2>),
}

/// A response, and the connection that goes back when it is complete.
pub struct Sent {
    /// The response.
    pub response: Response<Incoming>,
    /// Keeps the connection busy.
    pub returned: Returned,
    /// The headers of the request, where sending it did not use them up: over HTTP/1.
    pub asked: Option<HeaderMap>,
}

/// What happens to the connection after the response: kept until then, given back by `complete`, closed if dropped
/// before (an HTTP/2 connection stays, only the stream ends).
pub struct Returned(Kept);

enum Kept {
    Http1(Option<(Box<Http1>, Rc<Pool>)>),
    Http2 { _slot: Slot },
}

impl Returned {
    /// The response is complete: the connection may serve the next request.
    pub fn complete(self) {
        if let Kept::Http1(Some((connection, pool))) = self.0 {
            pool.give_back(*connection);
        }
    }
}

impl Pool {
    /// A connection that is there and free.
    pub fn ready(self: &Rc<Self>, flavor: &Flavor) -> Option<Lease> {
        self.free(flavor).map(|connection| Lease::of(connection, self))
    }

    /// Makes a connection. `opened` is told of it, and gives a guard that lives as long as the connection and a number
    /// that leases show as their `tag`.
    pub async fn dial<G: 'static>(
        self: &Rc<Self>,
        flavor: &Flavor,
        dial: &Dial,
        opened: impl FnOnce(&Stream) -> (G, u32),
    ) -> Result<Lease, SendError> {
        self.connect(flavor, dial, opened).await.map(|connection| Lease::of(connection, self))
    }
}

impl Lease {
    fn of(connection: Connection, pool: &Rc<Pool>) -> Self {
        match connection {
            Connection::Http1(connection) => Self::Http1(connection, pool.clone()),
            Connection::Http2(connection) => Self::Http2(connection),
        }
    }

    /// Whether requests on it are HTTP/2.
    pub fn version(&self) -> Version {
        match self {
            Self::Http1(..) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
        }
    }

    /// Our end of the connection.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Http1(connection, _) => connection.about.local,
            Self::Http2(connection) => connection.about.local,
        }
    }

    /// How the connection was made.
    pub fn opened(&self) -> &Rc<Opened> {
        match self {
            Self::Http1(connection, _) => &connection.about.opened,
            Self::Http2(connection) => &connection.about.opened,
        }
    }

    /// The number that was given when the connection was made.
    pub fn tag(&self) -> u32 {
        match self {
            Self::Http1(connection, _) => connection.about.tag,
            Self::Http2(connection) => connection.about.tag,
        }
    }

    /// Whether it has served a request before.
    pub fn reused(&self) -> bool {
        match self {
            Self::Http1(connection, _) => connection.served > 0,
            Self::Http2(connection) => connection.client.has_served(),
        }
    }

    /// Sends a request. A request that was not sent at all, or that has no body, may come back with the error.
    pub async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<Sent, (SendError, Option<Request<RequestBody>>)> {
        let reused = self.reused();
        match self {
            Self::Http1(connection, pool) => {
                let result = connection.client.send(request).await;
                let (response, asked) =
                    result.map_err(|(failure, request)| (SendError::sequential(failure, reused), request))?;
                let response = response.map(Incoming::from);
                let returned = Returned(Kept::Http1(Some((Box::new(connection), pool))));
                Ok(Sent { response, returned, asked: Some(asked) })
            }
            Self::Http2(connection) => {
                let result = connection.client.send(request).await;
                let (response, slot) = result
                    .map_err(|(failure, request)| (SendError::multiplexed(failure, reused), request))?;
                let response = response.map(Incoming::from);
                Ok(Sent { response, returned: Returned(Kept::Http2 { _slot: slot }), asked: None })
            }
        }
    }
}
