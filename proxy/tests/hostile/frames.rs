//! HTTP/2 written by hand: frames as bytes, valid or not, so that a test can send what no library would.

use super::process::connect;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Encodes a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes a header in HPACK without its tables.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        integer(&mut out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// Encodes a header that is added to HPACK's dynamic table.
pub(crate) fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut out = literal(name, value);
    out[0] = 0x40;
    out
}

/// Appends an HPACK integer with a prefix of seven bits.
fn integer(out: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return out.push(value as u8);
    }
    out.push(127);
    value -= 127;
    while value >= 128 {
        out.push((value % 128) as u8 | 128);
        value /= 128;
    }
    out.push(value as u8);
}

/// The pseudo headers of a request, to which more headers may be added.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    let pairs = [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)];
    pairs.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A complete request without a body.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path))
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, size: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &size.to_be_bytes())
}

/// A SETTINGS frame with one setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// One end of an HTTP/2 connection.
pub(crate) struct Wire(pub(crate) TcpStream);

impl Wire {
    /// Connects as a client, and sends the preface and settings.
    pub(crate) fn client(address: SocketAddr, settings: &[u8]) -> Self {
        let mut wire = Self(connect(address));
        wire.send(&[PREFACE, settings].concat());
        wire
    }

    /// Accepts as a server: reads the preface and sends settings.
    pub(crate) fn server(mut stream: TcpStream) -> Option<Self> {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).ok()?;
        assert_eq!(preface, PREFACE);
        let mut wire = Self(stream);
        wire.try_send(&frame(SETTINGS, 0, 0, &[])).then_some(wire)
    }

    /// Sends bytes; fails the test if the peer does not accept them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends bytes; returns `false` if the peer has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Sends bytes and waits until the peer has read them; returns `false` if it has closed the connection.
    pub(crate) fn took(&mut self, bytes: &[u8]) -> bool {
        self.try_send(&[bytes, &frame(PING, 0, 0, b"are read")].concat())
            && self.find(|f| f.kind == PING && f.flags & ACK != 0).is_some()
    }

    /// Reads the next frame; `None`: the connection ended.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        if let Err(error) = self.0.read_exact(&mut header) {
            assert!(error.kind() != std::io::ErrorKind::WouldBlock, "the other end says nothing more");
            return None;
        }
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads the next matching frame and skips others; settings and pings are acknowledged.
    pub(crate) fn find(&mut self, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let found = self.read()?;
            if fits(&found) {
                return Some(found);
            }
            if matches!(found.kind, SETTINGS | PING) && found.flags & ACK == 0 {
                let payload = if found.kind == PING { &found.payload[..] } else { &[] };
                self.try_send(&frame(found.kind, ACK, 0, payload));
            }
        }
    }

    /// The status of the response on a stream, read from the first bytes of its header block; 0: the stream was
    /// reset.
    pub(crate) fn status(&mut self, stream: u32) -> Option<u16> {
        let found = self.find(|f| f.stream == stream && matches!(f.kind, HEADERS | RST_STREAM))?;
        Some(if found.kind == RST_STREAM { 0 } else { status(&found.payload) })
    }

    /// The code of the GOAWAY before the connection ends; `None`: it ends without one.
    pub(crate) fn goodbye(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(found) = self.read() {
            if found.kind == GOAWAY {
                code = Some(found.code());
            }
        }
        code
    }
}

/// The status at the start of a header block: an index of the static table, or a literal of three digits.
fn status(block: &[u8]) -> u16 {
    // A dynamic table size update may come first.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => digits(block),
    }
}

/// Decodes three digits, plain or in HPACK's Huffman code, in which the digits 0 to 2 have five bits and the others
/// six.
fn digits(block: &[u8]) -> u16 {
    let length = usize::from(block[1] & 0x7f);
    let value = &block[2..2 + length];
    if block[1] & 0x80 == 0 {
        return std::str::from_utf8(value).unwrap().parse().unwrap();
    }
    let bits = value.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (32 - 8 * length);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = bits << at >> 27;
        let (digit, width) = if five < 3 { (five, 5) } else { ((bits << at >> 26) - 0x19 + 3, 6) };
        number = number * 10 + digit;
        at += width;
    }
    number as u16
}
