//! Pure. gRPC-Web, for clients such as browsers that cannot speak gRPC. Converts their requests to gRPC, and moves
//! the trailers of gRPC responses into a last frame of the body. Both bodies may be base64.
//!
//! Wire format: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>, written as Envoy does.

use super::step::{Event, FilterState, RequestHeaders, RequestView, ResponseStep, ResponseView, Stat, Step};
use crate::flow::flags::Flags;
use crate::flow::grpc;
use crate::flow::head::is_grpc_type;
use crate::flow::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// A gRPC-Web request that was converted to gRPC.
struct Call {
    text_request: bool,
    text_response: bool,
    /// Service and method, for counters.
    name: Option<(Box<str>, Box<str>)>,
    cluster: Box<str>,
}

/// Converts the head of a gRPC-Web request to gRPC.
pub fn request(request: &RequestView<'_>, headers: &mut RequestHeaders<'_>, state: &mut FilterState) -> Step {
    let text = headers.get(CONTENT_TYPE).and_then(is_text);
    let Some(text_request) = text else { return Step::Next };
    // The length is that of the client's body, not of the converted one.
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity,deflate,gzip"));
    let path = request.target.split(['?', '#']).next().unwrap_or_default();
    let name = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let name = name.filter(|(service, method)| !service.is_empty() && !method.contains('/'));
    state.put(Call {
        text_request,
        text_response: headers.get(ACCEPT).and_then(is_text) == Some(true),
        name: name.map(|(service, method)| (service.into(), method.into())),
        cluster: request.cluster.into(),
    });
    Step::Next
}

