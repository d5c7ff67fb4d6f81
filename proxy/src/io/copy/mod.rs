//! Bytes both ways between two connections, each direction closing on its own, so that a half-closed connection goes
//! on in the other direction. Buffers are borrowed from a pool of the thread only while bytes are on their way; bulk
//! between plain sockets is moved by the kernel.

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

/// What has gone by so far; whoever holds a clone may look while bytes flow.
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

/// Which end was the cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client's connection.
    Down,
    /// The upstream's connection.
    Up,
}

/// Whether a connection was aborted. One that ends in order below TLS, but without TLS' own word for it and between two
/// records, is none: many programs close so, and Envoy takes it for an end too.
fn is_abort(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::UnexpectedEof
}

/// Copies both ways until both directions have ended, or one connection was aborted: by a reset, by an alert, amid a
/// record, or because it cannot be written to. Then the other one is to be reset, so that what it has received is not
/// taken for all there was.
pub async fn both_ways<A, B>(down: &mut A, up: &mut B, progress: &Progress) -> Result<(), (End, io::Error)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    join((down, |_| None), (up, |_| None), progress).await
}

/// The same between connections: the kernel moves bulk between plain sockets by itself.
pub async fn streams(
    down: &mut Stream,
    up: &mut Stream,
    progress: &Progress,
) -> Result<(), (End, io::Error)> {
    join((down, Stream::bare), (up, Stream::bare), progress).await
}

/// A side and how to find the socket that has nothing between it and the bytes.
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
    /// The last read brought so much that the kernel had better move the next.
    bulk: bool,
    flush: bool,
    ended: bool,
    /// Reading has failed; what was read before goes out first.
    failed: Option<io::Error>,
    closed: bool,
}

/// `true` in an error: reading failed.
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

    /// Takes bytes from a socket into a pipe.
    fn take(&mut self, context: &mut Context<'_>, from: &TcpStream) -> Poll<io::Result<usize>> {
        let Some(mut pipe) = self.pipe.take().or_else(Pipe::borrow) else { return Poll::Ready(Ok(0)) };
        let result = match pipe.fill(context, from) {
            // Where the kernel cannot splice, bytes are copied.
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

    /// Reads until the buffer is full or nothing is there: what TLS still holds of its last read would cost a write of
    /// its own. A socket that was read empty says so without a call.
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

    /// Nothing more to read for the time being: what TLS holds back has to go out.
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

    /// What holds no bytes is for others.
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

/// Steps of a turn that a pipe counts for: it holds more than a buffer.
const SPLICE_COST: usize = 2;
/// So many bytes at once are worth a pipe: below, copying them costs less than the second call.
const BULK: usize = 32 * 1024;

#[cfg(test)]
pub(crate) mod tests;
