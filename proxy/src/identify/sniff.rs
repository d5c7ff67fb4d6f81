//! Pure. Detects the protocol from the first bytes of a connection: a TLS ClientHello (with its SNI and ALPN), HTTP/1,
//! HTTP/2, or other. The bytes are untrusted: every length is checked, and inspection stops at a bound.

use api::model::listener::Transport;

/// What the first bytes show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sniffed {
    /// TLS or plaintext; `None`: not inspected.
    pub transport: Option<Transport>,
    /// SNI, lower-case.
    pub server_name: Option<String>,
    /// ALPN of the ClientHello, or `http/1.0`, `http/1.1`, `h2c`.
    pub protocols: Vec<Vec<u8>>,
}

/// The result of an inspection.
#[derive(Debug, PartialEq, Eq)]
pub enum Inspection {
    /// The result is known.
    Known(Sniffed),
    /// More bytes are needed.
    More,
}

/// Inspects the bytes received so far.
pub fn inspect(bytes: &[u8], tls: bool, http: bool) -> Inspection {
    let mut sniffed = Sniffed::default();
    if tls {
        match client_hello(bytes) {
            Some(Hello::Tls { server_name, protocols }) => {
                let transport = Some(Transport::Tls);
                return Inspection::Known(Sniffed { transport, server_name, protocols });
            }
            None if bytes.len() < MOST => return Inspection::More,
            Some(Hello::Other) | None => sniffed.transport = Some(Transport::Raw),
        }
    }
    if http {
        match http_version(bytes) {
            Guess::Http(version) => sniffed.protocols.push(version.as_bytes().to_vec()),
            Guess::TooFew if bytes.len() < MOST => return Inspection::More,
            Guess::TooFew | Guess::Other => {}
        }
    }
    Inspection::Known(sniffed)
}

/// The least number of bytes that must arrive before another inspection can find more. A ClientHello declares its
/// length, and one that arrives byte by byte must not be parsed from its beginning each time.
pub fn missing(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let (mut head, mut handshake) = ([0; 4], 0);
    while let [22, 3, _, a, b, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        let available = length.min(body.len());
        for (place, byte) in head.iter_mut().skip(handshake).zip(&body[..available]) {
            *place = *byte;
        }
        handshake += available;
        if length == 0 || available < length {
            break;
        }
        rest = &body[length..];
    }
    let [kind, a, b, c] = head;
    let wanted = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
    if kind == 1 && handshake >= 4 { wanted.saturating_sub(handshake).clamp(1, MOST) } else { 1 }
}

/// Whether the bytes begin with the HTTP/2 preface; `None`: too few bytes to tell.
pub fn http2(bytes: &[u8]) -> Option<bool> {
    let length = bytes.len().min(PREFACE.len());
    if bytes[..length] != PREFACE[..length] {
        return Some(false);
    }
    (length == PREFACE.len()).then_some(true)
}

