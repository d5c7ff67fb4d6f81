//! A message's body as it comes in, whichever version of HTTP carries it.

use super::Cut;
use crate::{http1, http2};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that is read from a connection.
#[derive(Debug)]
pub enum Incoming {
    /// From an HTTP/1 connection.
    Http1(http1::Body),
    /// From a stream of an HTTP/2 connection.
    Http2(http2::Body),
}

/// Why a body ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// On an HTTP/1 connection.
    #[error(transparent)]
    Http1(#[from] http1::BodyError),
    /// On a stream of an HTTP/2 connection.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl IncomingError {
    /// What is wrong with the body, if it is not that its connection ended.
    pub fn invalid(&self) -> Option<http1::Invalid> {
        match self {
            Self::Http1(http1::BodyError::Invalid(invalid)) => Some(*invalid),
            _ => None,
        }
    }

    /// How the peer ended it.
    pub fn cut(&self) -> Cut {
        match self {
            // Its framing says that there is more to come, so its end is a mistake too.
            Self::Http1(_) => Cut::Protocol,
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
