//! The bodies of requests and responses: what a request's holds is counted until it is answered, and a request is under
//! way until the body of its response is over.

use super::door::{Exchange, Upload};
use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request's body.
pub(super) struct Weighed {
    body: Incoming,
    upload: Upload,
}

impl Weighed {
    pub(super) fn new(body: Incoming, upload: Upload) -> Self {
        Self { body, upload }
    }
}

impl hyper::body::Body for Weighed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.upload.took(data.len());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body. Its request is over when it has been sent, or is dropped.
pub(super) struct Counted {
    body: Body,
    exchange: Option<Exchange>,
}

impl Counted {
    pub(super) fn new(body: Body, exchange: Exchange) -> Self {
        let exchange = (!body.is_end_stream()).then_some(exchange);
        Self { body, exchange }
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || this.body.is_end_stream() {
            this.exchange = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
