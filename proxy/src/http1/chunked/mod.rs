//! Pure. Decodes the chunked transfer coding (RFC 9112, 7.1) from a buffer as bytes arrive. Sizes are hexadecimal
//! digits only, lines end in CR LF, and extensions are limited in size and ignored.

use super::head::{self, Limits};
use super::invalid::Invalid;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

/// Decodes one chunked body; holds the position within the coding.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Bytes of chunk extensions received so far.
    extensions: usize,
    /// Bytes of an unfinished extension that were already checked.
    looked: usize,
    /// Limits on the trailers.
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers { searched: usize, looked: usize },
    Done,
}

/// The result of one decoding step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A part of the body.
    Data(Bytes),
    /// The end of the body, with trailers.
    Trailers(HeaderMap),
    /// The end of the body, without trailers.
    End,
    /// More bytes are needed.
    More,
}

impl Decoder {
    /// Creates a decoder at the start of a body.
    pub fn new(limits: Limits) -> Self {
        Self { state: State::Size, extensions: 0, looked: 0, limits }
    }

    /// Bytes of the current chunk that have not arrived yet.
    pub fn wanted(&self) -> u64 {
        if let State::Data(left) = self.state { left } else { 0 }
    }

    /// Whether the whole body was decoded.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the next part and consumes its bytes from the buffer.
    pub fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Invalid> {
        loop {
            match self.state {
                State::Size => {
                    let Some((size, length)) = self.size(buffer)? else { return Ok(Step::More) };
                    buffer.advance(length);
                    self.state = match size {
                        0 => State::Trailers { searched: 0, looked: 0 },
                        size => State::Data(size),
                    };
                }
                State::Data(_) if buffer.is_empty() => return Ok(Step::More),
                State::Data(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - count as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    let data = buffer.split_to(count).freeze();
                    self.finish_chunk(buffer)?;
                    return Ok(Step::Data(data));
                }
                State::DataEnd => {
                    self.finish_chunk(buffer)?;
                    if self.state == State::DataEnd {
                        return Ok(Step::More);
                    }
                }
                State::Trailers { searched, looked } => return self.trailers(buffer, searched, looked),
                State::Done => return Ok(Step::End),
            }
        }
    }

    /// Consumes the line end after a chunk, and the last chunk if it is already in the buffer: with its last bytes,
    /// a complete body must be known to be complete.
    fn finish_chunk(&mut self, buffer: &mut BytesMut) -> Result<(), Invalid> {
        if self.state != State::DataEnd {
            return Ok(());
        }
        match buffer.as_ref() {
            [b'\r', b'\n', ..] => {
                buffer.advance(2);
                self.state = State::Size;
            }
            [] | [b'\r'] => return Ok(()),
            _ => return Err(Invalid::Chunk),
        }
        if buffer.as_ref() == LAST || buffer.starts_with(LAST) {
            buffer.advance(LAST.len());
            self.state = State::Done;
        }
        Ok(())
    }

    /// Parses the size at the start of a line. Returns the size and the length of the line.
    fn size(&mut self, line: &[u8]) -> Result<Option<(u64, usize)>, Invalid> {
        let mut size = 0u64;
        let mut at = 0;
        loop {
            let Some(byte) = line.get(at) else { return Ok(None) };
            let Some(digit) = (*byte as char).to_digit(16) else { break };
            // Leading zeros carry no meaning; without a limit a peer could send them forever.
            if at >= MOST_DIGITS {
                return Err(Invalid::Chunk);
            }
            size = size.checked_mul(16).ok_or(Invalid::Chunk)? | u64::from(digit);
            at += 1;
        }
        if at == 0 {
            return Err(Invalid::Chunk);
        }
        let ending = &line[at..];
        if ending[0] != b'\r' && ending[0] != b';' {
            return Err(Invalid::Chunk);
        }
        let looked = std::mem::take(&mut self.looked);
        let rest = ending.get(looked..).unwrap_or_default();
        let text = looked + rest.iter().take_while(|b| **b == b'\t' || !b.is_ascii_control()).count();
        if self.extensions + text > MOST_EXTENSIONS {
            return Err(Invalid::Extensions);
        }
        match &ending[text..] {
            [b'\r', b'\n', ..] => {
                self.extensions += text;
                Ok(Some((size, at + text + 2)))
            }
            [] | [b'\r'] => {
                self.looked = text;
                Ok(None)
            }
            _ => Err(Invalid::Chunk),
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut, searched: usize, looked: usize) -> Result<Step, Invalid> {
        match buffer.as_ref() {
            [b'\r', b'\n', ..] => {
                buffer.advance(2);
                self.state = State::Done;
                return Ok(Step::End);
            }
            [] | [b'\r'] => return Ok(Step::More),
            _ => {}
        }
        if let Some(end) = head::end(buffer, searched) {
            let trailers = head::trailers(&buffer.split_to(end).freeze(), self.limits)?;
            self.state = State::Done;
            return Ok(if trailers.is_empty() { Step::End } else { Step::Trailers(trailers) });
        }
        let length = buffer.len();
        let again = length > self.limits.bytes || head::is_news(buffer, looked);
        if again {
            head::possible_trailers(buffer, self.limits)?;
        }
        self.state = State::Trailers { searched: length, looked: if again { length } else { looked } };
        Ok(Step::More)
    }
}

/// The last chunk without trailers.
const LAST: &[u8] = b"0\r\n\r\n";
/// The most hexadecimal digits in a chunk size.
const MOST_DIGITS: usize = 16;
/// The most bytes of extensions in one body.
const MOST_EXTENSIONS: usize = 16 * 1024;

#[cfg(test)]
mod tests;