/// Converts the head of a response to gRPC-Web. A response that is not gRPC becomes a gRPC error whose message is the
/// response's body.
pub fn response(event: &Event, response: &mut ResponseView<'_>, state: &FilterState) -> ResponseStep {
    let Some(call) = state.get::<Call>() else { return ResponseStep::Next };
    if let Event::Body(body) = event {
        let message = HeaderValue::from_str(&grpc::percent_encoded(body)).ok();
        response.headers.extend(message.map(|message| (grpc::MESSAGE, message)));
        let status = grpc::status_of(response.status.as_u16());
        response.headers.insert(grpc::STATUS, HeaderValue::from(u16::from(status)));
        response.headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        return ResponseStep::Next;
    }
    call.count(response.headers, response.count);
    let is_grpc = is_grpc_response(response);
    response.headers.remove(CONTENT_LENGTH);
    let kind =
        if call.text_response { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if is_grpc || response.ends { ResponseStep::Next } else { ResponseStep::ReadBody(LONGEST_MESSAGE) }
}

/// The conversion for the request's body.
pub fn request_body(state: &FilterState) -> Option<FromText> {
    state.get::<Call>().filter(|call| call.text_request).map(|_| FromText::default())
}

/// The conversion for the response's body.
pub fn response_body(state: &FilterState) -> Option<ToWeb> {
    state.get::<Call>().map(|call| ToWeb { text: call.text_response.then(Base64Frames::default) })
}

/// Counts the status of a call from its trailers.
pub fn trailers(trailers: &HeaderMap, count: &dyn Fn(Stat<'_>), state: &FilterState) {
    if let Some(call) = state.get::<Call>() {
        call.count(trailers, count);
    }
}

impl Call {
    fn count(&self, headers: &HeaderMap, count: &dyn Fn(Stat<'_>)) {
        let (Some((service, method)), Some(status)) = (&self.name, headers.get(grpc::STATUS)) else { return };
        let Ok(status) = status.to_str() else { return };
        let outcome = if status == "0" { "success" } else { "failure" };
        for stat in [status, outcome, "total"] {
            count(Stat::Cluster(&self.cluster, &format!("grpc-web.{service}.{method}.{stat}")));
        }
    }
}

/// Whether a response is gRPC, or already gRPC-Web.
fn is_grpc_response(response: &ResponseView<'_>) -> bool {
    if response.ends {
        return response.headers.contains_key(grpc::STATUS);
    }
    let Some(kind) = response.headers.get(CONTENT_TYPE) else { return false };
    let plain = kind.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    let web = [&b"application/grpc-web"[..], b"application/grpc-web+proto"];
    let is_web = web.iter().any(|known| known.eq_ignore_ascii_case(plain));
    *response.status == StatusCode::OK && (is_grpc_type(kind) || is_web)
}

/// Whether a gRPC-Web content type is base64 or binary; `None`: it is another content type.
fn is_text(kind: &HeaderValue) -> Option<bool> {
    match kind.as_bytes() {
        b"application/grpc-web" | b"application/grpc-web+proto" => Some(false),
        b"application/grpc-web-text" | b"application/grpc-web-text+proto" => Some(true),
        _ => None,
    }
}

/// Decodes base64 that arrives in pieces, each of which may end in padding.
#[derive(Debug, Default)]
pub struct FromText {
    /// Less than four characters that remain from the last piece.
    rest: BytesMut,
}

impl FromText {
    /// Decodes the next data.
    pub fn data(&mut self, data: &[u8]) -> Result<Bytes, Refusal> {
        self.rest.extend_from_slice(data);
        let whole = self.rest.len() / 4 * 4;
        let mut text = &self.rest.split_to(whole)[..];
        let mut out = Vec::with_capacity(whole / 4 * 3);
        while !text.is_empty() {
            // Padding ends a separately encoded piece.
            let end = text.iter().position(|b| *b == b'=').map_or(text.len(), |at| at / 4 * 4 + 4);
            let (piece, rest) = text.split_at(end);
            STANDARD.decode_vec(piece, &mut out).map_err(|_| not_base64("grpc_base_64_decode_failed"))?;
            text = rest;
        }
        Ok(out.into())
    }

    /// Ends the body. Refuses it if characters remain.
    pub fn end(&mut self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(not_base64("grpc_base_64_decode_failed_bad_size")) }
    }
}

fn not_base64(details: &'static str) -> Refusal {
    Refusal::new(400, "Bad gRPC-web request, invalid base64 data.", Flags::NONE, details)
}

/// Converts a gRPC response body to gRPC-Web.
#[derive(Debug)]
pub struct ToWeb {
    text: Option<Base64Frames>,
}

impl ToWeb {
    /// Converts the next data.
    pub fn data(&mut self, data: Bytes) -> Bytes {
        match &mut self.text {
            Some(text) => text.write(&data),
            None => data,
        }
    }

    /// The last frame, which holds the trailers.
    pub fn end(&mut self, trailers: Option<&HeaderMap>) -> Bytes {
        let mut out = BytesMut::new();
        if let Some(text) = &mut self.text {
            text.flush(&mut out);
        }
        let Some(trailers) = trailers else { return out.freeze() };
        let mut lines = vec![];
        for (name, value) in trailers {
            for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        let mut frame = vec![TRAILERS];
        frame.put_u32(lines.len() as u32);
        frame.extend_from_slice(&lines);
        match self.text {
            Some(_) => out.extend_from_slice(STANDARD.encode(frame).as_bytes()),
            None => out.extend_from_slice(&frame),
        }
        out.freeze()
    }
}

/// Encodes each gRPC frame separately in base64, without buffering a whole frame.
#[derive(Debug, Default)]
struct Base64Frames {
    /// Bytes of the frame that are not encoded yet: fewer than three, and the header while it is incomplete.
    pending: Vec<u8>,
    header: [u8; 5],
    /// Bytes of the header received so far.
    seen: usize,
    /// Bytes of the frame that have not arrived.
    left: usize,
}

impl Base64Frames {
    fn write(&mut self, mut data: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity((data.len() + self.pending.len()) / 3 * 4 + 8);
        while !data.is_empty() {
            let step = if self.left > 0 { self.left } else { 5 - self.seen }.min(data.len());
            let (part, rest) = data.split_at(step);
            self.pending.extend_from_slice(part);
            data = rest;
            if self.left > 0 {
                self.left -= step;
            } else {
                self.header[self.seen..self.seen + step].copy_from_slice(part);
                self.seen += step;
                if self.seen < 5 {
                    continue;
                }
                let [_, a, b, c, d] = self.header;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.seen = 0;
            }
            if self.left == 0 {
                self.flush(&mut out);
            } else {
                let whole = self.pending.len() / 3 * 3;
                out.extend_from_slice(STANDARD.encode(&self.pending[..whole]).as_bytes());
                self.pending.drain(..whole);
            }
        }
        out.freeze()
    }

    fn flush(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(STANDARD.encode(&self.pending).as_bytes());
        self.pending.clear();
    }
}

/// Flag of a frame that holds trailers.
const TRAILERS: u8 = 0b1000_0000;
/// The most bytes of a non-gRPC response body that become the error message.
const LONGEST_MESSAGE: usize = 16_384;
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(flag: u8, content: &[u8]) -> Vec<u8> {
        [&[flag][..], &(content.len() as u32).to_be_bytes(), content].concat()
    }

    fn decoded(pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut reader = FromText::default();
        let mut all = vec![];
        for piece in pieces {
            all.extend(reader.data(piece).map_err(|refusal| refusal.details.into_owned())?);
        }
        reader.end().map_err(|refusal| refusal.details.into_owned())?;
        Ok(all)
    }

    #[test]
    fn base64_may_be_padded_after_every_piece() {
        for (pieces, expected) in [
            (&[&b"aGVsbG8="[..]][..], Ok(&b"hello"[..])),
            (&[b"aGVs", b"bG8="], Ok(b"hello")),
            (&[b"aGVsbG8=aGVsbG8="], Ok(b"hellohello")),
            (&[b"aG", b"VsbG8", b"=aA", b"=="], Ok(b"helloh")),
            (&[], Ok(b"")),
            (&[b"aGVsb"], Err("grpc_base_64_decode_failed_bad_size")),
            (&[b"aGV!"], Err("grpc_base_64_decode_failed")),
            (&[b"a==="], Err("grpc_base_64_decode_failed")),
        ] {
            let expected = expected.map(<[u8]>::to_vec).map_err(str::to_owned);
            assert_eq!(decoded(pieces), expected, "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn each_frame_is_encoded_separately_however_it_arrives(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4),
            size in 1usize..12,
        ) {
            let frames: Vec<Vec<u8>> = contents.iter().map(|content| frame(0, content)).collect();
            let mut writer = ToWeb { text: Some(Base64Frames::default()) };
            let whole = frames.concat();
            let mut text: Vec<u8> = whole.chunks(size).flat_map(|part| writer.data(Bytes::copy_from_slice(part))).collect();
            let mut trailers = HeaderMap::new();
            trailers.insert(grpc::STATUS, HeaderValue::from_static("0"));
            text.extend(writer.end(Some(&trailers)));
            let last = frame(0x80, b"grpc-status:0\r\n");
            let expected: String = frames.iter().chain([&last]).map(|frame| STANDARD.encode(frame)).collect();
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), &expected);
            let read = decoded(&[expected.as_bytes()]).unwrap();
            prop_assert_eq!(read, [whole, last].concat());
        }
    }
}
