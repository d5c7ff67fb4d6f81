//! Response bodies on their way to the client: counts them, enforces time limits, and ends the exchange when they end.

use super::exchange::Exchange;
use super::timer::Timer;
use crate::filter::table::Change;
use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::pipeline::upstream::{ActiveGuard, Permit};
use crate::pipeline::world::now;
use crate::send::{Incoming, Returned};
use api::format::operator::Point;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The body of a response.
pub(super) struct ResponseBody {
    source: Source,
    exchange: Option<Rc<Exchange>>,
}

enum Source {
    Empty,
    Whole(Option<Bytes>),
    Upstream(Box<Upstream>),
}

/// A body received from an upstream.
pub(super) struct Upstream {
    pub(super) incoming: Incoming,
    /// The connection, to be returned to the pool.
    pub(super) returned: Option<Returned>,
    /// Timeout for the whole response.
    pub(super) timer: Option<Timer>,
    /// Counts the request as active until the body ends.
    pub(super) _busy: ActiveGuard,
    pub(super) _permit: Permit,
}

/// A response that ended early, with the refusal for a client that has not received any of it.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off")]
pub(super) struct BrokenOff(pub(super) Box<Refusal>);

impl ResponseBody {
    /// A response of the proxy's own.
    pub(super) fn whole(bytes: Bytes, exchange: Rc<Exchange>) -> Self {
        let source =
            if bytes.is_empty() || exchange.bodiless { Source::Empty } else { Source::Whole(Some(bytes)) };
        Self { source, exchange: Some(exchange) }
    }

    /// An upstream's response.
    pub(super) fn upstream(upstream: Upstream, exchange: Rc<Exchange>) -> Self {
        Self { source: Source::Upstream(Box::new(upstream)), exchange: Some(exchange) }
    }

    /// An empty body that does not end the exchange, for an upgrade, which continues elsewhere.
    pub(super) fn none() -> Self {
        Self { source: Source::Empty, exchange: None }
    }

    /// Applies a filter's change to an upstream's body. `seen` is called with the trailers as received.
    pub(super) fn change(&mut self, by: Change, seen: impl FnOnce(&HeaderMap) + 'static) {
        self.source = match std::mem::replace(&mut self.source, Source::Empty) {
            Source::Upstream(mut upstream) => {
                upstream.incoming = upstream.incoming.changed(by, Some(Box::new(seen)));
                Source::Upstream(upstream)
            }
            other => other,
        };
    }

    /// Reads the body to its end and returns its first `most` bytes. The client receives an empty body.
    pub(super) async fn read_to_end(&mut self, most: usize) -> Result<Bytes, BrokenOff> {
        // The end of this body does not end the exchange.
        let exchange = self.exchange.take();
        let mut held = BytesMut::new();
        let result = loop {
            match self.frame().await {
                None => break Ok(held.freeze()),
                Some(Err(error)) => break Err(error),
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
                    held.extend_from_slice(&data[..data.len().min(most - held.len())]);
                }
            }
        };
        // If the body ends early, the client receives another response, which ends the exchange.
        *self = Self { source: Source::Empty, exchange: exchange.filter(|_| result.is_ok()) };
        result
    }

    fn complete(&mut self) {
        if let Source::Upstream(upstream) = &mut self.source
            && let Some(returned) = upstream.returned.take()
        {
            if let Some(exchange) = &self.exchange {
                exchange.mark(Point::UpstreamResponseEnds);
            }
            returned.complete();
        }
        self.source = Source::Empty;
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
    }

    fn fail(&mut self, flags: Flags, details: impl Into<Cow<'static, str>>) {
        self.source = Source::Empty;
        if let Some(exchange) = self.exchange.take() {
            exchange.flag(flags);
            exchange.detail(|d| d.code_details = Some(details.into()));
            exchange.finish();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        loop {
            let result = std::task::ready!(this.poll_once(context));
            // Skip empty frames: they carry nothing, and a peer may take many of them for an attack.
            if !matches!(&result, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty)) {
                return Poll::Ready(result);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Whole(bytes) => bytes.is_none(),
            Source::Upstream(upstream) => upstream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Source::Upstream(upstream) => upstream.incoming.size_hint(),
        }
    }
}

impl ResponseBody {
    fn poll_once(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self;
        let upstream = match &mut this.source {
            Source::Empty => {
                this.complete();
                return Poll::Ready(None);
            }
            Source::Whole(bytes) => {
                let bytes = bytes.take();
                if let (Some(bytes), Some(exchange)) = (&bytes, &this.exchange) {
                    exchange.sent(bytes);
                }
                this.complete();
                return Poll::Ready(bytes.map(|b| Ok(Frame::data(b))));
            }
            Source::Upstream(upstream) => upstream,
        };
        match Pin::new(&mut upstream.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let ends = upstream.incoming.is_end_stream() || frame.is_trailers();
                if let Some(exchange) = &this.exchange {
                    match (frame.data_ref(), frame.trailers_ref()) {
                        (Some(data), _) => {
                            exchange.extra(|extra| extra.mark_first(Point::UpstreamBodyBegins, now()));
                            exchange.sent(data);
                        }
                        (None, Some(trailers)) => exchange.trailers(trailers),
                        (None, None) => {}
                    }
                }
                if ends {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let refusal = Box::new(Refusal::broken_off(error.cut()));
                this.fail(refusal.flags, refusal.details.clone());
                Poll::Ready(Some(Err(BrokenOff(refusal))))
            }
            Poll::Pending => {
                if upstream.timer.as_mut().is_some_and(|timer| timer.poll(context).is_ready()) {
                    this.fail(Flags::UT, "response_timeout");
                    return Poll::Ready(Some(Err(BrokenOff(Box::new(Refusal::timeout())))));
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        // An empty body, such as in the response to HEAD, is never polled.
        if self.is_end_stream() || matches!(self.source, Source::Empty) || exchange.bodiless {
            return self.complete();
        }
        if exchange.connection.live.is_timed_out() {
            return self.fail(Flags::SI, "stream_idle_timeout");
        }
        self.fail(Flags::DC, "downstream_remote_disconnect");
    }
}
