//! A message body read from a connection of either HTTP version.

use super::error::Cut;
use crate::filter::table::Change;
use crate::flow::refusal::Refusal;
use crate::{http1, http2};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body that is read from a connection.
#[derive(Debug)]
pub enum Incoming {
    /// From an HTTP/1 connection.
    Http1(http1::Body),
    /// From a stream of an HTTP/2 connection.
    Http2(http2::Body),
    /// Changed by a filter while it is read.
    Changed(Box<ChangedBody>),
    /// Read to its end before.
    Buffered(Box<BufferedBody>),
}

/// A body that has been read to its end.
#[derive(Debug)]
pub struct BufferedBody {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// Why a body failed.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// On an HTTP/1 connection.
    #[error(transparent)]
    Http1(#[from] http1::BodyError),
    /// On a stream of an HTTP/2 connection.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// A filter refused it.
    #[error("a filter refuses the body: {}", .0.details)]
    Refused(Box<Refusal>),
}

impl IncomingError {
    /// What is invalid in the body; `None`: it failed for another reason.
    pub fn invalid(&self) -> Option<http1::Invalid> {
        match self {
            Self::Http1(http1::BodyError::Invalid(invalid)) => Some(*invalid),
            Self::Http1(_) | Self::Http2(_) | Self::Refused(_) => None,
        }
    }

    /// How the peer ended it.
    pub fn cut(&self) -> Cut {
        match self {
            // The framing announces more data, so an early end is a protocol error too.
            Self::Http1(_) | Self::Refused(_) => Cut::Protocol,
            Self::Http2(error) => Cut::of(error),
        }
    }
}

impl From<http2::Body> for Incoming {
    fn from(body: http2::Body) -> Self {
        Self::Http2(body)
    }
}

impl From<http1::Body> for Incoming {
    fn from(body: http1::Body) -> Self {
        Self::Http1(body)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(context).map_err(IncomingError::from),
            Self::Http2(body) => Pin::new(body).poll_frame(context).map_err(IncomingError::from),
            Self::Changed(changed) => changed.poll_frame(context),
            Self::Buffered(body) => Poll::Ready(body.frame().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Changed(changed) => changed.ended,
            Self::Buffered(body) => body.data.is_empty() && body.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            // The size is unknown until the filter has changed all of it.
            Self::Changed(_) => SizeHint::default(),
            Self::Buffered(body) => SizeHint::with_exact(body.data.len() as u64),
        }
    }
}

/// A function that is called with the trailers.
pub(super) type OnTrailers = Box<dyn FnOnce(&HeaderMap)>;

/// A body that a filter changes while it is read.
pub struct ChangedBody {
    from: Incoming,
    by: Change,
    /// Called with the trailers as received.
    on_trailers: Option<OnTrailers>,
    ended: bool,
}

impl Incoming {
    /// A body that has been read to its end.
    pub fn buffered(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self::Buffered(Box::new(BufferedBody { data, trailers }))
    }

    /// The body as changed by a filter. `on_trailers` is called with the trailers as received.
    #[must_use]
    pub fn changed(self, by: Change, on_trailers: Option<OnTrailers>) -> Self {
        Self::Changed(Box::new(ChangedBody { from: self, by, on_trailers, ended: false }))
    }
}

impl BufferedBody {
    fn frame(&mut self) -> Option<Frame<Bytes>> {
        if self.data.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        Some(Frame::data(std::mem::take(&mut self.data)))
    }
}

impl ChangedBody {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        while !self.ended {
            let trailers = match ready!(Pin::new(&mut self.from).poll_frame(context)).transpose()? {
                None => None,
                Some(frame) => match frame.into_data() {
                    Ok(data) => match self.by.data(data) {
                        Ok(data) if data.is_empty() => continue,
                        Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                        Err(refusal) => return self.refuse(refusal),
                    },
                    Err(frame) => frame.into_trailers().ok(),
                },
            };
            self.ended = true;
            if let (Some(on_trailers), Some(trailers)) = (self.on_trailers.take(), &trailers) {
                on_trailers(trailers);
            }
            return match self.by.end(trailers) {
                Ok((data, _)) if !data.is_empty() => Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok((_, trailers)) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(refusal) => self.refuse(refusal),
            };
        }
        Poll::Ready(None)
    }

    fn refuse(&mut self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(IncomingError::Refused(Box::new(refusal)))))
    }
}

impl std::fmt::Debug for ChangedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangedBody").field("from", &self.from).field("by", &self.by).finish_non_exhaustive()
    }
}
