//! Watches the bytes of an HTTP/2 connection. A peer that floods it with frames that carry no data, or that was
//! found to abuse its streams, gets a GOAWAY with ENHANCE_YOUR_CALM and is read no further. Exists because h2
//! responds to such frames without a limit.

use super::clock::now;
use super::frame_budget::FrameBudget;
use super::frames::{CONTINUATION, FrameReader, HEADERS};
use super::stream::Stream;
use socket2::SockRef;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A monitored connection.
#[derive(Debug)]
pub struct Guarded {
    stream: Stream,
    received: FrameReader,
    sent: FrameReader,
    frame_budget: FrameBudget,
    last_stream: u32,
    monitor: Rc<Monitor>,
}

/// A handle to end a monitored connection, and to learn why it was ended.
#[derive(Debug, Default)]
pub struct Monitor {
    ended: Cell<bool>,
    take_activity: Cell<bool>,
    unfinished: Cell<Option<Instant>>,
    flood: Cell<Option<&'static str>>,
}

impl Monitor {
    /// Ends the connection with ENHANCE_YOUR_CALM at its next poll.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Whether bytes have arrived since the last call.
    pub fn take_activity(&self) -> bool {
        self.take_activity.take()
    }

    /// Since when a frame, or a block of headers, has been incomplete.
    pub fn unfinished(&self) -> Option<Instant> {
        self.unfinished.get()
    }

    /// The kind of frame that flooded the connection, if any did.
    pub fn flood(&self) -> Option<&'static str> {
        self.flood.get()
    }
}

impl Guarded {
    /// Monitors a connection on which our end is the server.
    pub fn server(stream: Stream) -> Self {
        Self::new(stream, (FrameReader::of_client(), FrameReader::default()), FrameBudget::of_client(now()))
    }

    /// Monitors a connection on which our end is the client.
    pub fn client(stream: Stream) -> Self {
        Self::new(stream, (FrameReader::default(), FrameReader::of_client()), FrameBudget::of_server(now()))
    }

    fn new(stream: Stream, (received, sent): (FrameReader, FrameReader), frame_budget: FrameBudget) -> Self {
        Self { stream, received, sent, frame_budget, last_stream: 0, monitor: Rc::default() }
    }

    /// The handle to this connection.
    pub fn monitor(&self) -> Rc<Monitor> {
        self.monitor.clone()
    }

    /// Sends GOAWAY and closes the connection. Bytes that cannot be written at once are dropped.
    fn send_goaway(&mut self, context: &mut Context<'_>) -> io::Error {
        let mut goaway = vec![0, 0, 8, super::frames::GOAWAY, 0, 0, 0, 0, 0];
        goaway.extend(self.last_stream.to_be_bytes());
        goaway.extend(ENHANCE_YOUR_CALM.to_be_bytes());
        let _ = Pin::new(&mut self.stream).poll_write(context, &goaway);
        let _ = Pin::new(&mut self.stream).poll_flush(context);
        let _ = linger(self.stream.socket());
        io::Error::new(io::ErrorKind::ConnectionAborted, "the peer floods the connection")
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.monitor.ended.get() {
            return Poll::Ready(Err(this.send_goaway(context)));
        }
        let before = out.filled().len();
        std::task::ready!(Pin::new(&mut this.stream).poll_read(context, out))?;
        this.monitor.take_activity.set(true);
        let (frame_budget, last_stream, mut flood) = (&mut this.frame_budget, &mut this.last_stream, None);
        let mut began = false;
        this.received.read(&out.filled()[before..], |head| {
            began |= head.kind != CONTINUATION;
            if head.kind == HEADERS {
                *last_stream = head.stream.max(*last_stream);
            }
            flood = flood.or(frame_budget.received(head, now));
        });
        // The clock is read only if a frame arrives in pieces.
        let kept = this.monitor.unfinished.get().filter(|_| !began);
        let since = this.received.is_unfinished().then(|| kept.unwrap_or_else(now));
        this.monitor.unfinished.set(since);
        if flood.is_some() {
            this.monitor.flood.set(flood);
            out.set_filled(before);
            return Poll::Ready(Err(this.send_goaway(context)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.sent.read(&bytes[..written], |head| this.frame_budget.sent(head));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write_vectored(context, parts))?;
        let mut left = written;
        for send_goaway in parts {
            let step = left.min(send_goaway.len());
            this.sent.read(&send_goaway[..step], |head| this.frame_budget.sent(head));
            left -= step;
            if left == 0 {
                break;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Makes the socket stay open for a moment after its close and drops what still arrives: a close with unread bytes
/// would send a reset, which would discard our GOAWAY.
fn linger(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.shutdown(Shutdown::Write)?;
    let mut socket = TcpStream::from_std(socket.try_clone()?.into())?;
    tokio::task::spawn_local(tokio::time::timeout(LINGER, async move {
        let mut sink = vec![0; 16 * 1024];
        while matches!(socket.read(&mut sink).await, Ok(read) if read > 0) {}
    }));
    Ok(())
}

/// The ENHANCE_YOUR_CALM error code (RFC 9113, 7).
const ENHANCE_YOUR_CALM: u32 = 11;
const LINGER: Duration = Duration::from_secs(1);