enum Guess {
    Http(&'static str),
    Other,
    TooFew,
}

fn http_version(bytes: &[u8]) -> Guess {
    match http2(bytes) {
        Some(true) => return Guess::Http("h2c"),
        None => return Guess::TooFew,
        Some(false) => {}
    }
    let end = bytes.iter().position(|b| *b == b'\n');
    let line = &bytes[..end.unwrap_or(bytes.len())];
    let method = line.iter().position(|b| *b == b' ');
    let token = &line[..method.unwrap_or(line.len())];
    let is_method = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    if token.len() > MAX_METHOD || !token.iter().all(is_method) || (method == Some(0)) {
        return Guess::Other;
    }
    if end.is_none() {
        // A request line may be long. Once it has a method and part of a target, it can only be a request.
        let plausible = method.is_some() && line.len() > MAX_LINE;
        return if plausible { Guess::Http("http/1.1") } else { Guess::TooFew };
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line {
        _ if line.ends_with(b" HTTP/1.1") => Guess::Http("http/1.1"),
        _ if line.ends_with(b" HTTP/1.0") => Guess::Http("http/1.0"),
        _ => Guess::Other,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Hello {
    Tls { server_name: Option<String>, protocols: Vec<Vec<u8>> },
    Other,
}

/// Assembles a ClientHello from its TLS records and parses it; `None`: more bytes are needed.
fn client_hello(bytes: &[u8]) -> Option<Hello> {
    let mut handshake = Vec::new();
    let mut rest = bytes;
    loop {
        // A handshake record of TLS 1.0 to 1.2 (TLS 1.3 uses the version 1.0 or 1.2 here).
        for (at, expected) in [(0, 22u8), (1, 3)] {
            match rest.get(at) {
                Some(byte) if *byte != expected => return Some(Hello::Other),
                Some(_) => {}
                None => return None,
            }
        }
        let length = usize::from(u16::from_be_bytes([*rest.get(3)?, *rest.get(4)?]));
        if length == 0 || length > MAX_RECORD {
            return Some(Hello::Other);
        }
        let available = &rest[5..];
        handshake.extend_from_slice(&available[..length.min(available.len())]);
        if handshake.first().is_some_and(|kind| *kind != 1) {
            return Some(Hello::Other);
        }
        if let [_, a, b, c, body @ ..] = &handshake[..] {
            let wanted = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if wanted > MOST {
                return Some(Hello::Other);
            }
            if body.len() >= wanted {
                return Some(extensions(&body[..wanted]).unwrap_or(Hello::Other));
            }
        }
        rest = available.get(length..)?;
    }
}

/// Parses a ClientHello's body; `None`: it is malformed.
fn extensions(body: &[u8]) -> Option<Hello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    let session = reader.u8()?;
    reader.take(session.into())?;
    let ciphers = reader.u16()?;
    reader.take(ciphers.into())?;
    let compression = reader.u8()?;
    reader.take(compression.into())?;
    let (mut server_name, mut protocols) = (None, vec![]);
    if reader.0.is_empty() {
        return Some(Hello::Tls { server_name, protocols });
    }
    let length = reader.u16()?;
    let mut reader = Reader(reader.take(length.into())?);
    while !reader.0.is_empty() {
        let kind = reader.u16()?;
        let length = reader.u16()?;
        let content = Reader(reader.take(length.into())?);
        match kind {
            0 => server_name = host_name(content)?.first().cloned(),
            16 => protocols = protocol_names(content)?,
            _ => {}
        }
    }
    Some(Hello::Tls { server_name, protocols })
}

/// Lower-case host names; `None`: the extension is malformed.
fn host_name(mut content: Reader<'_>) -> Option<Vec<String>> {
    let length = content.u16()?;
    let mut names = Reader(content.take(length.into())?);
    let mut out = vec![];
    while !names.0.is_empty() {
        let kind = names.u8()?;
        let length = names.u16()?;
        let name = names.take(length.into())?;
        if kind == 0 {
            let name = std::str::from_utf8(name).ok()?;
            out.push(name.to_ascii_lowercase());
        }
    }
    Some(out)
}

fn protocol_names(mut content: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let length = content.u16()?;
    let mut names = Reader(content.take(length.into())?);
    let mut out = vec![];
    while !names.0.is_empty() {
        let length = names.u8()?;
        out.push(names.take(length.into())?.to_vec());
    }
    Some(out)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

/// Limit of the bytes that are inspected.
pub const MOST: usize = 64 * 1024;
const MAX_RECORD: usize = 16 * 1024 + 256;
const MAX_METHOD: usize = 32;
const MAX_LINE: usize = 8 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(server_name: Option<&str>, protocols: &[&str]) -> Vec<u8> {
        let mut extensions = vec![];
        if let Some(name) = server_name {
            let length = name.len() as u16;
            extensions.extend([0, 0]);
            extensions.extend((length + 5).to_be_bytes());
            extensions.extend((length + 3).to_be_bytes());
            extensions.push(0);
            extensions.extend(length.to_be_bytes());
            extensions.extend(name.bytes());
        }
        if !protocols.is_empty() {
            let list: Vec<u8> = protocols
                .iter()
                .flat_map(|p| [vec![p.len() as u8], p.as_bytes().to_vec()].concat())
                .collect();
            extensions.extend([0, 16]);
            extensions.extend((list.len() as u16 + 2).to_be_bytes());
            extensions.extend((list.len() as u16).to_be_bytes());
            extensions.extend(list);
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut message = vec![1, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        message
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message
            .chunks(size)
            .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect()
    }

    fn known(bytes: &[u8], tls: bool, http: bool) -> Sniffed {
        match inspect(bytes, tls, http) {
            Inspection::Known(sniffed) => sniffed,
            Inspection::More => panic!("more bytes wanted"),
        }
    }

    #[test]
    fn a_client_hello_yields_its_sni_and_alpn() {
        let message = hello(Some("Example.COM"), &["h2", "http/1.1"]);
        for size in [10_000, 50, 3] {
            let sniffed = known(&records(&message, size), true, true);
            assert_eq!(sniffed.transport, Some(Transport::Tls));
            assert_eq!(sniffed.server_name.as_deref(), Some("example.com"));
            assert_eq!(sniffed.protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }

    #[test]
    fn half_a_hello_waits_for_the_rest() {
        let bytes = records(&hello(Some("a.b"), &["h2"]), 10_000);
        for length in 0..bytes.len() {
            assert_eq!(inspect(&bytes[..length], true, true), Inspection::More, "{length} bytes");
        }
    }

    #[test]
    fn waiting_for_missing_bytes_never_changes_the_result() {
        let message = hello(Some("a.b"), &["h2", "http/1.1"]);
        for size in [10_000, 50, 3, 1] {
            let bytes = records(&message, size);
            let mut looks = 0;
            let mut sniffed = 0;
            while sniffed < bytes.len() {
                assert_eq!(inspect(&bytes[..sniffed], true, true), Inspection::More, "{sniffed} bytes");
                let more = missing(&bytes[..sniffed]);
                assert!(sniffed + more <= bytes.len(), "{more} missing of {sniffed} in records of {size}");
                sniffed += more;
                looks += 1;
            }
            // With record headers in between, `missing` cannot ask for the whole message at once.
            assert!(looks < 30 * (1 + message.len() / size), "{looks} looks at records of {size}");
        }
    }

    #[test]
    fn http_versions_are_detected_by_the_first_line() {
        let cases: [(&[u8], Option<&str>); 9] = [
            (b"GET / HTTP/1.1\r\n", Some("http/1.1")),
            (b"GET / HTTP/1.1\n", Some("http/1.1")),
            (b"M-SEARCH * HTTP/1.0\r\n", Some("http/1.0")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some("h2c")),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", None),
            (b"get / HTTP/1.1\r\n", None),
            (b"\x00\x01", None),
            (b"EHLO example\r\n", None),
            (b" / HTTP/1.1\r\n", None),
        ];
        for (bytes, version) in cases {
            let expected: Vec<Vec<u8>> = version.iter().map(|v| v.as_bytes().to_vec()).collect();
            let sniffed = known(bytes, true, true);
            assert_eq!(sniffed.protocols, expected, "{}", bytes.escape_ascii());
            assert_eq!(sniffed.transport, Some(Transport::Raw));
        }
    }

    #[test]
    fn unfinished_lines_wait() {
        for bytes in [&b""[..], b"GE", b"GET / HT", b"PRI * HTTP/2.0\r\n", b"P"] {
            assert_eq!(inspect(bytes, false, true), Inspection::More, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = inspect(&bytes, true, true);
        }

        #[test]
        fn damaged_hellos_do_not_make_it_panic(at in 0usize..80, byte: u8) {
            let mut bytes = records(&hello(Some("a.example"), &["h2", "http/1.1"]), 40);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = inspect(&bytes, true, true);
        }
    }
}
