//! A server-side connection, shared by its task and the bodies of its requests. Nothing here blocks: each call does
//! what can be done at once.

use super::body::{BodyError, Source};
use super::head;
use super::invalid::Invalid;
use super::outbox::Outbox;
use super::reader::{Reader, Reading};
use super::upgrade::{Duplex, Upgraded};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::sync::oneshot;

/// A connection with a client.
pub(super) struct Connection<S>(RefCell<Inner<S>>);

struct Inner<S> {
    /// The stream; `None` after an upgrade.
    io: Option<S>,
    reader: Reader,
    reading: Reading,
    out: Outbox,
    /// The number of the current message.
    number: u32,
    /// The client waits for a 100 (Continue) response before it sends the body.
    expects: bool,
    /// The response has begun.
    responding: bool,
    /// The request's body was dropped before its end.
    left: bool,
    /// Wakes the connection's own task; used while another task may be reading the body.
    owner: Option<Waker>,
    upgrade: Option<oneshot::Sender<Upgraded>>,
}

/// The state of the client while the connection's task waits for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The client has sent nothing that needs a reaction.
    Quiet,
    /// The client has closed its sending side, and may still read.
    HalfClosed,
    /// The connection to the client failed.
    Gone,
}

impl<S: Duplex> Connection<S> {
    pub(super) fn new(io: S, limits: head::Limits) -> Self {
        Self(RefCell::new(Inner {
            io: Some(io),
            reader: Reader::new(limits),
            reading: Reading::Done,
            out: Outbox::default(),
            number: 0,
            expects: false,
            responding: false,
            left: false,
            owner: None,
            upgrade: None,
        }))
    }

