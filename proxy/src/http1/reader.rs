//! The reading half of a connection: bytes into heads, and bodies by their framing.

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

/// Bytes that were read and not yet understood.
pub(super) struct Reader {
    pub(super) limits: Limits,
    buffer: BytesMut,
    /// Bytes in which no end of a head was found.
    searched: usize,
    /// Bytes that were looked at for errors before a head was complete.
    looked: usize,
    /// The last read filled much of the room it had, so that more is likely to be there.
    bulk: bool,
    ended: bool,
}

/// Where in a body the reading stands.
#[derive(Debug)]
pub(super) enum Reading {
    /// All of it was read.
    Done,
    /// So many bytes are to come.
    Exact(u64),
    /// Chunks.
    Chunked(Box<Decoder>),
    /// Until the connection ends.
    UntilClose,
    /// It cannot be read on.
    Failed(BodyError),
}

impl Reader {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, buffer: BytesMut::new(), searched: 0, looked: 0, bulk: false, ended: false }
    }

    /// Nothing was read ahead.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The peer has ended its side.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What was read ahead, for whoever goes on with it.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }

    /// Gives the buffer back, if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.buffer.is_empty() {
            buffer::give_back(std::mem::take(&mut self.buffer));
        }
    }

    /// The head at the front, if it is complete.
    pub(super) fn head(
        &mut self,
        possible: fn(&[u8], Limits) -> Result<(), Invalid>,
    ) -> Result<Option<Bytes>, Invalid> {
        if self.searched == 0 {
            let empty = head::empty_lines(&self.buffer);
            self.buffer.advance(empty);
        }
        let length = self.buffer.len();
        // One CR may be half an empty line.
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

    /// Reads more; 0: the peer has ended.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        // Much room only where bytes come fast: a body that trickles must not hold it.
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

    /// Nothing more is to be read.
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

    /// The next piece.
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

/// A read with less room than this is not worth its call, if more bytes are expected.
const LEAST: usize = 4 * 1024;
/// Line ends and sizes between chunks.
const MARGIN: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::ReadBuf;

    /// Gives what is asked for, as long as there is something.
    struct Plenty {
        left: usize,
        most: usize,
        reads: usize,
    }

    impl AsyncRead for Plenty {
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

    /// Reads a whole body; the number of reads and the largest buffer.
    fn read(length: usize, most: usize) -> (usize, usize) {
        let limits = Limits { bytes: 1024, count: 10 };
        let (mut reader, mut body) = (Reader::new(limits), Reading::Exact(length as u64));
        let mut io = Plenty { left: length, most, reads: 0 };
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
    fn a_bulk_body_takes_few_reads_and_one_that_trickles_little_memory() {
        let (reads, _) = read(1 << 20, usize::MAX);
        assert!(reads <= 20, "{reads} reads for 1 MiB");
        let (_, largest) = read(64 * 1024, 500);
        assert!(largest <= 2 * buffer::SIZE, "{largest} bytes held");
    }
}
