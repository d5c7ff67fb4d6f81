//! The bytes of an HTTP/2 connection as its monitor reads them: the frame headers, and whether a frame is incomplete,
//! must not depend on how the bytes are split.

use proxy::io::frames::{FrameHead, FrameReader};

/// See the module. The first byte chooses whose bytes they are.
pub fn run(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let client = first % 2 == 0;
    let whole = heads(bytes, bytes.len().max(1), client);
    for size in [1, 2, 9, 23] {
        assert_eq!(heads(bytes, size, client), whole, "in pieces of {size}");
    }
    let (heads, _) = &whole;
    let carried: usize = heads.iter().map(|head| 9 + head.length as usize).sum();
    let last = heads.last().map_or(0, |head| head.length as usize);
    assert!(carried - last <= bytes.len(), "only the payload of the last frame may be missing");
}

fn heads(bytes: &[u8], size: usize, client: bool) -> (Vec<FrameHead>, bool) {
    let mut reader = if client { FrameReader::of_client() } else { FrameReader::default() };
    let mut found = vec![];
    for piece in bytes.chunks(size) {
        reader.read(piece, |head| found.push(head));
    }
    let unfinished = reader.is_unfinished();
    (found, unfinished)
}
