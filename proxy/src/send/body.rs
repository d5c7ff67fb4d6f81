//! Request bodies sent upstream: counted and, where a retry is possible, kept up to a limit.

use super::incoming::{Incoming, IncomingError};
use crate::flow::refusal::Refusal;
use crate::http1::Invalid;
use crate::io::now;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::cell::{Cell, RefCell};
use std::mem::take;
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

    /// Counts what has arrived of a body that nobody will read. Envoy reads a request until its response is there, so
    /// its logs and metrics have these bytes.
    pub fn receive(&self, body: &mut Incoming) {
        let mut context = Context::from_waker(Waker::noop());
        let most = self.bytes().saturating_add(MOST_KEPT as u64);
        while !self.ended() && self.bytes() < most {
            match Pin::new(&mut *body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.count(data);
                    }
                    if frame.is_trailers() || body.is_end_stream() {
                        self.end();
                    }
                }
                Poll::Ready(None) => self.end(),
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
        }
    }

    /// Counts a piece. What is read after the body's end is a held copy, which has been counted.
    fn count(&self, data: &Bytes) {
        if self.ended.get() {
            return;
        }
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
    /// The tasks that wait for the end, or for the first byte that is not kept.
    waiters: RefCell<Vec<Waker>>,
    /// Whether it is too long to be kept.
    overflown: Cell<bool>,
    /// The attempt that may read; the bodies of earlier attempts fail.
    attempt: Cell<u32>,
}

