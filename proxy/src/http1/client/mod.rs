//! The HTTP/1 client: one request at a time on a connection, driven by the task that sends the request. Only a
//! request whose response begins before its body is sent gets a task of its own, which sends the rest while the
//! response is read.

use super::body::{Body, BodyError, Source};
use super::buffer;
use super::encode;
use super::framer::Framer;
use super::framing::{self, Length};
use super::head::{self, Limits};
use super::invalid::Invalid;
use super::outbox::Outbox;
use super::reader::{Reader, Reading};
use super::switch;
use super::upgrade::{Duplex, Upgraded};
use crate::io::Turn;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header, request};
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// A connection to a server.
pub struct Client<S>(Rc<Connection<S>>);

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The connection ended. `sent`: the server may have seen at least part of the request.
    #[error("the connection ended before the response")]
    Closed {
        /// Whether bytes of the request were sent.
        sent: bool,
    },
    /// The request's own body failed.
    #[error("the request's body failed")]
    Body,
    /// The server's bytes are not a valid response.
    #[error("the response is malformed")]
    Invalid(#[source] Invalid),
}

impl<S: Duplex + 'static> Client<S> {
    /// Creates a client on a stream that has carried no bytes yet.
    pub fn new(io: S, limits: Limits) -> Self {
        Self(Rc::new(Connection(RefCell::new(Inner {
            io: Some(io),
            reader: Reader::new(limits),
            reading: Reading::Done,
            out: Outbox::default(),
            number: 0,
            wrote: false,
            persists: true,
            sending: None,
        }))))
    }

    /// Whether a request may be sent: the server has neither closed the connection nor sent unsolicited bytes.
    pub fn is_ready(&self) -> bool {
        let inner = &mut *self.0.0.borrow_mut();
        let Some(io) = &mut inner.io else { return false };
        if !(inner.persists && inner.reading.is_done() && inner.out.is_empty() && inner.sending.is_none()) {
            return false;
        }
        let mut context = Context::from_waker(Waker::noop());
        let quiet =
            inner.reader.is_empty() && inner.reader.poll_fill(io, buffer::SIZE, &mut context).is_pending();
        inner.reader.release();
        inner.out.release();
        quiet
    }

    /// Sends a request and returns the response once its head has arrived, together with the request's headers,
    /// which a retry needs. On an error, a request without a body is returned with it.
    pub async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<(Response<Body>, HeaderMap), (Failure, Option<Request<B>>)>
    where
        B: http_body::Body<Data = Bytes> + Unpin + 'static,
    {
        let (parts, mut body) = request.into_parts();
        let mut framer = self.0.0.borrow_mut().begin(&parts, &body);
        let empty = body.is_end_stream();
        let head = poll_fn(|context| {
            let inner = &mut *self.0.0.borrow_mut();
            inner.poll(&mut framer, &mut body, &parts, context)
        });
        let head = match head.await {
            Ok(head) => head,
            Err(failure) => return Err((failure, empty.then(|| Request::from_parts(parts, body)))),
        };
        if !framer.is_done() {
            self.send_on(framer, body);
        }
        let number = self.0.0.borrow().number;
        Ok((Response::from_parts(head, Body::new(self.0.clone(), number)), parts.headers))
    }

    /// The response began before the request was sent completely: a separate task sends the rest.
    fn send_on<B>(&self, mut framer: Framer, mut body: B)
    where
        B: http_body::Body<Data = Bytes> + Unpin + 'static,
    {
        let connection = self.0.clone();
        let task = tokio::task::spawn_local(async move {
            let sent =
                poll_fn(|context| connection.0.borrow_mut().poll_rest(&mut framer, &mut body, context));
            let sent = sent.await;
            let inner = &mut *connection.0.borrow_mut();
            inner.persists &= sent.is_ok();
            inner.sending = None;
        });
        let inner = &mut *self.0.0.borrow_mut();
        inner.sending = Some(AbortOnDropHandle::new(task));
    }
}

impl<S> Drop for Client<S> {
    fn drop(&mut self) {
        // The task that still sends the request would keep the connection alive.
        if let Ok(mut inner) = self.0.0.try_borrow_mut() {
            inner.sending = None;
        }
    }
}

struct Connection<S>(RefCell<Inner<S>>);

struct Inner<S> {
    /// The stream; `None` after an upgrade.
    io: Option<S>,
    reader: Reader,
    reading: Reading,
    out: Outbox,
    number: u32,
    /// Whether bytes of the current request were written.
    wrote: bool,
    /// Whether another request may follow on this connection.
    persists: bool,
    /// The task that sends the rest of a request, for as long as the response is wanted.
    sending: Option<AbortOnDropHandle<()>>,
}

impl<S: Duplex> Inner<S> {
    fn begin<B: http_body::Body>(&mut self, parts: &request::Parts, body: &B) -> Framer {
        self.number = self.number.wrapping_add(1);
        self.wrote = false;
        let length = length(parts, body);
        encode::request(self.out.gathered(), &parts.method, &parts.uri, &parts.headers, length);
        self.persists &= !framing::names(&parts.headers, header::CONNECTION, "close");
        Framer::new(length, true)
    }

