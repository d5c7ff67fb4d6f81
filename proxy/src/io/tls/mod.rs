//! TLS over a socket, as client or server, on rustls' unbuffered connections. This interface makes bulk transfers
//! faster: one read of the socket takes several records, a record is decrypted in place and copied once, to its
//! reader, and the records encrypted in one step share one write. Without traffic a connection holds no buffer.
//!
//! rustls has removed this interface on its main branch, in favour of another one whose buffers belong to the
//! caller, too. So no code outside this folder refers to it: `Tls` reports the result of the handshake in types of
//! its own, and a test of the workspace enforces that. docs/tls.md is the plan for the update.

mod session;

mod agreement;
mod buffer;

use crate::io::prefixed::{Prefixed, hand_out};
use crate::io::space;
use buffer::{Incoming, Outgoing, Plain};
use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use session::{RECORD, Session, Step, Want};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TLS connection whose handshake is complete.
///
/// Written bytes are encrypted and offered to the socket at once. If the socket does not accept them, at most one
/// step is held and no further writes are accepted. If a peer ends the connection without `close_notify`, the
/// reader gets an error, because an attacker on the path may have cut off the rest. After a peer's `close_notify`,
/// we can still write.
pub struct Tls {
    socket: Prefixed,
    session: Session,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Plaintext for which readers had no room.
    rest: BytesMut,
    /// rustls may have more to do, even if no bytes arrive.
    busy: bool,
    /// The peer has sent `close_notify`.
    ended: bool,
    /// We have sent `close_notify`.
    closed: bool,
    /// The error that ended the connection, if the protocol was violated.
    failed: Option<rustls::Error>,
}

