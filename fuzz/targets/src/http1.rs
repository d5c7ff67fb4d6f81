//! HTTP/1 messages: heads and chunked bodies, complete and in pieces. An accepted message has only one meaning: none
//! of its bytes ends a line, head or body for another parser, and its encoding parses to the same message.

use crate::words;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use proxy::http1::chunked::{Decoder, Step};
use proxy::http1::framing::{self, Length};
use proxy::http1::head::{self, Limits};
use proxy::http1::{Invalid, encode};

/// See the module. The first byte chooses: a request, a response, a chunked body, trailers.
pub fn run(data: &[u8]) {
    let Some((choice, rest)) = words::choice(data, 4) else { return };
    match choice {
        0 => request(rest),
        1 => response(rest),
        2 => chunks(rest),
        _ => trailers(rest),
    }
}

fn request(bytes: &[u8]) {
    let bytes = &bytes[head::empty_lines(bytes)..];
    let _ = head::possible_request(bytes, LIMITS);
    let Some(end) = head::end(bytes, 0) else { return };
    let whole = Bytes::copy_from_slice(&bytes[..end]);
    let Ok(parts) = head::request(&whole, LIMITS) else { return };
    for piece in (0..end).step_by(1 + end / 64) {
        let possible = head::possible_request(&whole[..piece], LIMITS);
        assert_eq!(possible, Ok(()), "the first {piece} bytes of an accepted head");
    }
    unambiguous(&whole, &parts.headers);
    assert!(parts.headers.get_all(HOST).iter().count() <= 1);
    let Ok(length) = framing::request(&parts.method, parts.version, &parts.headers) else { return };
    framed(&parts.headers, length);

    let mut out = BytesMut::new();
    let body = (length != Length::Exact(0)).then_some(length);
    encode::request(&mut out, &parts.method, &parts.uri, &parts.headers, body);
    if parts.method == Method::CONNECT || parts.uri == "*" {
        return;
    }
    let again = head::request(&out.freeze(), Limits { bytes: 2 * LIMITS.bytes, ..LIMITS });
    let again = again.unwrap_or_else(|error| panic!("{error}: our own writing of {whole:?}"));
    assert_eq!((&again.method, &again.uri), (&parts.method, &parts.uri));
    assert_eq!(unframed(&again.headers), unframed(&parts.headers));
    let said = framing::request(&again.method, again.version, &again.headers);
    assert_eq!(said, Ok(length), "the next hop reads another length of {whole:?}");
}

fn response(bytes: &[u8]) {
    let _ = head::possible_response(bytes, LIMITS);
    let Some(end) = head::end(bytes, 0) else { return };
    let whole = Bytes::copy_from_slice(&bytes[..end]);
    let Ok(parts) = head::response(&whole, LIMITS) else { return };
    unambiguous(&whole, &parts.headers);
    for method in [Method::GET, Method::HEAD] {
        match framing::response(&method, parts.version, parts.status, &parts.headers) {
            Ok(Length::UntilClose) => assert!(!parts.headers.contains_key(CONTENT_LENGTH)),
            Ok(length) if framing::has_body(&method, parts.status) => framed(&parts.headers, length),
            _ => {}
        }
    }
}

/// Lines end with CR LF only, and there are as many headers as lines: none was folded, split or joined.
fn unambiguous(head: &[u8], headers: &HeaderMap) {
    let text = head.strip_suffix(b"\r\n\r\n").expect("a head ends in an empty line");
    let mut lines = 0;
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) {
        assert_eq!(rest.get(at..at + 2), Some(&b"\r\n"[..]), "a line ends in half of CR LF");
        rest = &rest[at + 2..];
        lines += 1;
    }
    assert_eq!(lines, headers.len(), "each line after the first is a header");
    for (name, value) in headers {
        assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{name}: {value:?}");
    }
}

/// Only one header determines the length of the body.
fn framed(headers: &HeaderMap, length: Length) {
    let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    match length {
        Length::Exact(number) => {
            assert!(codings.is_empty() && lengths.len() <= 1);
            let said = lengths.first().map_or("0", |value| value.to_str().expect("digits"));
            assert!(
                said.bytes().all(|b| b.is_ascii_digit()) && said.parse() == Ok(number),
                "{said} is not {number}"
            );
        }
        Length::Chunked => {
            assert!(lengths.is_empty() && codings.len() == 1);
            assert!(codings[0].as_bytes().eq_ignore_ascii_case(b"chunked"));
        }
        Length::UntilClose => panic!("only responses end with the connection"),
    }
}

fn unframed(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    headers
}

/// A body is the same in pieces of any size, and the remaining bytes belong to the next message. In pieces, an error
/// may be detected later, but it is never accepted.
fn chunks(bytes: &[u8]) {
    let whole = decoded(bytes, bytes.len().max(1)).ok().flatten();
    for size in [1, 2, 7, 61] {
        assert_eq!(decoded(bytes, size).ok().flatten(), whole, "in pieces of {size}");
    }
    let Some(Message { body, left, .. }) = &whole else { return };
    assert!(bytes.len() - left >= body.len() + 5, "the coding costs something");
    let mut out = BytesMut::new();
    for part in body.chunks(100) {
        encode::chunk(&mut out, part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    encode::last_chunk(&mut out, None);
    let again = decoded(&out, 64).expect("our own writing can be read").expect("it is whole");
    assert_eq!(again.body, *body);
}

#[derive(Debug, PartialEq)]
struct Message {
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// The remaining bytes.
    left: usize,
}

/// `None`: the body is incomplete.
fn decoded(bytes: &[u8], piece: usize) -> Result<Option<Message>, Invalid> {
    let mut decoder = Decoder::new(LIMITS);
    let (mut buffer, mut body, mut trailers) = (BytesMut::new(), vec![], None);
    let mut pieces = bytes.chunks(piece);
    let mut fed = 0;
    loop {
        match decoder.step(&mut buffer)? {
            Step::Data(data) => body.extend_from_slice(&data),
            Step::Trailers(found) => trailers = Some(found),
            Step::End => break,
            Step::More => {
                let Some(next) = pieces.next() else { return Ok(None) };
                fed += next.len();
                buffer.extend_from_slice(next);
            }
        }
        if decoder.is_done() {
            break;
        }
    }
    Ok(Some(Message { body, trailers, left: bytes.len() - fed + buffer.len() }))
}

fn trailers(bytes: &[u8]) {
    let _ = head::possible_trailers(bytes, LIMITS);
    let Some(end) = head::end(bytes, 0) else { return };
    let Ok(found) = head::trailers(&Bytes::copy_from_slice(&bytes[..end]), LIMITS) else { return };
    for name in found.keys() {
        assert!(head::is_trailer(name), "{name} in trailers would be believed by who merges them");
        assert!(!matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING | HOST));
    }
}

const LIMITS: Limits = Limits { bytes: 4096, count: 24 };
