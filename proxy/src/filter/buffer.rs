//! Pure. Buffers a request until its body is complete, for upstreams that slow clients must not keep busy or that need to
//! know the body's length.

use super::step::{Event, RequestHeaders, RequestView, Step};
use api::model::filter::buffer::Buffer;
use http::header::{CONTENT_LENGTH, HeaderValue};

/// Asks for the body, and sets `content-length` once it is complete.
pub fn request(
    buffer: Buffer,
    event: &Event,
    request: &RequestView<'_>,
    headers: &mut RequestHeaders<'_>,
) -> Step {
    match event {
        Event::Body(body) => {
            if !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            Step::Next
        }
        Event::Head if !request.ends => Step::ReadBody(buffer.max_request_bytes as usize),
        Event::Head | Event::Waited => Step::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::step::tests::with_request;
    use bytes::Bytes;
    use http::HeaderMap;

    #[test]
    fn a_body_is_buffered_and_its_length_is_set() {
        let held = |text: &'static str| Event::Body(Bytes::from_static(text.as_bytes()));
        for (event, ends, given, expected, length) in [
            (Event::Head, false, None, Step::ReadBody(9), None),
            (Event::Head, true, None, Step::Next, None),
            (held("abc"), false, None, Step::Next, Some("3")),
            (held(""), false, None, Step::Next, Some("0")),
            (held("abc"), false, Some("3"), Step::Next, Some("3")),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|given| (CONTENT_LENGTH, HeaderValue::from_static(given))));
            let buffer = Buffer { max_request_bytes: 9 };
            let mut seen = RequestHeaders::new(&mut headers);
            let step = with_request(|view| request(buffer, &event, &RequestView { ends, ..view }, &mut seen));
            assert_eq!(seen.changed(), given.is_none() && length.is_some(), "{event:?}");
            assert_eq!(step, expected, "{event:?}");
            let found = headers.get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
            assert_eq!(found, length, "{event:?}");
        }
    }
}