    /// Returns the next head, or `None` when the connection has ended. `closing`: accept only a head that has
    /// already begun to arrive.
    pub(super) fn poll_head(
        &self,
        closing: bool,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Invalid>>> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = &mut inner.io else { return Poll::Ready(None) };
        loop {
            match inner.reader.head(head::possible_request) {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Some(Ok(head))),
                Err(invalid) => return Poll::Ready(Some(Err(invalid))),
            }
            match inner.reader.poll_fill(io, super::buffer::SIZE, context) {
                Poll::Ready(Ok(0) | Err(_)) => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if closing && inner.reader.is_empty() => break,
                Poll::Pending => {
                    inner.reader.release();
                    if matches!(inner.out.poll_flush(io, context), Poll::Ready(Err(_))) {
                        return Poll::Ready(None);
                    }
                    inner.out.release();
                    return Poll::Pending;
                }
            }
        }
        // Flushes the responses to earlier requests.
        let _ = ready!(inner.out.poll_flush(io, context));
        Poll::Ready(None)
    }

    /// Whether the first bytes of a head have arrived.
    pub(super) fn has_begun(&self) -> bool {
        !self.0.borrow().reader.is_empty()
    }

    /// Begins a message and returns its number.
    pub(super) fn begin(&self, reading: Reading, expects: bool) -> u32 {
        let inner = &mut *self.0.borrow_mut();
        inner.number = inner.number.wrapping_add(1);
        inner.expects = expects && !reading.is_done();
        inner.reading = reading;
        inner.responding = false;
        inner.left = false;
        inner.upgrade = None;
        inner.number
    }

    /// Watches the client while a response is being prepared.
    pub(super) fn watch(&self, context: &mut Context<'_>) -> Peer {
        let inner = &mut *self.0.borrow_mut();
        if !inner.owner.as_ref().is_some_and(|owner| owner.will_wake(context.waker())) {
            inner.owner = Some(context.waker().clone());
        }
        let Some(io) = &mut inner.io else { return Peer::Gone };
        if matches!(inner.out.poll_flush(io, context), Poll::Ready(Err(_))) {
            return Peer::Gone;
        }
        // Until the body is read completely, its reader notices the end of the connection. After that, at most one
        // buffer of the next request is read here.
        if inner.reading.is_over()
            && inner.reader.is_empty()
            && let Poll::Ready(Err(_)) = inner.reader.poll_fill(io, super::buffer::SIZE, context)
        {
            return Peer::Gone;
        }
        if inner.reader.ended() { Peer::HalfClosed } else { Peer::Quiet }
    }

    /// Marks the response as begun. Returns whether the connection can serve another request after it.
    pub(super) fn begin_response(&self) -> bool {
        let inner = &mut *self.0.borrow_mut();
        inner.responding = true;
        if inner.left && !inner.expects {
            inner.skip();
        }
        match inner.reading {
            Reading::Done => true,
            Reading::Failed(_) => false,
            // The body may still be read by the service.
            _ => !(inner.left || inner.expects),
        }
    }

    /// Called when the response is complete: returns whether the request was read completely, too.
    pub(super) fn is_read(&self) -> bool {
        let inner = &mut *self.0.borrow_mut();
        inner.skip();
        inner.reading.is_done()
    }

    /// Adds bytes to the output.
    pub(super) fn write<T>(&self, add: impl FnOnce(&mut Outbox) -> T) -> T {
        add(&mut self.0.borrow_mut().out)
    }

    /// Whether more output may be added before the next write.
    pub(super) fn has_room(&self) -> bool {
        self.0.borrow().out.has_room()
    }

    /// Whether the next request has begun to arrive, so that its response may be written together with this one.
    pub(super) fn is_ahead(&self) -> bool {
        let inner = self.0.borrow();
        !inner.reader.is_empty() && inner.out.has_room()
    }

    pub(super) fn poll_write(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = &mut inner.io else { return Poll::Ready(Ok(())) };
        inner.out.poll_write(io, context)
    }

    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = &mut inner.io else { return Poll::Ready(Ok(())) };
        inner.out.poll_flush(io, context)
    }

    /// Flushes the output and closes the sending side.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = &mut inner.io else { return Poll::Ready(Ok(())) };
        ready!(inner.out.poll_flush(io, context))?;
        Pin::new(io).poll_shutdown(context)
    }

    /// Reads and discards bytes until the client has closed the connection.
    pub(super) fn poll_discard(&self, context: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = &mut inner.io else { return Poll::Ready(()) };
        loop {
            drop(inner.reader.take());
            match ready!(inner.reader.poll_fill(io, super::buffer::SIZE, context)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// Whether the client has sent bytes that were not consumed.
    pub(super) fn is_unread(&self) -> bool {
        let inner = self.0.borrow();
        !inner.reading.is_done() || !inner.reader.is_empty()
    }

    /// Passes the stream to the receiver that requested the upgrade. Returns `false` if there is none.
    pub(super) fn hand_over(&self) -> bool
    where
        S: 'static,
    {
        let inner = &mut *self.0.borrow_mut();
        let (Some(taker), Some(io)) = (inner.upgrade.take(), inner.io.take()) else { return false };
        let unread = inner.reader.take();
        // If the receiver is gone, the stream is dropped.
        let _ = taker.send(Upgraded::new(io, unread));
        true
    }
}

impl<S: Duplex> Inner<S> {
    /// Skips the part of an abandoned body that has already arrived.
    fn skip(&mut self) {
        let Some(io) = &mut self.io else { return };
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..SKIPPED {
            if self.reading.is_over()
                || !matches!(self.reading.poll(&mut self.reader, io, &mut context), Poll::Ready(Some(Ok(_))))
            {
                break;
            }
        }
    }
}

impl<S: Duplex> Source for Connection<S> {
    fn poll_frame(
        &self,
        number: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = inner.io.as_mut().filter(|_| inner.number == number) else {
            return Poll::Ready(Some(Err(BodyError::Broken)));
        };
        if inner.expects && !inner.responding {
            inner.expects = false;
            if inner.reader.is_empty() {
                inner.out.gathered().extend_from_slice(CONTINUE);
            }
        }
        if !inner.responding && matches!(inner.out.poll_flush(io, context), Poll::Ready(Err(_))) {
            inner.reading = Reading::Failed(BodyError::Broken);
        }
        let result = inner.reading.poll(&mut inner.reader, io, context);
        if inner.reading.is_over()
            && let Some(owner) = inner.owner.take_if(|owner| !owner.will_wake(context.waker()))
        {
            // The body is complete, so the connection's task must watch the client again.
            owner.wake();
        }
        result
    }

    fn is_end(&self, number: u32) -> bool {
        let inner = self.0.borrow();
        inner.number == number && inner.reading.is_done()
    }

    fn hint(&self, number: u32) -> SizeHint {
        let inner = self.0.borrow();
        if inner.number == number { inner.reading.hint() } else { SizeHint::default() }
    }

    fn leave(&self, number: u32) {
        let mut inner = self.0.borrow_mut();
        if inner.number == number {
            inner.left = true;
        }
    }

    fn upgrade(&self, number: u32) -> Option<oneshot::Receiver<Upgraded>> {
        let mut inner = self.0.borrow_mut();
        if inner.number != number {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        inner.upgrade = Some(sender);
        Some(receiver)
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The most pieces of an unread body that are skipped to keep the connection usable.
const SKIPPED: usize = 16;
