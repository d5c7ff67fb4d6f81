//! Copies bytes both ways between two connections. Each direction closes on its own, so a half-closed connection
//! continues in the other direction. Buffers are borrowed from a per-thread pool only while bytes are in transit;
//! the kernel moves bulk data between plain sockets.

use crate::io::pipe::Pipe;
use crate::io::space;
use crate::io::stream::Stream;
use crate::io::turn::Turn;
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The number of bytes copied so far; clones may be read while the copy runs.
#[derive(Debug, Clone, Default)]
pub struct Progress(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    up: Cell<u64>,
    down: Cell<u64>,
}

impl Progress {
    /// Bytes from the client to the upstream.
    pub fn up(&self) -> u64 {
        self.0.up.get()
    }

    /// Bytes from the upstream to the client.
    pub fn down(&self) -> u64 {
        self.0.down.get()
    }
}

/// The end of the connection that caused an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client's connection.
    Down,
    /// The upstream's connection.
    Up,
}

/// Whether a read error is an abort. An end of the TCP connection between two TLS records, without `close_notify`,
/// is not an abort: many programs close that way, and Envoy treats it as an end too.
fn is_abort(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::UnexpectedEof
}

/// Copies both ways until both directions have ended or one connection was aborted: by a reset, a TLS alert, an end
/// within a record, or a failed write. After an abort, the caller resets the other connection, so that its peer
/// does not take the bytes it has received for all of them.
pub async fn both_ways<A, B>(down: &mut A, up: &mut B, progress: &Progress) -> Result<(), (End, io::Error)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    join((down, |_| None), (up, |_| None), progress).await
}

/// Copies between two connections like `both_ways`, but the kernel moves bulk data between plain sockets.
pub async fn streams(
    down: &mut Stream,
    up: &mut Stream,
    progress: &Progress,
) -> Result<(), (End, io::Error)> {
    join((down, Stream::bare), (up, Stream::bare), progress).await
}

/// A connection, and a function that returns its socket if nothing, such as TLS, wraps it.
type Side<'a, S> = (&'a mut S, fn(&S) -> Option<&TcpStream>);

async fn join<A, B>(
    (down, down_socket): Side<'_, A>,
    (up, up_socket): Side<'_, B>,
    progress: &Progress,
) -> Result<(), (End, io::Error)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_up, mut to_down) = (Direction::default(), Direction::default());
    std::future::poll_fn(|context| {
        let first = to_up.poll(context, (down, down_socket), (up, up_socket), &progress.0.up);
        let first = first.map_err(|(reading, error)| (if reading { End::Down } else { End::Up }, error))?;
        let second = to_down.poll(context, (up, up_socket), (down, down_socket), &progress.0.down);
        let second = second.map_err(|(reading, error)| (if reading { End::Up } else { End::Down }, error))?;
        ready!(first);
        ready!(second);
        Poll::Ready(Ok(()))
    })
    .await
}

#[derive(Default)]
struct Direction {
    buffer: Option<Box<[u8]>>,
    filled: Range<usize>,
    pipe: Option<Pipe>,
    /// The last read was so large that the kernel should move the next one.
    bulk: bool,
    flush: bool,
    ended: bool,
    /// A read failed; the bytes read before are sent first.
    failed: Option<io::Error>,
    closed: bool,
}

/// The flag is `true` if reading failed, `false` if writing failed.
type Failure = (bool, io::Error);

