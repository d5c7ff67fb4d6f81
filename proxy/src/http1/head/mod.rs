//! Pure. Parses the heads of requests and responses, and trailers (RFC 9112, 2 to 5), into method, target, status
//! and headers. Values are slices of the received bytes. Parsing is stricter than the RFC requires wherever two
//! recipients could read the same bytes differently.

use super::invalid::Invalid;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version, request, response};
use httparse::Header;
use memchr::memmem;
use std::fmt::Write;
use std::mem::MaybeUninit;

/// Limits on the size of a head.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of first line and headers.
    pub bytes: usize,
    /// The most headers.
    pub count: usize,
}

/// Returns where the head at the start of `bytes` ends, if its empty line has arrived. `from`: bytes already searched.
pub fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(END.len() - 1).min(bytes.len());
    memmem::find(&bytes[from..], END).map(|at| from + at + END.len())
}

/// Counts the bytes of empty lines before a request, which a recipient skips (RFC 9112, 2.2).
pub fn empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

/// Whether to check an unfinished head again, of which `looked` bytes were already checked: at each line end, and
/// whenever its length has doubled. This keeps the total work proportional to the number of bytes.
pub fn is_news(bytes: &[u8], looked: usize) -> bool {
    bytes.len() >= looked * 2 || memchr::memchr(b'\n', bytes.get(looked..).unwrap_or_default()).is_some()
}

/// Checks whether an incomplete request head can still become valid.
pub fn possible_request(bytes: &[u8], limits: Limits) -> Result<(), Invalid> {
    starts(bytes)?;
    let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
    let mut head = httparse::Request::new(&mut []);
    let result =
        httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut head, bytes, &mut slots);
    unfinished(result, bytes, limits)
}

/// Checks whether an incomplete response head can still become valid.
pub fn possible_response(bytes: &[u8], limits: Limits) -> Result<(), Invalid> {
    starts(bytes)?;
    let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
    let mut head = httparse::Response::new(&mut []);
    let result =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut slots);
    unfinished(result, bytes, limits)
}

/// Parses a complete request head.
pub fn request(bytes: &Bytes, limits: Limits) -> Result<request::Parts, Invalid> {
    starts(bytes)?;
    check_size(bytes, limits)?;
    with_slots(limits.count, |slots| {
        let mut head = httparse::Request::new(&mut []);
        let config = httparse::ParserConfig::default();
        let result = config.parse_request_with_uninit_headers(&mut head, bytes, slots);
        let length = complete(result, bytes)?;
        let (method, target, version) = (head.method, head.path, head.version);
        let target = target.ok_or(Invalid::Line)?;
        first_line(bytes, place(bytes, target.as_bytes()).end + VERSION)?;
        let mut parts = Request::new(()).into_parts().0;
        parts.version = numbered(version)?;
        parts.method = self::method(method.ok_or(Invalid::Line)?)?;
        parts.uri = self::target(bytes, target, &parts.method)?;
        parts.headers = headers(bytes, head.headers, limits.count)?;
        ends(bytes, length)?;
        host(&parts.headers)?;
        Ok(parts)
    })
}

/// Parses a complete response head.
pub fn response(bytes: &Bytes, limits: Limits) -> Result<response::Parts, Invalid> {
    starts(bytes)?;
    check_size(bytes, limits)?;
    with_slots(limits.count, |slots| {
        let mut head = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let result = config.parse_response_with_uninit_headers(&mut head, bytes, slots);
        let length = complete(result, bytes)?;
        let line = memchr::memchr(b'\n', bytes).ok_or(Invalid::Line)?;
        if line == 0 || bytes[line - 1] != b'\r' || bytes[..line - 1].contains(&b'\r') {
            return Err(Invalid::LineEnd);
        }
        let mut parts = Response::new(()).into_parts().0;
        parts.version = numbered(head.version)?;
        let code = head.code.ok_or(Invalid::Line)?;
        parts.status = StatusCode::from_u16(code).map_err(|_| Invalid::Line)?;
        parts.headers = headers(bytes, head.headers, limits.count)?;
        ends(bytes, length)?;
        Ok(parts)
    })
}

