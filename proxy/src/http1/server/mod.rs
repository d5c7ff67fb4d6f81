//! The HTTP/1 server: handles the requests of a connection in order, each to its end before the next is parsed.

use super::body::{Body, BodyError};
use super::connection::{Connection, Peer};
use super::date;
use super::encode::{self, Reply};
use super::framer::{Framer, TooShort};
use super::framing::{self, Length};
use super::invalid::Invalid;
use super::reader::Reading;
use super::timer::Timer;
use super::upgrade::Duplex;
use crate::http1::head::{self, Limits};
use crate::io::Turn;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version, header, response};
use http_body::Frame;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Settings of a server connection.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Limits on the size of a head.
    pub limits: Limits,
    /// The most time a head may take from its first byte.
    pub head_timeout: Option<Duration>,
}

/// Handles the requests of a connection.
pub trait Service {
    /// The type of response bodies.
    type Body: http_body::Body<Data = Bytes>;

    /// Produces the response to a request.
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Self::Body>>;

    /// Responds to a malformed request. `head` holds the parts that parsed, if any.
    fn refuse(&self, invalid: Invalid, head: Option<Parts>) -> Response<Self::Body>;

    /// The current time, for the `date` header.
    fn time(&self) -> SystemTime;

    /// Whether to close connections as soon as they are idle. It is read each time the connection's task is polled,
    /// so a change must wake the task.
    fn closing(&self) -> bool;
}

/// Serves a connection until it ends.
pub async fn serve<S, V>(io: S, settings: Settings, service: V)
where
    S: Duplex + 'static,
    V: Service,
{
    let connection = Rc::new(Connection::new(io, settings.limits));
    loop {
        let Some(head) = next(&connection, settings.head_timeout, &service).await else { break };
        let after = match head.map_err(|i| (i, None)).and_then(|head| understood(&head, settings.limits)) {
            Ok((parts, length)) => exchange(&connection, parts, length, settings.limits, &service).await,
            Err((invalid, parts)) => {
                let properties = parts.as_deref().map_or(RequestProperties::UNKNOWN, RequestProperties::new);
                connection.begin(Reading::Failed(BodyError::Invalid(invalid)), false);
                let response = service.refuse(invalid, parts.map(|parts| *parts));
                respond(&connection, properties, response, &service).await
            }
        };
        match after {
            NextState::Next => {}
            NextState::Close => break,
            // No orderly shutdown: the client must notice that the response is incomplete.
            NextState::Cut => return,
        }
    }
    let _ = timeout(LINGER, close(&connection)).await;
}

/// What happens to a connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextState {
    Next,
    Close,
    Cut,
}

/// The properties of a request that its response depends on.
#[derive(Debug, Clone, Copy)]
struct RequestProperties {
    version: Version,
    head_only: bool,
    persists: bool,
    /// Whether the client accepts trailers.
    trailers: bool,
}

impl RequestProperties {
    const UNKNOWN: Self =
        Self { version: Version::HTTP_11, head_only: false, persists: false, trailers: false };

    fn new(parts: &Parts) -> Self {
        Self {
            version: parts.version,
            head_only: parts.method == Method::HEAD,
            // The bytes after a CONNECT were meant for a tunnel, so they are never parsed as a request.
            persists: framing::persists(parts.version, &parts.headers) && parts.method != Method::CONNECT,
            trailers: framing::names(&parts.headers, header::TE, "trailers"),
        }
    }
}

type Refused = (Invalid, Option<Box<Parts>>);

/// Waits for the next head.
async fn next<S: Duplex, V: Service>(
    connection: &Connection<S>,
    limit: Option<Duration>,
    service: &V,
) -> Option<Result<Bytes, Invalid>> {
    let mut timer = Timer::default();
    poll_fn(|context| {
        if let Poll::Ready(head) = connection.poll_head(service.closing(), context) {
            return Poll::Ready(head);
        }
        match limit {
            Some(limit) if connection.has_begun() => {
                timer.poll(limit, context).map(|()| Some(Err(Invalid::Slow)))
            }
            _ => Poll::Pending,
        }
    })
    .await
}

fn understood(head: &Bytes, limits: Limits) -> Result<(Parts, Length), Refused> {
    let parts = head::request(head, limits).map_err(|invalid| (invalid, None))?;
    match framing::request(&parts.method, parts.version, &parts.headers) {
        Ok(length) => Ok((parts, length)),
        Err(invalid) => Err((invalid, Some(Box::new(parts)))),
    }
}

async fn exchange<S, V>(
    connection: &Rc<Connection<S>>,
    parts: Parts,
    length: Length,
    limits: Limits,
    service: &V,
) -> NextState
where
    S: Duplex + 'static,
    V: Service,
{
    let properties = RequestProperties::new(&parts);
    let expects =
        parts.version == Version::HTTP_11 && framing::names(&parts.headers, header::EXPECT, "100-continue");
    let number = connection.begin(Reading::new(length, limits), expects);
    let request = Request::from_parts(parts, Body::new(connection.clone(), number));
    // On the heap, because a connection spends most of its life without a request.
    let mut handling = Box::pin(service.handle(request));
    let mut grace = Timer::default();
    let response = poll_fn(|context| match handling.as_mut().poll(context) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending => watch(connection, &mut grace, context).map(|()| None),
    })
    .await;
    drop(handling);
    match response {
        Some(response) => respond(connection, properties, response, service).await,
        None => NextState::Cut,
    }
}

