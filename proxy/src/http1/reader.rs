//! The reading half of a connection: splits incoming bytes into heads, and into bodies by their framing.

use super::body::BodyError;
use super::buffer;
use super::chunked::{Decoder, Step};
use super::framing::Length;
use super::head::{self, Limits};
use super::invalid::Invalid;
use crate::io::STEP;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Bytes that were read but not parsed yet.
pub(super) struct Reader {
    pub(super) limits: Limits,
    buffer: BytesMut,
    /// The length of the buffer's prefix that was searched for the end of a head without success.
    searched: usize,
    /// The length of the buffer's prefix that was checked for errors before the head was complete.
    looked: usize,
    /// The last read filled much of its room, so more bytes are probably available.
    bulk: bool,
    ended: bool,
}

/// The position within a body.
#[derive(Debug)]
pub(super) enum Reading {
    /// The body was read completely.
    Done,
    /// This number of bytes remains.
    Exact(u64),
    /// A chunked body.
    Chunked(Box<Decoder>),
    /// The body lasts until the connection ends.
    UntilClose,
    /// The body failed and cannot be read further.
    Failed(BodyError),
}

impl Reader {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, buffer: BytesMut::new(), searched: 0, looked: 0, bulk: false, ended: false }
    }

    /// Whether no bytes were read ahead.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the peer has closed its sending side.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Takes the bytes that were read ahead, for the next reader of the stream.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }

    /// Returns the buffer to the pool if it is empty.
    pub(super) fn release(&mut self) {
        if self.buffer.is_empty() {
            buffer::give_back(std::mem::take(&mut self.buffer));
        }
    }

    /// Takes the head at the front of the buffer, if it is complete.
    pub(super) fn head(
        &mut self,
        possible: fn(&[u8], Limits) -> Result<(), Invalid>,
    ) -> Result<Option<Bytes>, Invalid> {
        if self.searched == 0 {
            let empty = head::empty_lines(&self.buffer);
            self.buffer.advance(empty);
        }
        let length = self.buffer.len();
        // A single CR may be half of an empty line.
        if length == 0 || length == 1 && self.buffer[0] == b'\r' {
            return Ok(None);
        }
        if let Some(end) = head::end(&self.buffer, self.searched) {
            (self.searched, self.looked) = (0, 0);
            return Ok(Some(self.buffer.split_to(end).freeze()));
        }
        self.searched = length;
        if length > self.limits.bytes || head::is_news(&self.buffer, self.looked) {
            possible(&self.buffer, self.limits)?;
            self.looked = length;
        }
        Ok(None)
    }

    /// Reads more bytes; 0: the peer has closed its sending side.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        // Large buffers only for fast streams: a body that trickles in must not hold one.
        let wanted = if self.bulk { wanted } else { wanted.min(buffer::SIZE) };
        if self.buffer.capacity() == 0 && wanted <= buffer::SIZE {
            self.buffer = buffer::take();
        }
        if self.buffer.capacity() - self.buffer.len() < wanted.min(LEAST) {
            self.buffer.reserve(wanted.clamp(buffer::SIZE, STEP));
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let count = ready!(poll_read_buf(Pin::new(io), context, &mut self.buffer))?;
        self.bulk = count >= buffer::SIZE.max(room / 4).min(room);
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        buffer::give_back(std::mem::take(&mut self.buffer));
    }
}

impl Reading {
    pub(super) fn new(length: Length, limits: Limits) -> Self {
        match length {
            Length::Exact(0) => Self::Done,
            Length::Exact(count) => Self::Exact(count),
            Length::Chunked => Self::Chunked(Box::new(Decoder::new(limits))),
            Length::UntilClose => Self::UntilClose,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Whether nothing more can be read of the body.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_))
    }

    pub(super) fn hint(&self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Exact(left) => SizeHint::with_exact(*left),
            _ => SizeHint::default(),
        }
    }

    /// Reads the next piece of the body.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader,
        io: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.step(&mut reader.buffer) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Step::Trailers(trailers)) => {
                    *self = Self::Done;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Step::End) => {
                    *self = Self::Done;
                    return Poll::Ready(None);
                }
                Ok(Step::More) => {}
                Err(error) => return self.fail(error),
            }
            match ready!(reader.poll_fill(io, self.wanted(), context)) {
                Ok(0) if matches!(self, Self::UntilClose) => {
                    *self = Self::Done;
                    return Poll::Ready(None);
                }
                Ok(0) | Err(_) => return self.fail(BodyError::Broken),
                Ok(_) => {}
            }
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        *self = Self::Failed(error);
        Poll::Ready(Some(Err(error)))
    }

    fn wanted(&self) -> usize {
        let wanted = match self {
            Self::Exact(left) => *left,
            Self::Chunked(decoder) => decoder.wanted().saturating_add(MARGIN),
            _ => STEP as u64,
        };
        usize::try_from(wanted).unwrap_or(STEP).min(STEP)
    }

    fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, BodyError> {
        match self {
            Self::Done => Ok(Step::End),
            Self::Failed(error) => Err(*error),
            Self::Exact(_) | Self::UntilClose if buffer.is_empty() => Ok(Step::More),
            Self::Exact(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Step::Data(buffer.split_to(count).freeze()))
            }
            Self::UntilClose => Ok(Step::Data(buffer.split().freeze())),
            Self::Chunked(decoder) => {
                let step = decoder.step(buffer).map_err(BodyError::Invalid);
                if decoder.is_done() && matches!(step, Ok(Step::Data(_))) {
                    *self = Self::Done;
                }
                step
            }
        }
    }
}

/// If more bytes are expected, a read into less room than this is not worth its system call.
const LEAST: usize = 4 * 1024;
/// Room for the line ends and sizes between chunks.
const MARGIN: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::ReadBuf;

    /// Yields as many bytes as each read has room for, until all are delivered.
    struct FullReader {
        left: usize,
        most: usize,
        reads: usize,
    }

    impl AsyncRead for FullReader {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = out.remaining().min(self.left).min(self.most);
            out.put_slice(&vec![7; count]);
            self.left -= count;
            self.reads += 1;
            Poll::Ready(Ok(()))
        }
    }

    /// Reads a whole body. Returns the number of reads and the size of the largest buffer.
    fn read(length: usize, most: usize) -> (usize, usize) {
        let limits = Limits { bytes: 1024, count: 10 };
        let (mut reader, mut body) = (Reader::new(limits), Reading::Exact(length as u64));
        let mut io = FullReader { left: length, most, reads: 0 };
        let (mut got, mut largest) = (0, 0);
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = body.poll(&mut reader, &mut io, &mut context) {
            let data = frame.unwrap().into_data().unwrap();
            (got, largest) = (got + data.len(), largest.max(reader.buffer.capacity() + data.len()));
            if body.is_done() {
                break;
            }
        }
        assert_eq!(got, length);
        (io.reads, largest)
    }

    #[test]
    fn a_fast_body_takes_few_reads_and_a_slow_one_little_memory() {
        let (reads, _) = read(1 << 20, usize::MAX);
        assert!(reads <= 20, "{reads} reads for 1 MiB");
        let (_, largest) = read(64 * 1024, 500);
        assert!(largest <= 2 * buffer::SIZE, "{largest} bytes held");
    }
}
