//! Requests as test tables write them: one per line, sent byte by byte, so that tests can send what a well-behaved
//! client never would.
//!
//! `PORT [tls=NAME,cert:FILE,alpn:A+B] METHOD TARGET [VERSION] | header: value | body=text`. Without a header
//! `host`, `a.test` is sent; `host:` alone omits the header; `{a*70000}` repeats a character; `\r\n` in a body is a line break; `tcp` in place of a
//! method sends one line of text.

use serde::{Deserialize, Serialize};

/// One request of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The line itself.
    pub line: String,
    /// The port to connect to.
    pub port: u16,
    /// TLS settings; `None`: plaintext.
    pub tls: Option<Tls>,
    /// The method, which determines the length of the response; `tcp` for opaque bytes.
    pub method: String,
    /// The bytes to send.
    pub bytes: Vec<u8>,
}

/// TLS settings of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// SNI; empty: none is sent.
    pub name: String,
    /// Name of the client's certificate, if it has one.
    pub certificate: Option<String>,
    /// Protocols offered by ALPN.
    pub alpn: Vec<String>,
}

/// The requests in one section of a table. A section begins with its name in brackets.
pub fn section(table: &str, name: &str) -> Vec<Request> {
    let heading = format!("[{name}]");
    let lines = table.lines().map(str::trim).skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Request::parse).collect()
}

impl Request {
    /// Parses a line; fails the test if it is invalid.
    pub fn parse(line: &str) -> Self {
        let mut parts = line.split(" | ").map(str::trim);
        let mut words = parts.next().unwrap_or_default().split(' ').peekable();
        let port = words.next().and_then(|word| word.parse().ok());
        let port = port.unwrap_or_else(|| panic!("`{line}` does not begin with a port"));
        let tls = words.next_if(|word| *word == "tls" || word.starts_with("tls=")).map(tls);
        let method = words.next().unwrap_or_else(|| panic!("`{line}` has no method")).to_owned();
        let target = repeated(words.next().unwrap_or_else(|| panic!("`{line}` has no target")));
        let bytes = if method == "tcp" {
            format!("{target}\n").into_bytes()
        } else {
            http(&method, &target, words.next().unwrap_or("HTTP/1.1"), parts)
        };
        Self { line: line.to_owned(), port, tls, method, bytes }
    }
}

fn tls(word: &str) -> Tls {
    let mut items = word.strip_prefix("tls=").unwrap_or_default().split(',');
    let mut found = Tls { name: items.next().unwrap_or_default().to_owned(), ..Tls::default() };
    for item in items {
        match item.split_once(':') {
            Some(("cert", name)) => found.certificate = Some(name.to_owned()),
            Some(("alpn", names)) => found.alpn = names.split('+').map(str::to_owned).collect(),
            _ => panic!("`{item}` is neither cert nor alpn"),
        }
    }
    found
}

fn http<'a>(method: &str, target: &str, version: &str, parts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let (mut headers, mut body) = (vec![], None);
    for part in parts {
        match part.strip_prefix("body=") {
            Some(text) => body = Some(repeated(text).replace("\\r\\n", "\r\n")),
            None => headers.push(repeated(part)),
        }
    }
    let has = |headers: &[String], name: &str| headers.iter().any(|h| h.to_lowercase().starts_with(name));
    if version != "HTTP/1.0" && !has(&headers, "host:") {
        headers.insert(0, "host: a.test".to_owned());
    }
    headers.retain(|header| header != "host:");
    if let Some(body) = &body
        && !has(&headers, "content-length:")
        && !has(&headers, "transfer-encoding:")
    {
        headers.push(format!("content-length: {}", body.len()));
    }
    let mut text = format!("{method} {target} {version}\r\n");
    for header in headers {
        text.push_str(&header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(&body.unwrap_or_default());
    text.into_bytes()
}

/// Expands repetitions: `{a*3}` becomes `aaa`.
fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
    let Some((inner, after)) = rest.split_once('}') else { return text.to_owned() };
    match inner.split_once('*').map(|(what, count)| (what, count.parse::<usize>())) {
        Some((what, Ok(count))) => format!("{before}{}{after}", what.repeat(count)),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_what_is_sent() {
        for (line, expected) in [
            ("80 GET /", "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
            ("80 GET / HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
            ("80 GET / | host:", "GET / HTTP/1.1\r\n\r\n"),
            ("80 GET /{b*3} | x: {a*2}", "GET /bbb HTTP/1.1\r\nhost: a.test\r\nx: aa\r\n\r\n"),
            ("80 PUT /x | Host: b | body=hi", "PUT /x HTTP/1.1\r\nHost: b\r\ncontent-length: 2\r\n\r\nhi"),
            (
                "80 PUT / | transfer-encoding: chunked | body=1\\r\\na\\r\\n",
                "PUT / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
            ),
            ("80 tcp hello", "hello\n"),
        ] {
            assert_eq!(String::from_utf8(Request::parse(line).bytes).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn tls_is_reported_in_one_word() {
        let tls = Request::parse("443 tls=a.test,cert:client,alpn:h2+http/1.1 GET /").tls.unwrap();
        assert_eq!((tls.name.as_str(), tls.certificate.as_deref()), ("a.test", Some("client")));
        assert_eq!(tls.alpn, ["h2", "http/1.1"]);
        assert_eq!(Request::parse("443 tls GET /").tls, Some(Tls::default()));
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let table = "[a]\n80 GET /1\n# 80 GET /no\n\n80 GET /2\n[b]\n80 GET /3\n";
        let lines: Vec<String> = section(table, "a").into_iter().map(|request| request.line).collect();
        assert_eq!(lines, ["80 GET /1", "80 GET /2"]);
    }
}