/// Ready when the client is gone, or half-closed for too long.
fn watch<S: Duplex>(connection: &Connection<S>, grace: &mut Timer, context: &mut Context<'_>) -> Poll<()> {
    match connection.watch(context) {
        Peer::Quiet => Poll::Pending,
        Peer::HalfClosed => grace.poll(HALF_CLOSED, context),
        Peer::Gone => Poll::Ready(()),
    }
}

/// Sends a response.
async fn respond<S, V>(
    connection: &Connection<S>,
    properties: RequestProperties,
    response: Response<V::Body>,
    service: &V,
) -> NextState
where
    S: Duplex + 'static,
    V: Service,
{
    let (parts, body) = response.into_parts();
    let mut body = pin!(body);
    let upgrades = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let length = length(properties, &parts, http_body::Body::size_hint(&*body).exact());
    let persists = connection.begin_response()
        && properties.persists
        && !service.closing()
        && length != Some(Length::UntilClose)
        && !framing::names(&parts.headers, header::CONNECTION, "close");
    let date = date::of(service.time());
    let announces_chunks =
        properties.head_only && framing::announces_chunks(properties.version, parts.status, &parts.headers);
    let (version, status) = (properties.version, parts.status);
    let reply = Reply { version, status, length, announces_chunks, persists, date };
    connection.write(|out| encode::response(out.gathered(), &reply, &parts.headers));
    drop(parts);
    if upgrades {
        let flushed = poll_fn(|context| connection.poll_flush(context)).await;
        return if flushed.is_ok() && connection.hand_over() { NextState::Cut } else { NextState::Close };
    }
    let mut framer = Framer::new(length, properties.trailers);
    let (mut grace, mut broken) = (Timer::default(), false);
    let sent = poll_fn(|context| {
        let sending = Sending { connection, framer: &mut framer, grace: &mut grace, broken: &mut broken };
        sending.poll(body.as_mut(), context)
    });
    match sent.await {
        Ok(()) if persists && connection.is_read() => NextState::Next,
        Ok(()) => NextState::Close,
        Err(SendFailed) => NextState::Cut,
    }
}

/// How the body of a response is framed; `None`: there is no body.
fn length(properties: RequestProperties, parts: &response::Parts, known: Option<u64>) -> Option<Length> {
    if properties.head_only || !framing::has_body(&Method::GET, parts.status) {
        return None;
    }
    match framing::outgoing(&parts.headers, known) {
        Length::Chunked if properties.version != Version::HTTP_11 => Some(Length::UntilClose),
        length => Some(length),
    }
}

/// A response could not be sent completely.
struct SendFailed;

/// The state of sending a response body.
struct Sending<'a, S> {
    connection: &'a Connection<S>,
    framer: &'a mut Framer,
    grace: &'a mut Timer,
    /// The body failed early; the bytes before the failure are still flushed to the client.
    broken: &'a mut bool,
}

impl<S: Duplex> Sending<'_, S> {
    fn poll<B: http_body::Body<Data = Bytes>>(
        mut self,
        mut body: Pin<&mut B>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendFailed>> {
        let mut turn = Turn::default();
        loop {
            let mut waits = false;
            while !waits && !*self.broken && !self.framer.is_done() && self.connection.has_room() {
                match body.as_mut().poll_frame(context) {
                    // The response has no body on the wire, so there is no need to wait for the rest of it.
                    Poll::Pending if self.framer.is_silent() => return self.finish(context),
                    Poll::Pending => waits = true,
                    Poll::Ready(frame) => *self.broken = self.add(frame.transpose()).is_err(),
                }
            }
            if *self.broken {
                return self.connection.poll_flush(context).map(|_| Err(SendFailed));
            }
            if self.framer.is_done() {
                return self.finish(context);
            }
            if waits {
                return watch(self.connection, self.grace, context).map(|()| Err(SendFailed));
            }
            ready!(self.connection.poll_write(context)).map_err(|_| SendFailed)?;
            ready!(turn.take(1, context));
        }
    }

    fn add<E>(&mut self, frame: Result<Option<Frame<Bytes>>, E>) -> Result<(), SendFailed> {
        *self.grace = Timer::default();
        let frame = frame.map_err(|_| SendFailed)?;
        self.connection.write(|out| self.framer.add(frame, out)).map_err(|TooShort| SendFailed)
    }

    fn finish(&self, context: &mut Context<'_>) -> Poll<Result<(), SendFailed>> {
        // The next request has already arrived: its response is written together with this one.
        if self.connection.is_ahead() {
            return Poll::Ready(Ok(()));
        }
        self.connection.poll_flush(context).map_err(|_| SendFailed)
    }
}

/// Closes the connection so that the client receives everything that was sent. A socket closed with unread bytes
/// sends a reset, which discards data in transit.
async fn close<S: Duplex>(connection: &Connection<S>) {
    let unread = connection.is_unread();
    let shut = poll_fn(|context| connection.poll_shutdown(context)).await;
    if unread && shut.is_ok() {
        poll_fn(|context| connection.poll_discard(context)).await;
    }
}

/// How long a request of a half-closed client may wait for progress: its response must begin, or continue, within
/// this time. A client that is gone looks half-closed until data is sent to it, and its request should not go on
/// without a reader.
const HALF_CLOSED: Duration = Duration::from_secs(1);
/// How long the client may take to close an ended connection.
const LINGER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