impl Direction {
    fn poll<A, B>(
        &mut self,
        context: &mut Context<'_>,
        (from, bare_from): Side<'_, A>,
        (to, bare_to): Side<'_, B>,
        count: &Cell<u64>,
    ) -> Poll<Result<(), Failure>>
    where
        A: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        let mut turn = Turn::default();
        loop {
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            ready!(self.write(context, to, bare_to)).map_err(|e| (false, e))?;
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err((true, error)));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(context)).map_err(|e| (false, e))?;
                self.closed = true;
                continue;
            }
            let sockets = bare_from(from).zip(bare_to(to)).filter(|_| self.bulk);
            ready!(turn.take(if sockets.is_some() { SPLICE_COST } else { 1 }, context));
            let read = match sockets {
                Some((socket, _)) => self.take(context, socket),
                None => self.read(context, from),
            };
            match read {
                Poll::Ready(result) => {
                    let read = result.map_err(|e| (true, e))?;
                    count.set(count.get() + read as u64);
                    self.bulk = read >= BULK;
                }
                Poll::Pending => return self.rest(context, to).map_err(|e| (false, e)),
            }
        }
    }

    /// Moves bytes from a socket into a pipe.
    fn take(&mut self, context: &mut Context<'_>, from: &TcpStream) -> Poll<io::Result<usize>> {
        let Some(mut pipe) = self.pipe.take().or_else(Pipe::borrow) else { return Poll::Ready(Ok(0)) };
        let result = match pipe.fill(context, from) {
            // If the kernel cannot splice these sockets, bytes are copied instead.
            Poll::Ready(Err(error)) if is_unsupported(&error) => Poll::Ready(Ok(0)),
            result => {
                self.ended = matches!(result, Poll::Ready(Ok(0)));
                result
            }
        };
        match result {
            Poll::Ready(Ok(read)) if read > 0 => self.pipe = Some(pipe),
            _ => pipe.give_back(),
        }
        result
    }

    /// Reads until the buffer is full or no bytes are available: the rest of TLS's last read would otherwise cost a
    /// write of its own. For a socket that was read empty this needs no further system call.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        let mut space = self.buffer.take().unwrap_or_else(space::borrow);
        let mut buffer = ReadBuf::new(&mut space[..space::STEP]);
        let last = loop {
            let before = buffer.filled().len();
            match Pin::new(&mut *from).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > before && buffer.remaining() > 0 => {}
                other => break other.map_ok(|()| buffer.filled().len() > before),
            }
        };
        let read = buffer.filled().len();
        let waits = last.is_pending();
        match last {
            Poll::Ready(Ok(more)) => self.ended = !more,
            Poll::Ready(Err(error)) if !is_abort(&error) => self.ended = true,
            Poll::Ready(Err(error)) if read > 0 => self.failed = Some(error),
            Poll::Ready(Err(error)) => {
                space::give_back(space);
                return Poll::Ready(Err(error));
            }
            Poll::Pending => {}
        }
        if read == 0 {
            space::give_back(space);
            return if waits { Poll::Pending } else { Poll::Ready(Ok(0)) };
        }
        (self.buffer, self.filled) = (Some(space), 0..read);
        Poll::Ready(Ok(read))
    }

    fn write<B: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        to: &mut B,
        bare: fn(&B) -> Option<&TcpStream>,
    ) -> Poll<io::Result<()>> {
        if let Some((pipe, socket)) = self.pipe.as_mut().zip(bare(to)) {
            ready!(pipe.drain(context, socket))?;
        }
        while !self.filled.is_empty() {
            let bytes = self.buffer.as_ref().map_or(&[][..], |b| &b[self.filled.clone()]);
            let written = ready!(Pin::new(&mut *to).poll_write(context, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.filled.start += written;
            self.flush = true;
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Nothing can be read at present: flushes the bytes that TLS still holds back.
    fn rest(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), io::Error>> {
        if self.flush {
            ready!(Pin::new(to).poll_flush(context))?;
            self.flush = false;
        }
        Poll::Pending
    }

    /// Returns the buffer and the pipe to their pools once they are empty.
    fn release(&mut self) {
        if let Some(space) = self.buffer.take() {
            space::give_back(space);
        }
        if let Some(pipe) = self.pipe.take() {
            pipe.give_back();
        }
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.release();
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Turn steps charged for one use of a pipe, which holds more than a buffer.
const SPLICE_COST: usize = 2;
/// The least read size in bytes for which a pipe pays off: below it, copying costs less than the second system call.
const BULK: usize = 32 * 1024;

#[cfg(test)]
pub(crate) mod tests;
