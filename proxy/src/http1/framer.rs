//! Frames the pieces of an outgoing body as its head has declared.

use super::framing::Length;
use super::outbox::Outbox;
use bytes::Bytes;
use http_body::Frame;

/// Frames one body.
#[derive(Debug)]
pub(super) struct Framer {
    /// What is left to send; `None`: the message has no body.
    length: Option<Length>,
    trailers: bool,
    done: bool,
}

/// A body ended before its declared length.
#[derive(Debug)]
pub(super) struct TooShort;

impl Framer {
    /// Creates a framer for a body of the declared length. `trailers`: whether the peer accepts trailers.
    pub(super) fn new(length: Option<Length>, trailers: bool) -> Self {
        Self { length, trailers, done: false }
    }

    /// Whether the whole body was added.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the message has no body, so that anything the source yields is dropped.
    pub(super) fn is_silent(&self) -> bool {
        self.length.is_none()
    }

    /// Adds a piece, or the end of the body. Call it only if the outbox has room.
    pub(super) fn add(&mut self, frame: Option<Frame<Bytes>>, out: &mut Outbox) -> Result<(), TooShort> {
        let Some(frame) = frame else { return self.end(out) };
        match frame.into_data() {
            Ok(data) => self.data(data, out),
            Err(frame) => {
                let trailers = frame.into_trailers().ok().filter(|_| self.trailers);
                if !self.done && self.length == Some(Length::Chunked) {
                    self.done = true;
                    out.last_chunk(trailers.as_ref());
                }
            }
        }
        Ok(())
    }

    fn data(&mut self, mut data: Bytes, out: &mut Outbox) {
        match &mut self.length {
            Some(Length::Exact(left)) => {
                // The peer would read bytes beyond the declared length as the next message.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                out.data(data);
            }
            Some(Length::Chunked) if !self.done => out.chunk(data),
            Some(Length::UntilClose) => out.data(data),
            Some(Length::Chunked) | None => {}
        }
    }

    fn end(&mut self, out: &mut Outbox) -> Result<(), TooShort> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(());
        }
        match self.length {
            Some(Length::Exact(left)) if left > 0 => Err(TooShort),
            Some(Length::Chunked) => {
                out.last_chunk(None);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
