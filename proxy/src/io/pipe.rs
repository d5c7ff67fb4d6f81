//! Moves bulk bytes from one socket to another inside the kernel: spliced into a pipe and out of it, without a copy
//! in user space.

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A pipe, borrowed from a per-thread pool while bytes are in it or about to arrive.
pub(super) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    held: usize,
    room: usize,
}

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(vec![]) };
}

impl Pipe {
    /// Borrows an empty pipe; `None`: the process cannot open another one.
    pub(super) fn borrow() -> Option<Self> {
        POOL.with_borrow_mut(Vec::pop).or_else(Self::open)
    }

    fn open() -> Option<Self> {
        let (output, input) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
        // Beyond the system's limit per user, pipes keep their initial size.
        let room = fcntl(&input, FcntlArg::F_SETPIPE_SZ(ROOM)).unwrap_or(SMALL);
        Some(Self { output, input, held: 0, room: room as usize })
    }

    /// Returns the pipe to the pool; a pipe that still holds bytes is closed.
    pub(super) fn give_back(self) {
        POOL.with_borrow_mut(|pool| {
            if self.held == 0 && pool.len() < POOLED {
                pool.push(self);
            }
        });
    }

    /// Moves available bytes from the socket into the pipe, which must be empty. 0: the peer has ended.
    pub(super) fn fill(&mut self, context: &mut Context<'_>, from: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(from.poll_read_ready(context))?;
            let moved = from.try_io(Interest::READABLE, || moved(from, &self.input, self.room));
            match moved {
                Err(error) if is_not_yet(&error) => {}
                Ok(count) => {
                    self.held = count;
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves all bytes from the pipe to the socket.
    pub(super) fn drain(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while self.held > 0 {
            ready!(to.poll_write_ready(context))?;
            match to.try_io(Interest::WRITABLE, || moved(&self.output, to, self.held)) {
                Err(error) if is_not_yet(&error) => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.held -= count,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn moved(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The size requested for a pipe, if the system allows it.
const ROOM: i32 = 1024 * 1024;
/// The initial size of a pipe.
const SMALL: i32 = 64 * 1024;
/// The most pipes that a thread's pool keeps.
const POOLED: usize = 8;
