//! Bytes both ways between two connections, each direction closing on its own, so that a half-closed connection goes
//! on in the other direction. Buffers are borrowed from a pool of the thread only while bytes are on their way.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// Copies both ways until both directions have ended or one has failed.
pub async fn both_ways<A, B>(down: &mut A, up: &mut B, progress: &Progress) -> Result<(), (End, io::Error)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_up, mut to_down) = (Direction::default(), Direction::default());
    std::future::poll_fn(|context| {
        let first = to_up.poll(context, down, up, &progress.0.up);
        let first = first.map_err(|(reading, error)| (if reading { End::Down } else { End::Up }, error))?;
        let second = to_down.poll(context, up, down, &progress.0.down);
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
    filled: std::ops::Range<usize>,
    flush: bool,
    ended: bool,
    closed: bool,
}

/// `true` in an error: reading failed.
type Failure = (bool, io::Error);

impl Direction {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        count: &Cell<u64>,
    ) -> Poll<Result<(), Failure>> {
        let mut budget = BUDGET;
        loop {
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            ready!(self.write(context, to)).map_err(|e| (false, e))?;
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(context)).map_err(|e| (false, e))?;
                self.closed = true;
                continue;
            }
            if budget == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            budget -= 1;
            match self.read(context, from) {
                Poll::Ready(result) => {
                    let read = result.map_err(|e| (true, e))?;
                    count.set(count.get() + read as u64);
                    self.ended = read == 0;
                }
                Poll::Pending => {
                    return self.rest(context, to).map_err(|e| (false, e));
                }
            }
        }
    }

    fn read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        let mut space = self.buffer.take().unwrap_or_else(borrow);
        let mut buffer = ReadBuf::new(&mut space);
        let result = Pin::new(from).poll_read(context, &mut buffer);
        let read = buffer.filled().len();
        match result {
            Poll::Ready(Ok(())) if read > 0 => {
                self.buffer = Some(space);
                self.filled = 0..read;
                Poll::Ready(Ok(read))
            }
            other => {
                give_back(space);
                other.map_ok(|()| 0)
            }
        }
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.filled.is_empty() {
            let bytes = self.buffer.as_ref().map_or(&[][..], |b| &b[self.filled.clone()]);
            let written = ready!(Pin::new(&mut *to).poll_write(context, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.filled.start += written;
            self.flush = true;
        }
        if let Some(space) = self.buffer.take() {
            give_back(space);
        }
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
}

impl Drop for Direction {
    fn drop(&mut self) {
        if let Some(space) = self.buffer.take() {
            give_back(space);
        }
    }
}

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(vec![]) };
}

fn borrow() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into())
}

fn give_back(space: Box<[u8]>) {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED {
            pool.push(space);
        }
    });
}

/// Bytes of a buffer: large enough that a bulk stream makes few calls, small enough to stay in a core's cache.
const SIZE: usize = 64 * 1024;
/// Buffers that a thread keeps.
const POOLED: usize = 32;
/// Reads of one direction before others get their turn.
const BUDGET: usize = 16;

#[cfg(test)]
mod tests {
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
}
