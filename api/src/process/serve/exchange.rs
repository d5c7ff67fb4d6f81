//! Bodies of requests and responses that report their progress: the bytes of a request's body are counted until its
//! response begins, and a request is active until its response's body ends.

use super::acceptor::{Exchange, Upload};
use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request's body that counts its bytes.
pub(super) struct RequestBody {
    body: Incoming,
    upload: Upload,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, upload: Upload) -> Self {
        Self { body, upload }
    }
}

impl hyper::body::Body for RequestBody {
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
            this.upload.received(data.len());
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

/// A response's body. The exchange ends when the body has been sent or is dropped.
pub(super) struct ResponseBody {
    body: Body,
    exchange: Option<Exchange>,
}

impl ResponseBody {
    pub(super) fn new(body: Body, exchange: Exchange) -> Self {
        let exchange = (!body.is_end_stream()).then_some(exchange);
        Self { body, exchange }
    }
}

impl hyper::body::Body for ResponseBody {
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