impl Tls {
    /// Performs the handshake as a client of the named server.
    pub async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: Prefixed,
    ) -> io::Result<Self> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        Self::handshake(Session::Client(connection), socket).await
    }

    /// Performs the handshake as a server.
    pub async fn accept(config: Arc<ServerConfig>, socket: Prefixed) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Self::handshake(Session::Server(connection), socket).await
    }

    async fn handshake(session: Session, socket: Prefixed) -> io::Result<Self> {
        let mut tls = Self {
            socket,
            session,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            rest: BytesMut::new(),
            busy: true,
            ended: false,
            closed: false,
            failed: None,
        };
        poll_fn(|context| tls.poll_handshake(context)).await?;
        Ok(tls)
    }

    /// The underlying socket.
    pub fn socket(&self) -> &Prefixed {
        &self.socket
    }

    /// The protocol negotiated by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The peer's certificate chain, leaf first; empty if the peer presented none.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.state().peer_certificates().unwrap_or_default()
    }

    /// The negotiated TLS parameters.
    pub fn agreed(&self) -> Option<crate::flow::tls::Session> {
        agreement::session(self.state())
    }

    fn state(&self) -> &CommonState {
        self.session.state()
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_done = |state: &CommonState| !state.is_handshaking() && !state.wants_write();
        loop {
            while !is_done(self.state()) {
                if self.step(context, None)? == Step::Starved {
                    break;
                }
            }
            ready!(self.poll_send(context))?;
            if is_done(self.state()) {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(context))? == 0 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof")));
            }
        }
    }

    /// Processes one step of the received bytes.
    fn step(&mut self, context: &mut Context<'_>, out: Option<&mut ReadBuf<'_>>) -> io::Result<Step> {
        let mut plain = Plain::new(out, &mut self.rest);
        let (discard, step) =
            self.session.step(self.incoming.bytes(), Want::Read, &mut plain, &mut self.outgoing);
        self.incoming.discard(discard);
        let step = step.map_err(|error| self.fail(context, error))?;
        match step {
            Step::Starved => {
                self.incoming.set_stuck();
                self.busy = false;
            }
            Step::PeerClosed => {
                self.incoming.clear();
                self.ended = true;
            }
            Step::Said => self.busy = true,
            Step::Read | Step::Done => {}
        }
        Ok(step)
    }

    /// Ends the connection after an error. An alert is sent if the socket accepts it at once.
    fn fail(&mut self, context: &mut Context<'_>, error: rustls::Error) -> io::Error {
        self.session.last_words(&mut self.outgoing);
        let _ = self.poll_send(context);
        self.incoming.clear();
        self.failed = Some(error.clone());
        invalid(error)
    }

    /// Encrypts what `want` asks for, behind the bytes that are not sent yet.
    fn put(&mut self, context: &mut Context<'_>, want: Want<'_>) -> io::Result<()> {
        loop {
            let mut plain = Plain::new(None, &mut self.rest);
            let (discard, step) =
                self.session.step(self.incoming.stuck(), want, &mut plain, &mut self.outgoing);
            self.incoming.discard(discard);
            match step {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Starved) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(Step::PeerClosed) => self.ended = true,
                Ok(Step::Said | Step::Read) => {}
                Err(error) => return Err(self.fail(context, error)),
            }
        }
    }

    /// Reads more of the peer's bytes; 0: the peer has ended the connection.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.incoming.room();
        if room.is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too long");
            return Poll::Ready(Err(error));
        }
        let mut buffer = ReadBuf::new(room);
        let result = Pin::new(&mut self.socket).poll_read(context, &mut buffer);
        let count = buffer.filled().len();
        self.incoming.add(count);
        if count == 0 {
            self.incoming.park();
        }
        result.map_ok(|()| count)
    }

    /// The error for a TCP connection that ended without `close_notify`: between two records that may be the peer's
    /// way of closing; within a record, data was certainly lost.
    fn cut_off(&mut self) -> io::Error {
        if self.incoming.bytes().is_empty() {
            let kind = io::ErrorKind::UnexpectedEof;
            return io::Error::new(kind, "the peer closed the connection without a TLS close_notify");
        }
        io::Error::new(io::ErrorKind::ConnectionAborted, "the peer closed the connection amid a TLS record")
    }

    /// Sends all encrypted bytes.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.unsent().is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(context, self.outgoing.unsent()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts received records for as long as the reader has room.
    fn open(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> io::Result<()> {
        hand_out(&mut self.rest, out);
        while out.remaining() > 0
            && (self.busy || self.incoming.is_fresh())
            && !self.ended
            && self.failed.is_none()
        {
            let idle = self.outgoing.unsent().is_empty();
            let step = self.step(context, Some(out))?;
            // A handshake or alert message is sent at once, unless a writer already waits for the socket: then it
            // goes with the writer's bytes.
            if step == Step::Said && idle {
                let _ = self.poll_send(context);
            }
        }
        Ok(())
    }

    /// Whether plaintext is accepted: not while earlier bytes wait for the socket.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(invalid(error.clone())));
        }
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.poll_send(context)
    }

    /// Sends as many of the encrypted bytes as the socket accepts.
    fn offer(&mut self, context: &mut Context<'_>, count: usize) -> Poll<io::Result<usize>> {
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    /// Encrypts the parts in as few records as possible; parts that fit into one record are joined.
    fn gather(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut joined = space::borrow();
        let (mut length, mut taken) = (0, 0);
        for part in parts {
            let mut part = &part[..part.len().min(space::STEP - taken)];
            taken += part.len();
            while !part.is_empty() {
                let whole = if length == 0 { part.len() - part.len() % RECORD } else { 0 };
                self.put_some(context, &part[..whole])?;
                part = &part[whole..];
                let step = part.len().min(RECORD - length);
                joined[length..length + step].copy_from_slice(&part[..step]);
                (length, part) = (length + step, &part[step..]);
                if length == RECORD {
                    self.put_some(context, &joined[..length])?;
                    length = 0;
                }
            }
        }
        self.put_some(context, &joined[..length])?;
        space::give_back(joined);
        Ok(taken)
    }

    fn put_some(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.put(context, Want::Seal(bytes)) }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            let opened = this.open(context, out);
            // Bytes are returned first; the next read reports the error again.
            if out.filled().len() > before || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            opened?;
            if let Some(error) = &this.failed {
                return Poll::Ready(Err(invalid(error.clone())));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_fill(context))? == 0 {
                return Poll::Ready(Err(this.cut_off()));
            }
        }
    }
}

impl AsyncWrite for Tls {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ready(context))?;
        let count = bytes.len().min(space::STEP);
        this.put_some(context, &bytes[..count])?;
        this.offer(context, count)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut some = parts.iter().filter(|part| !part.is_empty());
        if let (Some(only), None) = (some.next(), some.next()) {
            return Pin::new(this).poll_write(context, only);
        }
        ready!(this.poll_ready(context))?;
        let count = this.gather(context, parts)?;
        this.offer(context, count)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closed {
            this.closed = true;
            if this.failed.is_none() {
                // Whatever prevents the `close_notify`, the socket is closed next.
                let _ = this.put(context, Want::Close);
            }
        }
        ready!(this.poll_send(context))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(context)) {
            // The peer is already gone, so there is nothing to shut down.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