impl Replay {
    /// Wraps a client's body.
    pub fn new(mut incoming: Incoming) -> Rc<Self> {
        // A buffered body is in memory already, so it is kept whatever its length.
        let (kept, trailers, ended) = match &mut incoming {
            Incoming::Buffered(held) => (vec![take(&mut held.data)], held.trailers.take(), true),
            Incoming::Http1(_) | Incoming::Http2(_) | Incoming::Changed(_) => (vec![], None, false),
        };
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            size: Cell::new(kept.iter().map(Bytes::len).sum()),
            kept: RefCell::new(kept),
            trailers: RefCell::new(trailers),
            ended: Cell::new(ended),
            waiters: RefCell::default(),
            overflown: Cell::new(false),
            attempt: Cell::new(0),
        })
    }

    /// Whether another attempt can send the whole body.
    pub fn is_whole(&self) -> bool {
        !self.overflown.get()
    }

    /// Ready when `parts` has its final value.
    pub fn poll_settled(&self, context: &Context<'_>) -> Poll<()> {
        if self.ended.get() || self.overflown.get() {
            return Poll::Ready(());
        }
        let mut waiters = self.waiters.borrow_mut();
        if !waiters.iter().any(|waiter| waiter.will_wake(context.waker())) {
            waiters.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn settle(&self) {
        self.waiters.borrow_mut().drain(..).for_each(Waker::wake);
    }

    fn end(&self, meter: &Meter) {
        self.ended.set(true);
        self.settle();
        meter.end();
    }

    /// Counts what has arrived of the body, after the last attempt. A mirror may still wait for it.
    pub fn receive(&self, meter: &Meter) {
        let mut context = Context::from_waker(Waker::noop());
        let most = meter.bytes().saturating_add(MOST_KEPT as u64);
        let mut position = self.kept.borrow().len();
        while !self.ended.get() && meter.bytes() < most {
            let read = self.poll(&mut context, self.attempt.get(), &mut position, meter);
            if !matches!(read, Poll::Ready(Some(Ok(_)))) {
                return;
            }
        }
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
            self.end(meter);
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
                self.end(meter);
                *position = usize::MAX;
                Frame::trailers(trailers)
            }
        };
        if self.incoming.borrow().is_end_stream() {
            self.end(meter);
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
            self.settle();
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

    /// Reads the body to its end, unless it is longer than `most` bytes.
    pub async fn read(&mut self, most: usize) -> Result<(Bytes, Option<HeaderMap>), ReadError> {
        if self.size_hint().lower() > most as u64 {
            return Err(ReadError::TooLong);
        }
        // A body of one piece is not copied.
        let (mut first, mut joined, mut trailers) = (Bytes::new(), BytesMut::new(), None);
        while let Some(frame) = self.frame().await {
            match frame?.into_data() {
                Ok(data) if first.len().max(joined.len()) + data.len() > most => {
                    return Err(ReadError::TooLong);
                }
                Ok(data) if first.is_empty() => first = data,
                Ok(data) => {
                    if joined.is_empty() {
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((if joined.is_empty() { first } else { joined.freeze() }, trailers))
    }

    /// A client's body, streamed.
    pub fn stream(incoming: Incoming, meter: &Rc<Meter>) -> Self {
        Self { source: Source::Stream(incoming), meter: meter.clone() }
    }
}

/// Why a body could not be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It failed.
    #[error(transparent)]
    Broken(#[from] BodyError),
    /// It is longer than allowed.
    #[error("the body is too long")]
    TooLong,
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

/// Bytes of a body to keep for retries, or to read without a reader: Envoy's default, the limit of a connection's
/// buffers.
const MOST_KEPT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::grpc_web::FromText;
    use crate::filter::table::Change;

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
    fn pieces(pieces: &[&'static str]) -> RequestBody {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        RequestBody::whole(pieces, &Meter::new(false, Rc::default()))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_up_to_its_limit() {
        for (given, most, expected) in [
            (&["abc"][..], 3, Some("abc")),
            (&["abc"], 2, None),
            (&["a", "b", "", "cd"], 4, Some("abcd")),
            (&["a", "b", "cd"], 3, None),
            (&[], 0, Some("")),
        ] {
            let found = pieces(given).read(most).await.ok().map(|(data, _)| data);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{given:?} {most}");
        }
    }

    #[test]
    fn what_has_arrived_of_an_unread_body_is_counted() {
        let body = || {
            let text = Change::FromText(FromText::default());
            Incoming::buffered(Bytes::from_static(b"YWJj"), None).changed(text, None)
        };
        let meter = Meter::new(false, Rc::default());
        meter.receive(&mut body());
        assert_eq!((meter.bytes(), meter.ended()), (3, true));
        let (meter, replay) = (Meter::new(false, Rc::default()), Replay::new(body()));
        replay.receive(&meter);
        assert_eq!((meter.bytes(), meter.ended()), (3, true));
        assert_eq!(replay.parts(), Some(vec![Bytes::from_static(b"abc")]), "a mirror still gets it");
    }

    #[test]
    fn all_that_wait_for_the_end_of_a_kept_body_are_woken() {
        struct Counts(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Counts {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let text = Change::FromText(FromText::default());
        let replay = Replay::new(Incoming::buffered(Bytes::from_static(b"YWJj"), None).changed(text, None));
        let mirrors = [(), ()].map(|()| std::sync::Arc::new(Counts(0.into())));
        for mirror in &mirrors {
            let waker = mirror.clone().into();
            assert_eq!(replay.poll_settled(&Context::from_waker(&waker)), Poll::Pending);
        }
        let mut body = replay.body(&Meter::new(false, Rc::default()));
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(_)) = Pin::new(&mut body).poll_frame(&mut context) {}
        assert_eq!(replay.parts().map(|parts| parts.concat()), Some(b"abc".to_vec()));
        for mirror in &mirrors {
            assert_eq!(mirror.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn a_buffered_body_is_replayed_whatever_its_length() {
        let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "1".parse().unwrap())]);
        let length = MOST_KEPT + 1;
        let replay = Replay::new(Incoming::buffered(vec![7; length].into(), Some(trailers)));
        let meter = Meter::new(false, Rc::default());
        meter.add(length as u64);
        meter.end();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(replay.poll_settled(&context), Poll::Ready(()));
        assert_eq!(replay.parts().map(|parts| parts.concat().len()), Some(length));
        for attempt in 1..3 {
            let mut body = replay.body(&meter);
            let mut read = (0, 0);
            while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
                let frame = frame.unwrap();
                read.0 += frame.data_ref().map_or(0, Bytes::len);
                read.1 += frame.trailers_ref().map_or(0, HeaderMap::len);
            }
            assert_eq!(read, (length, 1), "attempt {attempt}");
        }
        assert_eq!(meter.bytes(), length as u64, "the copy is not counted again");
    }
}
