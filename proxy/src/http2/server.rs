//! The HTTP/2 server: yields the requests of a connection, each with the stream that takes its response.

use super::body::Body;
use super::keep_alive::KeepAlive;
use super::pump::Pump;
use super::{BROKEN_STREAMS, CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW};
use crate::io::{Guarded, Monitor, Stream};
use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Handshake, SendResponse};
use http::{Request, Response};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Limits on a client.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most concurrent requests.
    pub max_streams: u32,
    /// The most bytes of a request's headers, as HTTP/2 counts them.
    pub max_headers: u32,
    /// The most time for the preface, for a block of headers, and for any frame except those of bodies, to arrive
    /// completely. A frame that arrives in pieces is checked once a minute.
    pub head_timeout: Option<Duration>,
}

/// A connection from a client.
pub struct Connection {
    inner: State,
    monitor: Rc<Monitor>,
    /// Whether to announce that no more requests are accepted.
    closing: bool,
    head_timeout: Option<Duration>,
}

enum State {
    /// The handshake, with its timeout.
    Greeting(Box<Handshake<Guarded, Bytes>>, Option<Pin<Box<Sleep>>>),
    Serving(Box<h2::server::Connection<Guarded, Bytes>>, Option<KeepAlive>),
}

impl Connection {
    /// Wraps a stream on which no bytes were exchanged yet.
    pub fn new(stream: Stream, settings: Settings) -> Self {
        let stream = Guarded::server(stream);
        let monitor = stream.monitor();
        let greeting = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(settings.max_headers)
            .max_send_buffer_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(RESET_BEFORE_ACCEPTED)
            .max_local_error_reset_streams(Some(BROKEN_STREAMS))
            .handshake(stream);
        let timer = settings.head_timeout.map(|limit| Box::pin(sleep(limit)));
        Self {
            inner: State::Greeting(Box::new(greeting), timer),
            monitor,
            closing: false,
            head_timeout: settings.head_timeout,
        }
    }

    /// The monitor of the connection's frames.
    pub fn monitor(&self) -> &Rc<Monitor> {
        &self.monitor
    }

    /// Announces that no more requests are accepted; active requests are completed.
    pub fn close(&mut self) {
        if let (State::Serving(connection, _), false) = (&mut self.inner, self.closing) {
            connection.graceful_shutdown();
        }
        self.closing = true;
    }

    /// Returns the next request; `None`: the connection has ended. Existing streams make progress only while this
    /// is polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(Request<Body>, Reply)>> {
        loop {
            let (connection, keep_alive) = match &mut self.inner {
                State::Serving(connection, keep_alive) => (connection, keep_alive),
                State::Greeting(greeting, timer) => {
                    if timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready()) {
                        return Poll::Ready(None);
                    }
                    let Ok(mut connection) = ready!(Pin::new(&mut **greeting).poll(context)) else {
                        return Poll::Ready(None);
                    };
                    if self.closing {
                        connection.graceful_shutdown();
                    }
                    let times = (PING, PING_TIMEOUT);
                    let ping = connection.ping_pong();
                    let keep_alive = ping.map(|ping| {
                        KeepAlive::new(ping, self.monitor.clone(), times).with_frame_limit(self.head_timeout)
                    });
                    self.inner = State::Serving(Box::new(connection), keep_alive);
                    continue;
                }
            };
            if keep_alive.as_mut().is_some_and(|k| k.poll(context, || false).is_ready()) {
                return Poll::Ready(None);
            }
            let Some(Ok((request, mut stream))) = ready!(connection.poll_accept(context)) else {
                return Poll::Ready(None);
            };
            let (parts, body) = request.into_parts();
            let Some(body) = Body::new(body, &parts.headers) else {
                stream.send_reset(Reason::PROTOCOL_ERROR);
                continue;
            };
            return Poll::Ready(Some((Request::from_parts(parts, body), Reply(stream))));
        }
    }
}

/// Takes the response to one request.
pub struct Reply(SendResponse<Bytes>);

impl Reply {
    /// Waits for the response and sends it. Ends early when the client has cancelled the request.
    pub async fn send<B>(mut self, response: Pin<&mut impl Future<Output = Response<B>>>)
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Error + 'static,
    {
        let Some(response) = self.until_reset(response).await else { return };
        let (parts, body) = response.into_parts();
        let whole = body.is_end_stream();
        match self.0.send_response(Response::from_parts(parts, ()), whole) {
            Ok(stream) if !whole => {
                // The body itself notices, when it is dropped, whether all of it was taken.
                let _ = Pump::new(body, stream).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a response cannot be sent");
                self.0.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    }

    /// Waits for the response. `None`: the client has reset the stream, or is gone.
    async fn until_reset<T>(&mut self, mut response: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| match response.as_mut().poll(context) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => self.0.poll_reset(context).map(|_| None),
        })
        .await
    }
}

/// HTTP/2's initial maximum frame size, which is also the size of one TLS record.
const FRAME: u32 = 16 * 1024;
const PING: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The most streams that a client may reset before we have accepted them.
const RESET_BEFORE_ACCEPTED: usize = 20;
