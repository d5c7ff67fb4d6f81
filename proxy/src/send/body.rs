//! Request bodies sent upstream: counted and, where a retry is possible, kept up to a limit.

use super::incoming::{Incoming, IncomingError};
use crate::flow::refusal::Refusal;
use crate::http1::Invalid;
use crate::io::now;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

/// Measures a request body while it is read from the client.
#[derive(Default)]
pub struct Meter {
    bytes: Cell<u64>,
    messages: RefCell<Option<Messages>>,
    ended: Cell<bool>,
    /// The time of the end, recorded only if `notes_end` is set.
    ended_at: Cell<Option<Instant>>,
    notes_end: Cell<bool>,
    failed: Cell<bool>,
    invalid: Cell<Option<Invalid>>,
    refusal: RefCell<Option<Box<Refusal>>>,
    waiter: Cell<Option<Waker>>,
    /// Set with each piece that is read, for the connection's idle timeout.
    moved: Rc<Cell<bool>>,
}

impl Meter {
    /// A meter that sets `moved` with each piece and, if `count_messages`, counts gRPC messages.
    pub fn new(count_messages: bool, moved: Rc<Cell<bool>>) -> Rc<Self> {
        let meter = Self { moved, ..Self::default() };
        *meter.messages.borrow_mut() = count_messages.then(Messages::default);
        Rc::new(meter)
    }

    /// Number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Number of gRPC messages so far.
    pub fn messages(&self) -> u64 {
        self.messages.borrow().as_ref().map_or(0, |m| m.count)
    }

    /// Whether the whole body has been read from the client.
    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Requests that the time of the body's end is recorded.
    pub fn note_end(&self) {
        self.notes_end.set(true);
    }

    /// When the whole body had been read, if `note_end` was called.
    pub fn ended_at(&self) -> Option<Instant> {
        self.ended_at.get()
    }

    /// Whether reading the body from the client failed.
    pub fn failed(&self) -> bool {
        self.failed.get()
    }

    /// What is invalid in the client's body, if it failed for that reason.
    pub fn invalid(&self) -> Option<Invalid> {
        self.invalid.get()
    }

    fn fail(&self, error: &IncomingError) {
        self.failed.set(true);
        self.invalid.set(error.invalid());
        if let IncomingError::Refused(refusal) = error {
            *self.refusal.borrow_mut() = Some(refusal.clone());
        }
    }

    /// A filter's refusal of the client's body, if it failed for that reason.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().as_deref().cloned()
    }

    /// Ready when the whole body has been read.
    pub fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        if self.ended.get() {
            return Poll::Ready(());
        }
        self.waiter.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Declares that the body has ended.
    pub fn end(&self) {
        if self.ended.replace(true) {
            return;
        }
        if self.notes_end.get() {
            self.ended_at.set(Some(now()));
        }
        if let Some(waker) = self.waiter.take() {
            waker.wake();
        }
    }

    /// Counts bytes that did not pass through this body, as after an upgrade.
    pub fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn count(&self, data: &Bytes) {
        self.moved.set(true);
        self.bytes.set(self.bytes.get() + data.len() as u64);
        if let Some(messages) = self.messages.borrow_mut().as_mut() {
            messages.read(data);
        }
    }
}

/// Counts length-prefixed gRPC messages in a stream of bytes.
#[derive(Debug, Default)]
pub struct Messages {
    /// Messages whose header has been seen.
    pub count: u64,
    header: [u8; 5],
    seen: usize,
    left: usize,
}

impl Messages {
    /// Processes the next bytes.
    pub fn read(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left > 0 {
                let step = self.left.min(data.len());
                self.left -= step;
                data = &data[step..];
                continue;
            }
            let step = (5 - self.seen).min(data.len());
            self.header[self.seen..self.seen + step].copy_from_slice(&data[..step]);
            self.seen += step;
            data = &data[step..];
            if self.seen == 5 {
                let [_, a, b, c, d] = self.header;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.seen = 0;
                self.count += 1;
            }
        }
    }
}

/// The body of a request to an upstream.
pub struct RequestBody {
    source: Source,
    meter: Rc<Meter>,
}

enum Source {
    Empty,
    Stream(Incoming),
    Whole(Vec<Bytes>),
    Replayed { replay: Rc<Replay>, attempt: u32, position: usize },
}

/// A client's body that can be sent again as long as it is short enough to be kept.
pub struct Replay {
    incoming: RefCell<Incoming>,
    kept: RefCell<Vec<Bytes>>,
    size: Cell<usize>,
    trailers: RefCell<Option<HeaderMap>>,
    /// Whether the client has sent all of it.
    ended: Cell<bool>,
    /// Whether it is too long to be kept.
    overflown: Cell<bool>,
    /// The attempt that may read; the bodies of earlier attempts fail.
    attempt: Cell<u32>,
}