/// Parses trailers with their empty line. Drops fields that would change the meaning of the message (RFC 9110, 6.5.1).
pub fn trailers(bytes: &Bytes, limits: Limits) -> Result<HeaderMap, Invalid> {
    check_size(bytes, limits)?;
    let mut slots = [httparse::EMPTY_HEADER; SLOTS];
    let length = match httparse::parse_headers(bytes, &mut slots) {
        Ok(httparse::Status::Complete((length, _))) if length == bytes.len() => length,
        Ok(_) => return Err(Invalid::LineEnd),
        Err(error) => return Err(sorted(error, bytes)),
    };
    let count = slots.iter().take_while(|slot| !slot.name.is_empty()).count();
    let all = headers(bytes, &slots[..count], limits.count)?;
    ends(bytes, length)?;
    let mut kept = HeaderMap::new();
    for (name, value) in &all {
        if is_trailer(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    Ok(kept)
}

/// Checks whether incomplete trailers can still become valid.
pub fn possible_trailers(bytes: &[u8], limits: Limits) -> Result<(), Invalid> {
    let mut slots = [httparse::EMPTY_HEADER; SLOTS];
    let result = httparse::parse_headers(bytes, &mut slots);
    let result = result.map(|status| match status {
        httparse::Status::Complete((length, _)) => httparse::Status::Complete(length),
        httparse::Status::Partial => httparse::Status::Partial,
    });
    unfinished(result, bytes, limits)
}

/// Whether a field may be sent in trailers. Fields for framing, routing, authentication or the client's identity
/// may not, because a recipient that merges trailers into headers would trust them.
pub fn is_trailer(name: &HeaderName) -> bool {
    let listed = FORBIDDEN_TRAILERS.contains(name);
    let name = name.as_str();
    let prefixed = ["content-", "x-forwarded-", "x-envoy-", "if-", "proxy-", "sec-"];
    !(listed || prefixed.iter().any(|prefix| name.starts_with(prefix)))
}

fn check_size(bytes: &[u8], limits: Limits) -> Result<(), Invalid> {
    if bytes.len() <= limits.bytes { Ok(()) } else { Err(too_large(bytes, limits)) }
}

fn too_large(bytes: &[u8], limits: Limits) -> Invalid {
    let line = &bytes[..limits.bytes.min(bytes.len())];
    if memchr::memchr(b'\n', line).is_some() { Invalid::Size } else { Invalid::TargetSize }
}

/// Calls a function with room for that many headers; the usual number needs no allocation.
fn with_slots<'b, T>(
    count: usize,
    parse: impl FnOnce(&mut [MaybeUninit<Header<'b>>]) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    if count <= SLOTS {
        parse(&mut [const { MaybeUninit::uninit() }; SLOTS])
    } else {
        parse(&mut vec![MaybeUninit::uninit(); count + 1])
    }
}

fn unfinished(result: httparse::Result<usize>, bytes: &[u8], limits: Limits) -> Result<(), Invalid> {
    match result {
        Ok(httparse::Status::Partial) => check_size(bytes, limits),
        // The head is complete only for a parser that accepts a bare LF as a line end.
        Ok(httparse::Status::Complete(_)) => Err(Invalid::LineEnd),
        // The limits may allow more headers than fit on the stack; the number is known only when the head is complete.
        Err(httparse::Error::TooManyHeaders) if limits.count >= SLOTS => check_size(bytes, limits),
        Err(error) => Err(sorted(error, bytes)),
    }
}

fn complete(result: httparse::Result<usize>, bytes: &[u8]) -> Result<usize, Invalid> {
    match result {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => Ok(length),
        Ok(_) => Err(Invalid::LineEnd),
        Err(error) => Err(sorted(error, bytes)),
    }
}

fn sorted(error: httparse::Error, bytes: &[u8]) -> Invalid {
    match error {
        httparse::Error::HeaderName => Invalid::Name,
        httparse::Error::HeaderValue => Invalid::Value,
        httparse::Error::NewLine => Invalid::LineEnd,
        httparse::Error::TooManyHeaders => Invalid::Count,
        httparse::Error::Version if names_version(bytes) => Invalid::Version,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => Invalid::Line,
    }
}

/// Rejects a line end before the first line: httparse skips line ends of all kinds, and empty lines were skipped
/// already.
fn starts(bytes: &[u8]) -> Result<(), Invalid> {
    if matches!(bytes, [b'\r' | b'\n', ..]) { Err(Invalid::LineEnd) } else { Ok(()) }
}

/// Whether the target is followed by an HTTP version that is not supported here.
fn names_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let version = line.split(|byte| *byte == b' ').nth(2).unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// Checks that the first line ends in CR LF.
fn first_line(bytes: &[u8], at: usize) -> Result<(), Invalid> {
    if bytes.get(at..at + 2) == Some(b"\r\n") { Ok(()) } else { Err(Invalid::LineEnd) }
}

/// Checks that the head ends in an empty line of CR LF.
fn ends(bytes: &[u8], length: usize) -> Result<(), Invalid> {
    if bytes[..length].ends_with(b"\r\n") { Ok(()) } else { Err(Invalid::LineEnd) }
}

fn numbered(version: Option<u8>) -> Result<Version, Invalid> {
    match version {
        Some(1) => Ok(Version::HTTP_11),
        Some(0) => Ok(Version::HTTP_10),
        _ => Err(Invalid::Version),
    }
}

fn method(name: &str) -> Result<Method, Invalid> {
    Method::from_bytes(name.as_bytes()).map_err(|_| Invalid::Line)
}

fn target(bytes: &Bytes, target: &str, method: &Method) -> Result<Uri, Invalid> {
    // Clients never send a fragment. A hop that passes it on and a hop that cuts it off would see different paths.
    // Characters beyond ASCII must be percent-encoded, and Envoy refuses them too.
    if target.contains('#') || !target.is_ascii() {
        return Err(Invalid::Target);
    }
    if target.len() > LONGEST_TARGET {
        return Err(Invalid::TargetSize);
    }
    let uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes()));
    let uri = uri.or_else(|_| with_escapes(target)).map_err(|_| Invalid::Target)?;
    let authority_only = uri.scheme().is_none() && uri.authority().is_some();
    let http = uri.scheme().is_none_or(|s| matches!(s.as_str(), "http" | "https"));
    let user = uri.authority().is_some_and(|a| a.as_str().contains('@'));
    let star = target == "*" && method != Method::OPTIONS;
    if authority_only != (method == Method::CONNECT) || !http || user || star {
        return Err(Invalid::Target);
    }
    Ok(uri)
}

