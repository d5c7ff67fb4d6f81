//! The HTTP/2 client: requests of many tasks share a connection, each on its own stream.

use super::body::Body;
use super::keep_alive::KeepAlive;
use super::pump::{Pump, Stopped};
use super::{BROKEN_STREAMS, CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW};
use crate::io::{Guarded, Stream, now};
use bytes::Bytes;
use h2::Reason;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// A connection to send requests on. It closes when this value is dropped and no stream is open.
pub struct Client {
    sender: RefCell<SendRequest<Bytes>>,
    streams: Rc<Streams>,
    /// When it is dropped, the connection's task knows that no more requests will be sent.
    _last_words: oneshot::Sender<()>,
}

struct Streams {
    open: Cell<usize>,
    served: Cell<u64>,
    /// When the last request ended.
    since: Cell<Instant>,
}

/// A reserved stream slot of a connection, released when dropped.
pub struct Slot(Rc<Streams>);

impl Slot {
    fn take(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.served.set(streams.served.get() + 1);
        Self(streams.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.since.set(now());
    }
}

/// Why a request got no response.
#[derive(Debug)]
pub enum Failure {
    /// The stream or its connection failed.
    Stream(h2::Error),
    /// The request's own body failed.
    Body,
    /// The connection accepts no more requests; this one was not sent.
    Closed,
    /// The head of the response exceeds the limits.
    TooLarge,
}

/// Performs the HTTP/2 handshake. A task of its own drives the connection; `guard` lives as long as that task.
pub async fn connect<G: 'static>(stream: Stream, guard: G) -> Result<Client, h2::Error> {
    let peer = stream.socket().peer_addr().ok();
    let stream = Guarded::client(stream);
    let monitor = stream.monitor();
    let (sender, mut connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(MAX_READ)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(BROKEN_STREAMS))
        .enable_push(false)
        .handshake(stream)
        .await?;
    let streams = Rc::new(Streams { open: Cell::new(0), served: Cell::new(0), since: Cell::new(now()) });
    let (last_words, released) = oneshot::channel();
    let ping = connection.ping_pong();
    let task = Task {
        connection,
        keep_alive: ping.map(|ping| KeepAlive::new(ping, monitor.clone(), (PING, PING_TIMEOUT))),
        released: Some(released),
        streams: Rc::downgrade(&streams),
    };
    tokio::task::spawn_local(async move {
        task.await;
        if let Some(frames) = monitor.flood() {
            tracing::warn!(?peer, frames, "ended an HTTP/2 connection that its upstream floods with frames");
        }
        drop(guard);
    });
    Ok(Client { sender: RefCell::new(sender), streams, _last_words: last_words })
}

/// The task that drives a connection.
struct Task {
    connection: Connection<Guarded, Bytes>,
    keep_alive: Option<KeepAlive>,
    released: Option<oneshot::Receiver<()>>,
    streams: Weak<Streams>,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Some(keep_alive) = &mut this.keep_alive {
            let streams = &this.streams;
            let idle = || streams.upgrade().is_none_or(|streams| streams.open.get() == 0);
            if keep_alive.poll(context, idle).is_ready() {
                return Poll::Ready(());
            }
        }
        // h2 checks only when it is polled whether any handle is left.
        if this.released.as_mut().is_some_and(|released| Pin::new(released).poll(context).is_ready()) {
            this.released = None;
        }
        Pin::new(&mut this.connection).poll(context).map(drop)
    }
}

impl Client {
    /// Whether another request may be sent.
    pub fn has_room(&self) -> bool {
        let most = || self.sender.borrow().current_max_send_streams().min(MAX_STREAMS);
        matches!(self.poll_ready(), Poll::Ready(Ok(()))) && self.streams.open.get() < most()
    }

    /// Whether the connection has ended, or is closing and accepts no more requests.
    pub fn is_closed(&self) -> bool {
        matches!(self.poll_ready(), Poll::Ready(Err(_)))
    }

