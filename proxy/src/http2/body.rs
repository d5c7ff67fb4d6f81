//! A message's body as it comes in on a stream.

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::task::AbortOnDropHandle;

/// The body of one message. What is read of it makes room in the windows of stream and connection.
#[derive(Debug)]
pub struct Body {
    stream: RecvStream,
    /// What is left of the announced length.
    left: Option<u64>,
    ended: bool,
    /// Sends the rest of the request that this body answers.
    sending: Option<AbortOnDropHandle<()>>,
}

impl Body {
    /// `None`: it has two lengths, of which h2 sees but the first.
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap) -> Option<Self> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        // h2 resets a stream whose length is no number, or not that of its data.
        let length = lengths.next().and_then(|length| length.to_str().ok()?.parse().ok());
        let one = lengths.next().is_none();
        one.then_some(Self { stream, left: length, ended: false, sending: None })
    }

    /// Ends a task when nobody reads this body any more.
    pub(super) fn while_read(self, sending: AbortOnDropHandle<()>) -> Self {
        Self { sending: Some(sending), ..self }
    }

    fn fail(&mut self, error: h2::Error) -> Option<Result<Frame<Bytes>, h2::Error>> {
        self.ended = true;
        // A whole answer, whose sender wants no more of the request (RFC 9113, 8.1).
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
                    // Fails only where the stream is gone, and its window with it.
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