/// Escapes characters that a URI does not allow but some clients send (`?query=up{job="a"}`), and parses the result.
fn with_escapes(target: &str) -> Result<Uri, http::uri::InvalidUri> {
    let mut escaped = String::with_capacity(target.len() + 16);
    let mut in_query = false;
    for c in target.chars() {
        in_query |= c == '?';
        // Characters that `Uri` accepts stay unescaped, so that a path is spelt the same whatever query follows it.
        let refused = match c {
            '<' | '>' => true,
            '"' => in_query,
            '`' => !in_query,
            _ => false,
        };
        if refused && target.starts_with('/') {
            let _ = write!(escaped, "%{:02X}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped.parse()
}

fn headers(bytes: &Bytes, parsed: &[Header<'_>], most: usize) -> Result<HeaderMap, Invalid> {
    if parsed.len() > most {
        return Err(Invalid::Count);
    }
    let mut headers = HeaderMap::with_capacity(parsed.len() + ADDED);
    for Header { name, value } in parsed {
        let end = place(bytes, value).end;
        // Blanks after a value belong to its line end. httparse accepts a bare LF as a line end; this check does not.
        let blanks = bytes[end..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if bytes.get(end + blanks) != Some(&b'\r') {
            return Err(Invalid::LineEnd);
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Invalid::Name)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| Invalid::Value)?;
        headers.try_append(name, value).map_err(|_| Invalid::Count)?;
    }
    Ok(headers)
}

/// Whether this is a valid host name with an optional port: no character that another hop could read as a path, a
/// user or a second host.
pub fn is_host(text: &[u8]) -> bool {
    let allowed = |b: &u8| {
        b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b':'
                    | b'['
                    | b']'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b';'
                    | b'='
            )
    };
    text.iter().all(allowed)
}

fn host(headers: &HeaderMap) -> Result<(), Invalid> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return Ok(()) };
    if hosts.next().is_some() {
        return Err(Invalid::Hosts);
    }
    if is_host(host.as_bytes()) { Ok(()) } else { Err(Invalid::Host) }
}

/// The range of `part` within `bytes`, of which it is a slice.
fn place(bytes: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize).min(bytes.len());
    start..(start + part.len()).min(bytes.len())
}

/// The bytes that end a head.
const END: &[u8] = b"\r\n\r\n";
/// Room for the headers that the proxy adds, so that the map need not grow for them.
const ADDED: usize = 4;
/// The length of ` HTTP/1.1`.
const VERSION: usize = 9;
/// The number of headers for which there is room on the stack.
const SLOTS: usize = 128;
/// The longest target in bytes: `http::Uri` stores its offsets in 16 bits.
const LONGEST_TARGET: usize = 65_534;

const FORBIDDEN_TRAILERS: [HeaderName; 25] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::FORWARDED,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("x-request-id"),
];

#[cfg(test)]
mod tests;
