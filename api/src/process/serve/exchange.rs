//! The body of a response, which tells when it is over: until then its request is under way.

use super::door::Exchange;
use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

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
