//! Pure. Holds a request until its body has arrived completely, for servers that must not be kept busy by slow clients
//! or that need to know the length.

use super::step::{Asked, Event, Step};
use api::model::filter::buffer::Buffer;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderValue};

/// Requests the body, and states its length once it is there.
pub fn request(buffer: Buffer, event: &Event, asked: &Asked<'_>, headers: &mut HeaderMap) -> Step {
    match event {
        Event::Held(body) => {
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(body.len()));
            Step::Next
        }
        Event::Head if !asked.ends => Step::Hold(buffer.max_request_bytes as usize),
        Event::Head | Event::Waited => Step::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::step::tests::asked;
    use bytes::Bytes;

    #[test]
    fn a_body_is_held_and_its_length_stated() {
        let held = |text: &'static str| Event::Held(Bytes::from_static(text.as_bytes()));
        for (event, ends, given, expected, length) in [
            (Event::Head, false, None, Step::Hold(9), None),
            (Event::Head, true, None, Step::Next, None),
            (held("abc"), false, None, Step::Next, Some("3")),
            (held(""), false, None, Step::Next, Some("0")),
            (held("abc"), false, Some("3"), Step::Next, Some("3")),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|given| (CONTENT_LENGTH, HeaderValue::from_static(given))));
            let buffer = Buffer { max_request_bytes: 9 };
            let step = asked(|asked| request(buffer, &event, &Asked { ends, ..asked }, &mut headers));
            assert_eq!(step, expected, "{event:?}");
            let found = headers.get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
            assert_eq!(found, length, "{event:?}");
        }
    }
}
