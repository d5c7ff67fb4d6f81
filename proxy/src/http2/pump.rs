//! Sends a body on a stream as fast as the peer's flow control and the body's source allow.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An outgoing body; ready when all of it was passed to the connection.
pub(super) struct Pump<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// Data that waits for a window, and whether it is the last.
    held: Option<(Bytes, bool)>,
}

/// Why a body was not sent completely.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The peer wants no more of it, or the connection has ended.
    Peer,
    /// The body's source failed; the stream was reset.
    Source,
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Error + 'static,
{
    pub(super) fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { stream, body, held: None }
    }

    /// Sends the held data as soon as the window has any room: the rest waits in the connection. Window of the
    /// connection is claimed only for data that is available; otherwise a stalled body could block all others.
    fn send_held(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Stopped>> {
        while self.held.is_some() && self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Peer)),
            }
        }
        let Some((data, last)) = self.held.take() else { return Poll::Ready(Ok(false)) };
        Poll::Ready(self.stream.send_data(data, last).map(|()| last).map_err(|_| Stopped::Peer))
    }
}

impl<B> Future for Pump<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Error + 'static,
{
    type Output = Result<(), Stopped>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let this = self.get_mut();
        loop {
            if this.stream.poll_reset(context).is_ready() {
                return Poll::Ready(Err(Stopped::Peer));
            }
            if ready!(this.send_held(context))? {
                return Poll::Ready(Ok(()));
            }
            let sent = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.stream.reserve_capacity(1);
                        this.held = Some((data, this.body.is_end_stream()));
                        continue;
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => this.stream.send_trailers(trailers),
                        Err(_) => continue,
                    },
                },
                Some(Err(error)) => {
                    this.stream.send_reset(reason(&error));
                    return Poll::Ready(Err(Stopped::Source));
                }
                None => this.stream.send_data(Bytes::new(), true),
            };
            return Poll::Ready(sent.map_err(|_| Stopped::Peer));
        }
    }
}

/// The reset code for a body that failed: the code of its source's error, or else an internal error.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let mut known = causes.filter_map(|cause| cause.downcast_ref::<h2::Error>());
    known.next().and_then(h2::Error::reason).unwrap_or(Reason::INTERNAL_ERROR)
}
