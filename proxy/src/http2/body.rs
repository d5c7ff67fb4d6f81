//! The body of an incoming message on an HTTP/2 stream.

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::task::AbortOnDropHandle;

/// The body of one message. Reading it makes room in the flow-control windows of the stream and the connection.
#[derive(Debug)]
pub struct Body {
    stream: RecvStream,
    /// What remains of the declared length.
    left: Option<u64>,
    ended: bool,
    /// The task that sends the rest of the request to which this body is the response.
    sending: Option<AbortOnDropHandle<()>>,
}

impl Body {
    /// Creates a body. `None`: the headers declare two lengths, of which h2 checks only the first.
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap) -> Option<Self> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        // h2 resets a stream whose declared length is not a number or differs from the length of its data.
        let length = lengths.next().and_then(|length| length.to_str().ok()?.parse().ok());
        let one = lengths.next().is_none();
        one.then_some(Self { stream, left: length, ended: false, sending: None })
    }

    /// Aborts a task when this body is dropped.
    pub(super) fn while_read(self, sending: AbortOnDropHandle<()>) -> Self {
        Self { sending: Some(sending), ..self }
    }

    fn fail(&mut self, error: h2::Error) -> Option<Result<Frame<Bytes>, h2::Error>> {
        self.ended = true;
        // The response is complete, and the server does not want the rest of the request (RFC 9113, 8.1).
        let early = self.sending.is_some() && error.reason() == Some(Reason::NO_ERROR);
        if early || self.left == Some(0) { None } else { Some(Err(error)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(data) = ready!(this.stream.poll_data(context)) {
            return Poll::Ready(match data {
                Ok(data) => {
                    // Fails only if the stream is gone, and its window with it.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    Some(Ok(Frame::data(data)))
                }
                Err(error) => this.fail(error),
            });
        }
        let trailers = ready!(this.stream.poll_trailers(context));
        this.ended = true;
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => this.fail(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
