//! One request on a connection of a pool.

use super::SendError;
use super::body::RequestBody;
use super::incoming::Incoming;
use super::pool::{Flavor, Pool};
use crate::http1::client::Client;
use crate::io;
use http::{HeaderMap, Request, Response, Version};
use hyper::client::conn::http2;
use std::any::Any;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A connection for one request.
pub enum Lease {
    /// HTTP/1: ours alone until the response is complete.
    Http1(Http1, Rc<Pool>),
    /// HTTP/2: shared.
    Http2(Http2),
}

/// What is known of a connection from its beginning.
#[derive(Clone)]
pub(super) struct About {
    pub(super) flavor: Flavor,
    pub(super) local: Option<SocketAddr>,
    pub(super) tag: u32,
}

/// An HTTP/1 connection.
pub struct Http1 {
    pub(super) client: Client<io::Stream>,
    pub(super) about: About,
    pub(super) served: u32,
    pub(super) since: Instant,
    /// Lives as long as the connection.
    pub(super) _guard: Box<dyn Any>,
}

impl Http1 {
    pub(super) fn usable(&self) -> bool {
        self.client.is_ready()
    }
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub struct Http2 {
    pub(super) sender: http2::SendRequest<RequestBody>,
    pub(super) about: About,
    streams: Rc<Streams>,
}

struct Streams {
    open: Cell<usize>,
    served: Cell<u64>,
    since: Cell<Instant>,
}

impl Http2 {
    pub(super) fn new(sender: http2::SendRequest<RequestBody>, about: About) -> Self {
        let since = Cell::new(tokio::time::Instant::now().into_std());
        let streams = Rc::new(Streams { open: Cell::new(0), served: Cell::new(0), since });
        Self { sender, about, streams }
    }

    pub(super) fn free(&self) -> bool {
        self.sender.is_ready() && self.streams.open.get() < MAX_STREAMS
    }

    pub(super) fn idle_for(&self, now: Instant, limit: Duration) -> bool {
        self.streams.open.get() == 0 && now.saturating_duration_since(self.streams.since.get()) >= limit
    }
}

/// Counts a stream of an HTTP/2 connection while it lives.
struct Stream(Rc<Streams>);

impl Stream {
    fn open(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.served.set(streams.served.get() + 1);
        Self(streams.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.since.set(tokio::time::Instant::now().into_std());
    }
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
    Http2 { _stream: Stream },
}

impl Returned {
    /// The response is complete: the connection may serve the next request.
    pub fn complete(self) {
        if let Kept::Http1(Some((connection, pool))) = self.0 {
            pool.give_back(*connection);
        }
    }
}

impl Lease {
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
            Self::Http2(connection) => connection.streams.served.get() > 0,
        }
    }

    /// Sends a request. A request that was not sent at all, or that has no body, may come back with the error.
    pub async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<Sent, (SendError, Option<Request<RequestBody>>)> {
        let reused = self.reused();
        let sorted = |mut error: hyper::client::conn::TrySendError<Request<RequestBody>>| {
            let request = error.take_message();
            (SendError::of(error.into_error(), request.is_some(), reused), request)
        };
        match self {
            Self::Http1(connection, pool) => {
                let result = connection.client.send(request).await;
                let (response, asked) =
                    result.map_err(|(failure, request)| (SendError::sequential(failure, reused), request))?;
                let response = response.map(Incoming::from);
                let returned = Returned(Kept::Http1(Some((Box::new(connection), pool))));
                Ok(Sent { response, returned, asked: Some(asked) })
            }
            Self::Http2(mut connection) => {
                let stream = Stream::open(&connection.streams);
                let response = connection.sender.try_send_request(request).await.map_err(sorted)?;
                let response = response.map(Incoming::from);
                Ok(Sent { response, returned: Returned(Kept::Http2 { _stream: stream }), asked: None })
            }
        }
    }
}

/// Streams on one connection before another one is made.
const MAX_STREAMS: usize = 100;
