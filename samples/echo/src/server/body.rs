//! Reads and builds bodies: counts bytes, cuts them into pieces, adds trailers.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

use crate::control::Controls;

/// Body of a response.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;
/// Why a body ended early.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body, read to its end.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Length.
    pub(super) length: u64,
    /// The first mebibyte of the body, if it is to be kept.
    pub(super) kept: Vec<u8>,
    /// Trailers.
    pub(super) trailers: HeaderMap,
}

/// Reads a body to its end.
pub(super) async fn read<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    keep: bool,
) -> Result<Received, B::Error> {
    let mut received = Received::default();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                received.length += data.len() as u64;
                let room = if keep { MOST_KEPT - received.kept.len() } else { 0 };
                received.kept.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => received.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(received)
}

/// Builds the body: `json`, or what `controls` require in its place. Returns its length too, unless it must not be
/// announced.
pub(super) fn made(json: String, controls: &Controls) -> (ResponseBody, Option<u64>) {
    let json = Bytes::from(json);
    if controls.chunk.is_none() && !controls.trailers && controls.size.is_none() {
        let length = json.len() as u64;
        return (whole(json), Some(length));
    }
    let piece = controls.chunk.unwrap_or(USUAL_PIECE);
    let length = controls.size.unwrap_or(json.len() as u64);
    let source =
        if controls.size.is_some() { Bytes::from(FILLER.repeat(piece.div_ceil(FILLER.len()))) } else { json };
    let filled = controls.size.is_some();
    let pieces = (0..length.div_ceil(piece as u64)).map(move |number| {
        let start = number * piece as u64;
        let size = (length - start).min(piece as u64) as usize;
        let from = if filled { 0 } else { start as usize };
        Ok::<_, BoxError>(Frame::data(source.slice(from..from + size)))
    });
    let trailers = controls.trailers.then(|| Ok(Frame::trailers(trailers(length))));
    let body = StreamBody::new(stream::iter(pieces.chain(trailers)));
    let announced = (controls.chunk.is_none() && !controls.trailers).then_some(length);
    (body.boxed_unsync(), announced)
}

/// A body of these bytes.
pub(super) fn whole(bytes: Bytes) -> ResponseBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn trailers(length: u64) -> HeaderMap {
    [(http::HeaderName::from_static(TRAILER), HeaderValue::from(length))].into_iter().collect()
}

/// Name of the trailer with the length of the body.
pub(super) const TRAILER: &str = "x-echo-body-bytes";
const MOST_KEPT: usize = 1 << 20;
const USUAL_PIECE: usize = 16 << 10;
const FILLER: &[u8] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(json: &str, controls: Controls) -> (Vec<usize>, Vec<u8>, Option<u64>, bool) {
        let (mut body, announced) = made(json.to_owned(), &controls);
        let (mut sizes, mut all, mut ended) = (Vec::new(), Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame.expect("made bodies never fail").into_data() {
                Ok(data) => {
                    sizes.push(data.len());
                    all.extend_from_slice(&data);
                }
                Err(frame) => ended = frame.is_trailers(),
            }
        }
        (sizes, all, announced, ended)
    }

    #[tokio::test]
    async fn bodies_have_the_requested_size_pieces_and_end() {
        let plain = Controls::default();
        assert_eq!(sent("{}", plain.clone()).await, (vec![2], b"{}".to_vec(), Some(2), false));
        let sized = Controls { size: Some(20_000), ..plain.clone() };
        let (sizes, _, announced, _) = sent("{}", sized).await;
        assert_eq!((sizes, announced), (vec![16_384, 3616], Some(20_000)));
        let empty = Controls { size: Some(0), ..plain.clone() };
        assert_eq!(sent("{}", empty).await.2, Some(0));
        let pieces = Controls { chunk: Some(3), ..plain.clone() };
        assert_eq!(sent("{\"a\":1}", pieces).await, (vec![3, 3, 1], b"{\"a\":1}".to_vec(), None, false));
        let ended = Controls { trailers: true, ..plain };
        assert_eq!(sent("{}", ended).await, (vec![2], b"{}".to_vec(), None, true));
    }

    #[tokio::test]
    async fn a_body_is_counted_completely_and_kept_up_to_a_limit() {
        let long = Full::new(Bytes::from(vec![b'x'; MOST_KEPT + 5]));
        let received = read(long, true).await.expect("a full body");
        assert_eq!((received.length, received.kept.len()), (MOST_KEPT as u64 + 5, MOST_KEPT));
    }
}