impl Replay {
    /// Wraps a client's body.
    pub fn new(incoming: Incoming) -> Rc<Self> {
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            kept: RefCell::default(),
            size: Cell::new(0),
            trailers: RefCell::default(),
            ended: Cell::new(false),
            overflown: Cell::new(false),
            attempt: Cell::new(0),
        })
    }

    /// Whether another attempt can send the whole body.
    pub fn is_whole(&self) -> bool {
        !self.overflown.get()
    }

    /// The whole body, once it has been read; `None`: it was too long, or has not ended.
    pub fn parts(&self) -> Option<Vec<Bytes>> {
        (self.is_whole() && self.ended.get()).then(|| self.kept.borrow().clone())
    }

    /// The body for another attempt. The bodies of earlier attempts fail from here on.
    pub fn body(self: &Rc<Self>, meter: &Rc<Meter>) -> RequestBody {
        self.attempt.set(self.attempt.get() + 1);
        let source = Source::Replayed { replay: self.clone(), attempt: self.attempt.get(), position: 0 };
        RequestBody { source, meter: meter.clone() }
    }

    fn poll(
        &self,
        context: &mut Context<'_>,
        attempt: u32,
        position: &mut usize,
        meter: &Meter,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.attempt.get() != attempt {
            return Poll::Ready(Some(Err(BodyError::cancelled())));
        }
        if let Some(bytes) = self.kept.borrow().get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(Frame::data(bytes.clone()))));
        }
        if self.ended.get() {
            // Trailers follow all data, once for each attempt.
            let trailers = (*position != usize::MAX).then(|| self.trailers.borrow().clone()).flatten();
            *position = usize::MAX;
            return Poll::Ready(trailers.map(|t| Ok(Frame::trailers(t))));
        }
        let frame = ready!(Pin::new(&mut *self.incoming.borrow_mut()).poll_frame(context));
        let Some(result) = frame else {
            self.ended.set(true);
            meter.end();
            return Poll::Ready(None);
        };
        let frame = match result {
            Ok(frame) => frame,
            Err(error) => {
                meter.fail(&error);
                return Poll::Ready(Some(Err(BodyError::cancelled())));
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                meter.count(&data);
                self.keep(&data, position);
                Frame::data(data)
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return Poll::Ready(None) };
                *self.trailers.borrow_mut() = Some(trailers.clone());
                self.ended.set(true);
                *position = usize::MAX;
                meter.end();
                Frame::trailers(trailers)
            }
        };
        if self.incoming.borrow().is_end_stream() {
            self.ended.set(true);
            meter.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn keep(&self, data: &Bytes, position: &mut usize) {
        if self.overflown.get() {
            return;
        }
        self.size.set(self.size.get() + data.len());
        if self.size.get() > MOST_KEPT {
            self.overflown.set(true);
            self.kept.borrow_mut().clear();
            *position = 0;
        } else {
            self.kept.borrow_mut().push(data.clone());
            *position += 1;
        }
    }
}

impl RequestBody {
    /// An empty body.
    pub fn empty(meter: &Rc<Meter>) -> Self {
        meter.end();
        Self { source: Source::Empty, meter: meter.clone() }
    }

    /// A copy of a body that was read completely.
    pub fn whole(mut parts: Vec<Bytes>, meter: &Rc<Meter>) -> Self {
        parts.reverse();
        meter.end();
        Self { source: Source::Whole(parts), meter: meter.clone() }
    }

    /// The client's body, if it is streamed and not kept.
    pub fn into_incoming(self) -> Option<Incoming> {
        match self.source {
            Source::Stream(incoming) => Some(incoming),
            _ => None,
        }
    }

    /// A client's body, streamed.
    pub fn stream(incoming: Incoming, meter: &Rc<Meter>) -> Self {
        Self { source: Source::Stream(incoming), meter: meter.clone() }
    }
}

/// A failed request body. Its source makes HTTP/2 report to the upstream that the client cancelled, not that the proxy
/// failed.
#[derive(Debug, thiserror::Error)]
#[error("the client's body failed")]
pub struct BodyError(#[source] h2::Error);

impl BodyError {
    fn cancelled() -> Self {
        Self(h2::Reason::CANCEL.into())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            let result = ready!(this.poll_once(context));
            // Skip empty frames: they carry nothing, and a peer may take many of them for an attack.
            if !matches!(&result, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty)) {
                return Poll::Ready(result);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Whole(parts) => parts.is_empty(),
            Source::Stream(incoming) => incoming.is_end_stream(),
            Source::Replayed { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(parts) => SizeHint::with_exact(parts.iter().map(|p| p.len() as u64).sum()),
            Source::Stream(incoming) => incoming.size_hint(),
            Source::Replayed { replay, .. } => {
                let kept = replay.size.get() as u64;
                match replay.incoming.borrow().size_hint().exact() {
                    Some(rest) if !replay.overflown.get() => SizeHint::with_exact(kept + rest),
                    _ => SizeHint::default(),
                }
            }
        }
    }
}

impl RequestBody {
    fn poll_once(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self;
        match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Whole(parts) => Poll::Ready(parts.pop().map(|part| Ok(Frame::data(part)))),
            Source::Stream(incoming) => match ready!(Pin::new(&mut *incoming).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        this.meter.count(data);
                    }
                    if frame.is_trailers() || incoming.is_end_stream() {
                        this.meter.end();
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    this.meter.fail(&error);
                    Poll::Ready(Some(Err(BodyError::cancelled())))
                }
                None => {
                    this.meter.end();
                    Poll::Ready(None)
                }
            },
            Source::Replayed { replay, attempt, position } => {
                replay.poll(context, *attempt, position, &this.meter)
            }
        }
    }
}

/// Bytes of a body to keep for retries: Envoy's default, the limit of a connection's buffers.
const MOST_KEPT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let message = |length: u8| [&[0, 0, 0, 0, length][..], &vec![7; length.into()]].concat();
        let stream = [message(3), message(0), message(200)].concat();
        for size in 1..stream.len() {
            let mut messages = Messages::default();
            stream.chunks(size).for_each(|part| messages.read(part));
            assert_eq!(messages.count, 3, "pieces of {size}");
        }
    }
}
