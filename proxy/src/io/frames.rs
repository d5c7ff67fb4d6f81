//! Pure. Finds the heads of HTTP/2 frames in a byte stream that arrives in arbitrary pieces. Payloads are skipped.

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Length of the payload in bytes.
    pub length: u32,
    /// The frame type.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// The stream identifier; 0: the connection itself.
    pub stream: u32,
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// The END_STREAM flag: the last frame of a stream.
pub(super) const END_STREAM: u8 = 1;
/// The END_HEADERS flag: the last frame of a block of headers.
const END_HEADERS: u8 = 4;

/// Tracks the position within a byte stream of frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    head: [u8; HEAD],
    seen: usize,
    skip: usize,
    /// The payload being skipped belongs to a body, which has time limits of its own.
    of_body: bool,
    /// A block of headers continues in the next frame.
    goes_on: bool,
}

impl FrameReader {
    /// Creates a reader for a client's bytes, which begin with the connection preface.
    pub fn of_client() -> Self {
        Self { skip: PREFACE, ..Self::default() }
    }

    /// Whether a frame other than a body's, or a block of headers, is incomplete. Until its rest arrives, no stream
    /// of the connection can make progress.
    pub fn is_unfinished(&self) -> bool {
        self.seen > 0 || self.goes_on || (self.skip > 0 && !self.of_body)
    }

    /// Reads further bytes and calls `see` for each complete frame head.
    pub fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(FrameHead)) {
        loop {
            let step = self.skip.min(bytes.len());
            self.skip -= step;
            bytes = &bytes[step..];
            if bytes.is_empty() {
                return;
            }
            let step = (HEAD - self.seen).min(bytes.len());
            self.head[self.seen..self.seen + step].copy_from_slice(&bytes[..step]);
            self.seen += step;
            bytes = &bytes[step..];
            if self.seen == HEAD {
                let head = FrameHead::of(self.head);
                (self.seen, self.skip) = (0, head.length as usize);
                self.of_body = head.kind == DATA;
                let of_headers = matches!(head.kind, HEADERS | CONTINUATION);
                self.goes_on = of_headers && head.flags & END_HEADERS == 0;
                see(head);
            }
        }
    }
}

impl FrameHead {
    fn of([a, b, c, kind, flags, stream @ ..]: [u8; HEAD]) -> Self {
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        Self { length: u32::from_be_bytes([0, a, b, c]), kind, flags, stream }
    }
}

const HEAD: usize = 9;
/// Length of the client's connection preface (RFC 9113, 3.4).
const PREFACE: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_the_bytes_are_cut() {
        let frame = |kind: u8, length: u8| {
            [&[0, 0, length, kind, 5, 0x80, 0, 0, 7][..], &vec![9; length.into()]].concat()
        };
        let bytes = [vec![b'P'; PREFACE], frame(4, 0), frame(1, 30), frame(0, 1)].concat();
        for size in 1..bytes.len() {
            let mut found = vec![];
            let mut reader = FrameReader::of_client();
            bytes
                .chunks(size)
                .for_each(|part| reader.read(part, |head| found.push((head.kind, head.length))));
            assert_eq!(found, [(4, 0), (1, 30), (0, 1)], "pieces of {size}");
        }
    }

    #[test]
    fn an_incomplete_frame_or_header_block_is_reported_as_unfinished() {
        let frame = |kind: u8, length: u8, flags: u8| {
            [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![9; length.into()]].concat()
        };
        let headers = |flags| frame(HEADERS, 3, flags);
        let table = [
            (vec![], false),
            (headers(END_HEADERS), false),
            (headers(END_HEADERS)[..11].to_vec(), true),
            (headers(END_HEADERS)[..4].to_vec(), true),
            (headers(0), true),
            ([headers(0), frame(CONTINUATION, 1, 0)].concat(), true),
            ([headers(0), frame(CONTINUATION, 1, END_HEADERS)].concat(), false),
            (frame(SETTINGS, 6, 0)[..12].to_vec(), true),
            (frame(DATA, 6, 0)[..12].to_vec(), false),
            ([frame(DATA, 6, 0), vec![0]].concat(), true),
        ];
        for (bytes, expected) in table {
            let mut reader = FrameReader::default();
            reader.read(&bytes, |_| {});
            assert_eq!(reader.is_unfinished(), expected, "{bytes:?}");
        }
        let mut reader = FrameReader::of_client();
        reader.read(b"PRI * HTTP/2.0", |_| {});
        assert!(reader.is_unfinished());
    }

    #[test]
    fn a_head_is_read_without_its_reserved_bit() {
        let mut found = None;
        FrameReader::default().read(&[1, 2, 3, 8, 4, 0xff, 0, 0, 1], |head| found = Some(head));
        assert_eq!(found, Some(FrameHead { length: 0x01_0203, kind: 8, flags: 4, stream: 0x7f00_0001 }));
    }
}
