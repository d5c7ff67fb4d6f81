//! Bytes both ways between two connections, each direction closing on its own, so that a half-closed connection goes
//! on in the other direction. Buffers are borrowed from a pool of the thread only while bytes are on their way; bulk
//! between plain sockets is moved by the kernel.

use super::pipe::Pipe;
use super::space;
use super::stream::Stream;
use super::turn::Turn;
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

/// Whether a connection was aborted: an end without a word of TLS is none, because many programs close so.
pub fn is_abort(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::UnexpectedEof
}

/// Copies both ways until both directions have ended or one has failed.
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
pub(crate) mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn a_half_closed_connection_goes_on_the_other_way() {
        let (mut client, mut down) = duplex(64);
        let (mut up, mut server) = duplex(64);
        let progress = Progress::default();
        let copying = both_ways(&mut down, &mut up, &progress);
        let talking = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut text = String::new();
            server.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "question");
            server.write_all(b"long answer").await.unwrap();
            server.shutdown().await.unwrap();
            text.clear();
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "long answer");
        };
        let (result, ()) = tokio::join!(copying, talking);
        result.unwrap();
        assert_eq!((progress.up(), progress.down()), (8, 11));
    }

    #[tokio::test]
    async fn many_bytes_arrive_in_order_through_a_narrow_pipe() {
        let (mut client, mut down) = duplex(7);
        let (mut up, mut server) = duplex(5);
        let progress = Progress::default();
        let copying = both_ways(&mut down, &mut up, &progress);
        let sent: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        let writing = async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        };
        let reading = async move {
            let mut all = vec![];
            server.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, expected);
        };
        let (result, _client, ()) = tokio::join!(copying, writing, reading);
        result.unwrap();
    }

    #[tokio::test]
    async fn an_end_that_breaks_is_named() {
        let (mut client, mut down) = duplex(64);
        let (mut up, server) = duplex(64);
        drop(server);
        client.write_all(b"x").await.unwrap();
        let progress = Progress::default();
        let (end, _) = both_ways(&mut down, &mut up, &progress).await.unwrap_err();
        assert_eq!(end, End::Up);
    }

    pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(connect, listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    pub(crate) fn plain(socket: TcpStream) -> Stream {
        Stream::Plain(crate::io::Prefixed::new(socket))
    }

    #[tokio::test]
    async fn bulk_between_sockets_arrives_whole_and_in_order_among_small_parts() {
        let ((mut client, down), (up, mut server)) = (sockets().await, sockets().await);
        let (mut down, mut up) = (plain(down), plain(up));
        let progress = Progress::default();
        let copying = streams(&mut down, &mut up, &progress);
        let sent: Vec<u8> = (0..8_000_000u32).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        let writing = async move {
            client.write_all(&sent[..10]).await.unwrap();
            client.write_all(&sent[10..7_000_000]).await.unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"go on!");
            client.write_all(&sent[7_000_000..]).await.unwrap();
            client.shutdown().await.unwrap();
            client
        };
        let reading = async move {
            let mut all = vec![0; 7_000_000];
            server.read_exact(&mut all).await.unwrap();
            server.write_all(b"go on!").await.unwrap();
            server.read_to_end(&mut all).await.unwrap();
            assert!(all == expected, "the bytes differ");
            server.shutdown().await.unwrap();
        };
        let (result, _client, ()) = tokio::join!(copying, writing, reading);
        result.unwrap();
        assert_eq!((progress.up(), progress.down()), (8_000_000, 6));
    }

    #[tokio::test]
    async fn a_socket_that_is_reset_amid_bulk_is_named() {
        let ((mut client, down), (up, mut server)) = (sockets().await, sockets().await);
        let (mut down, mut up) = (plain(down), plain(up));
        let progress = Progress::default();
        let copying = streams(&mut down, &mut up, &progress);
        let writing = async move {
            let megabyte = vec![1; 1 << 20];
            while client.write_all(&megabyte).await.is_ok() {}
        };
        let reading = async move {
            let mut some = vec![0; 3_000_000];
            server.read_exact(&mut some).await.unwrap();
            server.set_zero_linger().unwrap();
        };
        let all = async { tokio::join!(copying, reading) };
        tokio::select! {
            (result, ()) = all => assert_eq!(result.unwrap_err().0, End::Up),
            () = writing => panic!("nobody told the client"),
        }
    }

    #[tokio::test]
    async fn an_abort_is_told_from_an_end() {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidData, UnexpectedEof};
        let abort = |kind: io::ErrorKind| is_abort(&kind.into());
        let found = [ConnectionReset, BrokenPipe, InvalidData, UnexpectedEof].map(abort);
        assert_eq!(found, [true, true, true, false]);
        // A client that resets while nothing moves is noticed, and its reset is passed on.
        let ((client, down), (up, mut server)) = (sockets().await, sockets().await);
        let (mut down, mut up) = (plain(down), plain(up));
        client.set_zero_linger().unwrap();
        drop(client);
        let progress = Progress::default();
        let (end, error) = streams(&mut down, &mut up, &progress).await.unwrap_err();
        assert!(end == End::Down && is_abort(&error), "{error}");
        up.reset();
        drop(up);
        let seen = server.read(&mut [0]).await.unwrap_err();
        assert_eq!(seen.kind(), ConnectionReset);
    }
}
