//! Pure. Encodes heads and chunks as bytes. The framing headers are written from one value only, so a message is
//! never sent with two lengths.

use super::date;
use super::framing::Length;
use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};

/// The parts of a response head besides its headers.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// The version of the request.
    pub version: Version,
    /// The status code.
    pub status: StatusCode,
    /// How the body is framed; `None`: there is no body, and a `content-length` among the headers describes a body
    /// that is not sent.
    pub length: Option<Length>,
    /// Whether to declare the chunked coding of a body that is not sent (`framing::announces_chunks`).
    pub announces_chunks: bool,
    /// Whether the connection serves another request.
    pub persists: bool,
    /// The value of `date`, if the headers have none.
    pub date: date::Text,
}

/// Writes the head of a response.
pub fn response(out: &mut BytesMut, reply: &Reply, headers: &HeaderMap) {
    out.reserve(STATUS_LINE + size(headers));
    out.put_slice(if reply.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put_slice(reply.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(reply.status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    if reply.status == StatusCode::SWITCHING_PROTOCOLS {
        fields(out, headers, |name| !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING));
        out.put_slice(b"\r\n");
        return;
    }
    let keeps_length = reply.length.is_none() && reply.status != StatusCode::NO_CONTENT;
    fields(out, headers, |name| match *name {
        header::TRANSFER_ENCODING | header::CONNECTION => false,
        header::CONTENT_LENGTH => keeps_length,
        _ => true,
    });
    if let Some(length) = reply.length {
        framed(out, length);
    } else if reply.announces_chunks {
        framed(out, Length::Chunked);
    }
    match (reply.persists, reply.version) {
        (false, _) => out.put_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.put_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
    if !headers.contains_key(header::DATE) {
        out.put_slice(b"date: ");
        out.put_slice(&reply.date);
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

/// Writes the head of a request. `length` is `None` if there is no body and no need to declare that.
pub fn request(out: &mut BytesMut, method: &Method, uri: &Uri, headers: &HeaderMap, length: Option<Length>) {
    out.reserve(STATUS_LINE + uri.path().len() + uri.query().map_or(0, str::len) + size(headers));
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    target(out, uri);
    out.put_slice(b" HTTP/1.1\r\n");
    fields(out, headers, |name| !matches!(*name, header::TRANSFER_ENCODING | header::CONTENT_LENGTH));
    if let Some(length) = length {
        framed(out, length);
    }
    out.put_slice(b"\r\n");
}

/// Writes the size line of a chunk.
pub fn chunk(out: &mut BytesMut, length: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.put_u8(DIGITS[length >> (place * 4) & 15]);
    }
    out.put_slice(b"\r\n");
}

/// Writes the last chunk with the trailers.
pub fn last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(out, trailers, super::head::is_trailer);
    }
    out.put_slice(b"\r\n");
}

fn target(out: &mut BytesMut, uri: &Uri) {
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        out.put_slice(scheme.as_bytes());
        out.put_slice(b"://");
        out.put_slice(authority.as_str().as_bytes());
    }
    match uri.path_and_query() {
        Some(path) => {
            // `http://host?query` has an empty path, which is sent as `/`.
            if !path.as_str().starts_with(['/', '*']) {
                out.put_u8(b'/');
            }
            out.put_slice(path.as_str().as_bytes());
        }
        None => out.put_u8(b'/'),
    }
}

fn framed(out: &mut BytesMut, length: Length) {
    match length {
        Length::Exact(number) => {
            out.put_slice(b"content-length: ");
            decimal(out, number);
            out.put_slice(b"\r\n");
        }
        Length::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Length::UntilClose => {}
    }
}

fn decimal(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

fn fields(out: &mut BytesMut, headers: &HeaderMap, written: impl Fn(&HeaderName) -> bool) {
    for (name, value) in headers {
        if written(name) {
            field(out, name, value);
        }
    }
}

fn field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Room for the first line and the framing, connection and date headers.
const STATUS_LINE: usize = 192;
