//! An HTTP/2 connection's bytes under watch: a peer that floods us with frames that carry nothing, or that has been
//! found to abuse its streams, is told ENHANCE_YOUR_CALM and read no more. Exists because the library answers such
//! frames for ever.

use super::frames::{CONTINUATION, FrameReader, HEADERS};
use super::purse::Purse;
use super::{Stream, now};
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

/// A connection under watch.
#[derive(Debug)]
pub struct Guarded {
    stream: Stream,
    received: FrameReader,
    sent: FrameReader,
    purse: Purse,
    last_stream: u32,
    warden: Rc<Warden>,
}

/// Who may end a connection, and knows why it was ended.
#[derive(Debug, Default)]
pub struct Warden {
    dismissed: Cell<bool>,
    heard: Cell<bool>,
    unfinished: Cell<Option<Instant>>,
    flood: Cell<Option<&'static str>>,
}

impl Warden {
    /// Ends the connection with ENHANCE_YOUR_CALM when it is polled next.
    pub fn dismiss(&self) {
        self.dismissed.set(true);
    }

    /// Whether bytes have come since it was last asked.
    pub fn heard(&self) -> bool {
        self.heard.take()
    }

    /// Since when a frame, or a block of headers, has waited for its rest.
    pub fn unfinished(&self) -> Option<Instant> {
        self.unfinished.get()
    }

    /// Frames of which kind were too many.
    pub fn flood(&self) -> Option<&'static str> {
        self.flood.get()
    }
}

impl Guarded {
    /// Our end is the server's.
    pub fn server(stream: Stream) -> Self {
        Self::new(stream, (FrameReader::of_client(), FrameReader::default()), Purse::of_client(now()))
    }

    /// Our end is the client's.
    pub fn client(stream: Stream) -> Self {
        Self::new(stream, (FrameReader::default(), FrameReader::of_client()), Purse::of_server(now()))
    }

    fn new(stream: Stream, (received, sent): (FrameReader, FrameReader), purse: Purse) -> Self {
        Self { stream, received, sent, purse, last_stream: 0, warden: Rc::default() }
    }

    /// The one who watches it.
    pub fn warden(&self) -> Rc<Warden> {
        self.warden.clone()
    }

    /// Says why, and ends. What cannot be written at once is not worth a wait.
    fn part(&mut self, context: &mut Context<'_>) -> io::Error {
        let mut goodbye = vec![0, 0, 8, super::frames::GOAWAY, 0, 0, 0, 0, 0];
        goodbye.extend(self.last_stream.to_be_bytes());
        goodbye.extend(ENHANCE_YOUR_CALM.to_be_bytes());
        let _ = Pin::new(&mut self.stream).poll_write(context, &goodbye);
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
        if this.warden.dismissed.get() {
            return Poll::Ready(Err(this.part(context)));
        }
        let before = out.filled().len();
        std::task::ready!(Pin::new(&mut this.stream).poll_read(context, out))?;
        this.warden.heard.set(true);
        let (purse, last_stream, mut flood) = (&mut this.purse, &mut this.last_stream, None);
        let mut began = false;
        this.received.read(&out.filled()[before..], |head| {
            began |= head.kind != CONTINUATION;
            if head.kind == HEADERS {
                *last_stream = head.stream.max(*last_stream);
            }
            flood = flood.or(purse.received(head, now));
        });
        // The clock is looked at only where a frame comes in pieces.
        let kept = this.warden.unfinished.get().filter(|_| !began);
        let since = this.received.is_unfinished().then(|| kept.unwrap_or_else(now));
        this.warden.unfinished.set(since);
        if flood.is_some() {
            this.warden.flood.set(flood);
            out.set_filled(before);
            return Poll::Ready(Err(this.part(context)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.sent.read(&bytes[..written], |head| this.purse.sent(head));
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
        for part in parts {
            let step = left.min(part.len());
            this.sent.read(&part[..step], |head| this.purse.sent(head));
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

/// Keeps a socket open for a moment and drops what still comes: closed with unread bytes it would be reset, and the
/// reset would take our last words with it.
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

/// RFC 9113, 7.
const ENHANCE_YOUR_CALM: u32 = 11;
const LINGER: Duration = Duration::from_secs(1);