    /// Whether no request was active for at least `limit`.
    pub fn idle_for(&self, now: Instant, limit: Duration) -> bool {
        let streams = &self.streams;
        streams.open.get() == 0 && now.saturating_duration_since(streams.since.get()) >= limit
    }

    /// Whether a request was sent before.
    pub fn has_served(&self) -> bool {
        self.streams.served.get() > 0
    }

    /// Sends a request. Keep the slot for as long as the response's body is read. A request that was not sent is
    /// returned.
    pub async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<(Response<Body>, Slot), (Failure, Option<Request<B>>)>
    where
        B: http_body::Body<Data = Bytes> + Unpin + 'static,
        B::Error: Error + 'static,
    {
        let slot = Slot::take(&self.streams);
        if !matches!(self.poll_ready(), Poll::Ready(Ok(()))) {
            return Err((Failure::Closed, Some(request)));
        }
        let begun = self.begin(request).map_err(|error| (Failure::Stream(error), None));
        let (mut response, mut pump) = begun?;
        let response = poll_fn(|context| exchange(&mut pump, &mut response, context)).await;
        let response = response.map_err(|failure| (failure, None))?;
        let (parts, stream) = response.into_parts();
        if is_too_large(&parts.headers) {
            return Err((Failure::TooLarge, None));
        }
        let two = || (Failure::Stream(Reason::PROTOCOL_ERROR.into()), None);
        let body = Body::new(stream, &parts.headers).ok_or_else(two)?;
        let body = match pump {
            // The response came before the end of its request: both continue independently.
            Some(pump) => body.while_read(AbortOnDropHandle::new(tokio::task::spawn_local(async move {
                let _ = pump.await;
            }))),
            None => body,
        };
        Ok((Response::from_parts(parts, body), slot))
    }

    fn poll_ready(&self) -> Poll<Result<(), h2::Error>> {
        self.sender.borrow_mut().poll_ready(&mut Context::from_waker(Waker::noop()))
    }

    /// Sends a request's head.
    fn begin<B>(&self, request: Request<B>) -> Result<Begun<B>, h2::Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Error + 'static,
    {
        let (parts, body) = request.into_parts();
        let whole = body.is_end_stream();
        let request = Request::from_parts(parts, ());
        // On a clone: if a stream has to wait for its turn, the original would make the next request wait for it, too.
        let mut sender = self.sender.borrow().clone();
        let (response, stream) = sender.send_request(request, whole)?;
        Ok((response, (!whole).then(|| Pump::new(body, stream))))
    }
}

/// The pending response, and the body that is still to be sent.
type Begun<B> = (ResponseFuture, Option<Pump<B>>);

/// Sends the body until the response arrives.
fn exchange<B>(
    pump: &mut Option<Pump<B>>,
    response: &mut ResponseFuture,
    context: &mut Context<'_>,
) -> Poll<Result<Response<h2::RecvStream>, Failure>>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Error + 'static,
{
    if let Some(sending) = pump
        && let Poll::Ready(result) = Pin::new(sending).poll(context)
    {
        *pump = None;
        if matches!(result, Err(Stopped::Source)) {
            return Poll::Ready(Err(Failure::Body));
        }
    }
    let response = ready!(Pin::new(response).poll(context));
    if response.is_err() {
        *pump = None;
    }
    Poll::Ready(response.map_err(Failure::Stream))
}

fn is_too_large(headers: &HeaderMap) -> bool {
    // The size as HTTP/2 counts it (RFC 9113, 6.5.2).
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    headers.len() > MAX_HEADERS || headers.iter().map(size).sum::<usize>() > MAX_HEADER_BYTES
}

/// The most streams on one connection, even if the server allows more.
const MAX_STREAMS: usize = 100;
const FRAME: u32 = 64 * 1024;
/// The most headers in a response, as in Envoy.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 60 * 1024;
/// The most bytes that are read of an oversized response head.
const MAX_READ: u32 = 256 * 1024;
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
