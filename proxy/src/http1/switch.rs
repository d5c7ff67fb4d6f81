//! Pure. The protocol that a message switches to (RFC 9110, 7.8). A tunnel is opened only if both ends name the
//! same protocol and no other: from a list, each end and each intermediary could choose differently.

use super::framing::names;
use http::header::{self, HeaderMap};

/// The protocol switch that a message requests or confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch<'a> {
    /// No switch on this connection: `connection` does not name `upgrade`.
    None,
    /// A switch to this protocol.
    To(&'a [u8]),
    /// Several protocols, or one without a name.
    Unclear,
}

impl<'a> Switch<'a> {
    /// Reads the switch from a message's headers.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let mut named = headers.get_all(header::UPGRADE).iter();
        let Some(first) = named.next() else { return Self::None };
        if !names(headers, header::CONNECTION, "upgrade") {
            return Self::None;
        }
        let first = first.as_bytes().trim_ascii();
        if named.next().is_some() || first.is_empty() || !first.iter().copied().all(is_of_a_name) {
            return Self::Unclear;
        }
        Self::To(first)
    }
}

/// Whether a response switches to the protocol that its request named.
pub fn agreed(request: &HeaderMap, response: &HeaderMap) -> bool {
    match (Switch::of(request), Switch::of(response)) {
        (Switch::To(request), Switch::To(named)) => request.eq_ignore_ascii_case(named),
        _ => false,
    }
}

/// Whether a byte may stand in a protocol name: a token, or two tokens around the slash before a version.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");

    #[test]
    fn a_message_switches_to_one_protocol_or_to_none() {
        let to = |name: &'static str| Switch::To(name.as_bytes());
        let table: [(&[(&str, &str)], Switch<'_>); 12] = [
            (&[CONNECTION, ("upgrade", "websocket")], to("websocket")),
            (&[CONNECTION, ("upgrade", " foo/1.2 ")], to("foo/1.2")),
            (&[("connection", "x"), ("connection", "upgrade"), ("upgrade", "a")], to("a")),
            (&[CONNECTION, ("upgrade", "websocket, h2c")], Switch::Unclear),
            (&[CONNECTION, ("upgrade", "websocket,")], Switch::Unclear),
            (&[CONNECTION, ("upgrade", "a b")], Switch::Unclear),
            (&[CONNECTION, ("upgrade", "")], Switch::Unclear),
            (&[CONNECTION, ("upgrade", "websocket"), ("upgrade", "foo")], Switch::Unclear),
            (&[CONNECTION, ("upgrade", "websocket"), ("upgrade", "websocket")], Switch::Unclear),
            (&[CONNECTION], Switch::None),
            (&[("upgrade", "websocket")], Switch::None),
            (&[("connection", "close"), ("upgrade", "a, b")], Switch::None),
        ];
        for (lines, expected) in table {
            assert_eq!(Switch::of(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_response_must_name_exactly_the_requested_protocol() {
        let request = headers(&[CONNECTION, ("upgrade", "websocket")]);
        let table: [(&[(&str, &str)], bool); 7] = [
            (&[CONNECTION, ("upgrade", "WebSocket")], true),
            (&[CONNECTION, ("upgrade", "foo")], false),
            (&[CONNECTION, ("upgrade", "websocket, foo")], false),
            (&[CONNECTION, ("upgrade", "websocket"), ("upgrade", "foo")], false),
            (&[("upgrade", "websocket")], false),
            (&[CONNECTION], false),
            (&[], false),
        ];
        for (lines, expected) in table {
            assert_eq!(agreed(&request, &headers(lines)), expected, "{lines:?}");
            assert!(!agreed(&headers(&[]), &headers(lines)), "the request did not ask for {lines:?}");
        }
    }
}
