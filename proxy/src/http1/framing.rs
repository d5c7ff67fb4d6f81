//! Pure. Decides where a message's body ends (RFC 9112, 6). A message whose length is ambiguous is refused: request
//! smuggling relies on two hops that disagree about the length.

use super::invalid::Invalid;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};

/// How the length of a body is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// By this number of bytes.
    Exact(u64),
    /// By the chunked coding.
    Chunked,
    /// By the end of the connection; responses only.
    UntilClose,
}

/// Returns the length of a request's body.
pub fn request(method: &Method, version: Version, headers: &HeaderMap) -> Result<Length, Invalid> {
    let length = declared(version, headers)?.unwrap_or(Length::Exact(0));
    // The bytes after a CONNECT belong to the tunnel, so a body there is ambiguous.
    if method == Method::CONNECT && length != Length::Exact(0) {
        return Err(Invalid::CodingNotAllowed);
    }
    Ok(length)
}

/// Returns the length of a response's body as the upstream declares it.
pub fn response(
    method: &Method,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Length, Invalid> {
    let declared = declared(version, headers)?;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // These responses have no body. If one declares a body, the upstream may send it, and it would be read as
        // the next response (RFC 9110, 8.6; RFC 9112, 6.1).
        match declared {
            Some(Length::Chunked) => return Err(Invalid::CodingNotAllowed),
            Some(Length::Exact(1..)) => return Err(Invalid::Length),
            _ => {}
        }
    }
    if !has_body(method, status) {
        return Ok(Length::Exact(0));
    }
    Ok(declared.unwrap_or(Length::UntilClose))
}

/// The framing of an outgoing message: from its headers, or else from the known size of its body.
pub fn outgoing(headers: &HeaderMap, known: Option<u64>) -> Length {
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|value| number(value).ok());
    stated.or(known).map_or(Length::Chunked, Length::Exact)
}

/// Whether a response to this method with this status can have a body.
pub fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// Whether the response to HEAD declares the chunked coding, as the response to GET would: it has no stated length, and
/// its status allows a body. Envoy does the same, whether the response is an upstream's or its own.
pub fn announces_chunks(version: Version, status: StatusCode, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && has_body(&Method::GET, status)
        && !headers.contains_key(header::CONTENT_LENGTH)
}

/// Whether the connection serves another message after this one (RFC 9112, 9.3).
pub fn persists(version: Version, headers: &HeaderMap) -> bool {
    let says = |what: &str| names(headers, header::CONNECTION, what);
    if version == Version::HTTP_11 { !says("close") } else { says("keep-alive") && !says("close") }
}

/// Whether a list header contains a token.
pub fn names(headers: &HeaderMap, list: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(list);
    let mut tokens = values.iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens.any(|known| known.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn declared(version: Version, headers: &HeaderMap) -> Result<Option<Length>, Invalid> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    match (length, coding) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Invalid::LengthAndCoding),
        (Some(_), None) if lengths.next().is_some() => Err(Invalid::Length),
        (Some(length), None) => number(length).map(|n| Some(Length::Exact(n))),
        (None, Some(_)) if version != Version::HTTP_11 => Err(Invalid::CodingNotAllowed),
        (None, Some(coding)) if codings.next().is_none() && is_chunked(coding) => Ok(Some(Length::Chunked)),
        (None, Some(_)) => Err(Invalid::Coding),
    }
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().eq_ignore_ascii_case(b"chunked")
}

/// Parses a length that consists of digits only: no sign, no blank, no list.
fn number(value: &HeaderValue) -> Result<u64, Invalid> {
    let digits = value.as_bytes();
    if digits.is_empty() {
        return Err(Invalid::Length);
    }
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => {
            let next = sum.checked_mul(10).and_then(|sum| sum.checked_add(u64::from(digit - b'0')));
            next.ok_or(Invalid::Length)
        }
        _ => Err(Invalid::Length),
    })
}
