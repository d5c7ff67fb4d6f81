//! Chunked bodies, whole and in pieces.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { bytes: 1024, count: 10 };

/// Decodes bytes that arrive in pieces of this size. Returns the data, the trailers, and the bytes left over.
fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Option<Invalid>> {
    let (mut decoder, mut buffer) = (Decoder::new(LIMITS), BytesMut::new());
    let (mut data, mut trailers) = (vec![], HeaderMap::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            if decoder.is_done() {
                break;
            }
            match decoder.step(&mut buffer).map_err(Some)? {
                Step::Data(part) => data.extend_from_slice(&part),
                Step::Trailers(all) => trailers = all,
                Step::End | Step::More => break,
            }
        }
    }
    if decoder.is_done() { Ok((data, trailers, buffer.to_vec())) } else { Err(None) }
}

#[test]
fn chunks_are_read_however_they_are_cut() {
    for (text, expected, rest) in [
        ("0\r\n\r\n", "", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", ""),
        ("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", ""),
        ("0003\r\nabc\r\n000\r\n\r\n", "abc", ""),
        ("3;a=b;c=\"d e\"\r\nabc\r\n0;z\r\n\r\n", "abc", ""),
        ("3\r\nabc\r\n0\r\nx: y\r\n\r\n", "abc", ""),
        ("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "abc", "GET / HTTP/1.1\r\n\r\n"),
        ("3\r\n\r\n0\r\n0\r\n\r\n", "\r\n0", ""),
    ] {
        for piece in 1..=text.len() {
            let (data, trailers, unread) = read(text.as_bytes(), piece).unwrap();
            assert_eq!(data, expected.as_bytes(), "{text:?} in pieces of {piece}");
            assert_eq!(trailers.contains_key("x"), text.contains("x: y"));
            assert_eq!(unread, rest.as_bytes(), "{text:?} in pieces of {piece}");
        }
    }
}

#[test]
fn malformed_chunks_are_refused_however_they_are_cut() {
    let bomb = format!("1;{}", "x".repeat(MOST_EXTENSIONS));
    let bombs = format!("1;{}\r\na\r\n", "x".repeat(9 * 1024)).repeat(2);
    let zeros = "0".repeat(17);
    for (text, expected) in [
        ("\r\n", Invalid::Chunk),
        ("x\r\n", Invalid::Chunk),
        ("0x3\r\nabc\r\n", Invalid::Chunk),
        ("+3\r\nabc\r\n", Invalid::Chunk),
        ("-3\r\nabc\r\n", Invalid::Chunk),
        (" 3\r\nabc\r\n", Invalid::Chunk),
        ("3 \r\nabc\r\n", Invalid::Chunk),
        ("3 ;a\r\nabc\r\n", Invalid::Chunk),
        ("3\t\r\nabc\r\n", Invalid::Chunk),
        ("3\nabc\n", Invalid::Chunk),
        ("3\rabc\r\n", Invalid::Chunk),
        ("3\r\rabc", Invalid::Chunk),
        ("3;a\nabc\r\n", Invalid::Chunk),
        ("3;a\rb\r\nabc", Invalid::Chunk),
        ("3;\0\r\nabc\r\n", Invalid::Chunk),
        ("3,3\r\nabc\r\n", Invalid::Chunk),
        ("3\r\nabcd\r\n", Invalid::Chunk),
        ("3\r\nabc\n0\r\n\r\n", Invalid::Chunk),
        ("3\r\nabc0\r\n\r\n", Invalid::Chunk),
        ("3\r\nabc\r\r\n", Invalid::Chunk),
        ("10000000000000000\r\n", Invalid::Chunk),
        ("fffffffffffffffff\r\n", Invalid::Chunk),
        (&zeros, Invalid::Chunk),
        ("0\r\nx: y\n\r\n", Invalid::LineEnd),
        ("0\r\nx : y\r\n\r\n", Invalid::Name),
        ("0\r\nx: y\r\n z\r\n\r\n", Invalid::Name),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", Invalid::Name),
        (&bomb, Invalid::Extensions),
        (&bombs, Invalid::Extensions),
    ] {
        for piece in [1, 2, 3, 5, 64, 1000, text.len()] {
            assert_eq!(read(text.as_bytes(), piece), Err(Some(expected)), "{text:?} in pieces of {piece}");
        }
    }
    let many = format!("0\r\n{}", "x".repeat(2000));
    assert!(matches!(read(many.as_bytes(), 2003), Err(Some(Invalid::Size | Invalid::TargetSize))));
}

#[test]
fn the_largest_size_is_taken_and_one_more_is_not() {
    let mut decoder = Decoder::new(LIMITS);
    let mut buffer = BytesMut::from(&b"ffffffffffffffff\r\na"[..]);
    assert_eq!(decoder.step(&mut buffer), Ok(Step::Data(Bytes::from_static(b"a"))));
    assert_eq!(decoder.wanted(), u64::MAX - 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..20) {
        let _ = read(&bytes, piece);
    }

    #[test]
    fn encoding_and_decoding_are_inverse(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6),
        piece in 1usize..400,
    ) {
        let mut wire = BytesMut::new();
        for part in &parts {
            crate::http1::encode::chunk(&mut wire, part.len());
            wire.extend_from_slice(part);
            wire.extend_from_slice(b"\r\n");
        }
        crate::http1::encode::last_chunk(&mut wire, None);
        wire.extend_from_slice(b"next");
        let (data, _, rest) = read(&wire, piece).unwrap();
        prop_assert_eq!(data, parts.concat());
        prop_assert_eq!(rest, b"next");
    }
}