    /// Sends the request and reads until the head of the response has arrived.
    fn poll<B>(
        &mut self,
        framer: &mut Framer,
        body: &mut B,
        request: &request::Parts,
        context: &mut Context<'_>,
    ) -> Poll<Result<http::response::Parts, Failure>>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let sent = match self.poll_rest(framer, body, context) {
            Poll::Ready(Err(Failure::Body)) => return Poll::Ready(Err(Failure::Body)),
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        match self.poll_head(request, context) {
            // The server switches protocols before the request is complete: it would read the rest of the request
            // as bytes of another protocol.
            Poll::Ready(Ok(head)) if switches(&head) && !(framer.is_done() && self.out.is_empty()) => {
                Poll::Ready(Err(Failure::Invalid(Invalid::Switch)))
            }
            // A server that has read enough may respond and close. A failed write counts only if there is no response.
            Poll::Pending if sent.is_some() => Poll::Ready(Err(Failure::Closed { sent: self.wrote })),
            response => response,
        }
    }

    /// Sends as much of the request as is available.
    fn poll_rest<B>(
        &mut self,
        framer: &mut Framer,
        body: &mut B,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        let mut turn = Turn::default();
        loop {
            let mut waits = false;
            while !waits && !framer.is_done() && self.out.has_room() {
                if body.is_end_stream() {
                    framer.add(None, &mut self.out).map_err(|_| Failure::Body)?;
                    continue;
                }
                match Pin::new(&mut *body).poll_frame(context) {
                    Poll::Pending => waits = true,
                    Poll::Ready(frame) => {
                        let frame = frame.transpose().map_err(|_| Failure::Body)?;
                        framer.add(frame, &mut self.out).map_err(|_| Failure::Body)?;
                    }
                }
            }
            let done = framer.is_done();
            let result = if done || waits {
                self.out.poll_flush(io, context)
            } else {
                self.out.poll_write(io, context)
            };
            self.wrote |= self.out.take_wrote();
            ready!(result).map_err(|_| Failure::Closed { sent: true })?;
            if done {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
            ready!(turn.take(1, context));
        }
    }

    /// Reads the head of the response.
    fn poll_head(
        &mut self,
        request: &request::Parts,
        context: &mut Context<'_>,
    ) -> Poll<Result<http::response::Parts, Failure>> {
        loop {
            while let Some(head) = self.reader.head(head::possible_response).map_err(Failure::Invalid)? {
                let head = head::response(&head, self.reader.limits).map_err(Failure::Invalid)?;
                if let Some(head) = self.take_head(head, request).map_err(Failure::Invalid)? {
                    return Poll::Ready(Ok(head));
                }
            }
            let Some(io) = &mut self.io else { return Poll::Ready(Err(self.ended())) };
            match ready!(self.reader.poll_fill(io, buffer::SIZE, context)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(self.ended())),
                Ok(_) => {}
            }
        }
    }

    /// The failure when the connection ends before the response head is complete. A partial head is the server's
    /// fault; no bytes at all means that the server may have closed the connection before the request.
    fn ended(&self) -> Failure {
        if self.reader.is_empty() {
            Failure::Closed { sent: self.wrote }
        } else {
            Failure::Invalid(Invalid::Cut)
        }
    }

    /// Handles a response head. Returns `None` for an informational (1xx) response.
    fn take_head(
        &mut self,
        head: http::response::Parts,
        request: &request::Parts,
    ) -> Result<Option<http::response::Parts>, Invalid> {
        let length = framing::response(&request.method, head.version, head.status, &head.headers)?;
        if switches(&head) {
            self.persists = false;
            let agreed = head.version == Version::HTTP_11 && switch::agreed(&request.headers, &head.headers);
            return if agreed { Ok(Some(head)) } else { Err(Invalid::Switch) };
        }
        if head.status.is_informational() {
            return Ok(None);
        }
        self.persists &= framing::persists(head.version, &head.headers) && length != Length::UntilClose;
        self.reading = Reading::new(length, self.reader.limits);
        Ok(Some(head))
    }
}

fn switches(head: &http::response::Parts) -> bool {
    head.status == StatusCode::SWITCHING_PROTOCOLS
}

/// How the request's body is framed; `None`: there is no body, and no need for a `content-length: 0`.
fn length<B: http_body::Body>(parts: &request::Parts, body: &B) -> Option<Length> {
    if !body.is_end_stream() {
        return Some(framing::outgoing(&parts.headers, body.size_hint().exact()));
    }
    let usual = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    let has_length = stated(&parts.headers);
    (usual || has_length).then_some(Length::Exact(0))
}

fn stated(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH)
}

impl<S: Duplex + 'static> Source for Connection<S> {
    fn poll_frame(
        &self,
        number: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut *self.0.borrow_mut();
        let Some(io) = inner.io.as_mut().filter(|_| inner.number == number) else {
            return Poll::Ready(Some(Err(BodyError::Broken)));
        };
        inner.reading.poll(&mut inner.reader, io, context)
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
        let inner = &mut *self.0.borrow_mut();
        if inner.number == number && !inner.reading.is_done() {
            inner.persists = false;
        }
    }

    fn upgrade(&self, number: u32) -> Option<oneshot::Receiver<Upgraded>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.number != number {
            return None;
        }
        let io = inner.io.take()?;
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(Upgraded::new(io, inner.reader.take()));
        Some(receiver)
    }
}

#[cfg(test)]
mod tests;
