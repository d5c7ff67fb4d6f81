//! A message body read from a connection of either HTTP version.

use super::error::Cut;
use crate::filter::ready::Change;
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
    Changed(Box<Changed>),
    /// Read to its end before.
    Held(Box<Held>),
}

/// A body that has been read to its end.
#[derive(Debug)]
pub struct Held {
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
            Self::Held(held) => Poll::Ready(held.frame().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Changed(changed) => changed.ended,
            Self::Held(held) => held.data.is_empty() && held.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            // The size is unknown until the filter has changed all of it.
            Self::Changed(_) => SizeHint::default(),
            Self::Held(held) => SizeHint::with_exact(held.data.len() as u64),
        }
    }
}

/// A function that is called with the trailers.
pub(super) type Seen = Box<dyn FnOnce(&HeaderMap)>;

/// A body that a filter changes while it is read.
pub struct Changed {
    from: Incoming,
    by: Change,
    /// Called with the trailers as received.
    seen: Option<Seen>,
    ended: bool,
}

impl Incoming {
    /// A body that has been read to its end.
    pub fn held(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self::Held(Box::new(Held { data, trailers }))
    }

    /// The body as changed by a filter. `seen` is called with the trailers as received.
    #[must_use]
    pub fn changed(self, by: Change, seen: Option<Seen>) -> Self {
        Self::Changed(Box::new(Changed { from: self, by, seen, ended: false }))
    }
}

impl Held {
    fn frame(&mut self) -> Option<Frame<Bytes>> {
        if self.data.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        Some(Frame::data(std::mem::take(&mut self.data)))
    }
}

impl Changed {
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
            if let (Some(seen), Some(trailers)) = (self.seen.take(), &trailers) {
                seen(trailers);
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

impl std::fmt::Debug for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changed").field("from", &self.from).field("by", &self.by).finish_non_exhaustive()
    }
}
