//! Pure. Normalises paths, so that no other spelling of a path bypasses a route or a policy.

use http::Uri;
use http::uri::PathAndQuery;

/// The path cannot be normalised into one that is safe to forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the normalized path cannot be written as a request target")]
pub struct NoPath;

/// A URI with its path normalised and the rest unchanged; `None`: it needs no change.
pub fn uri(uri: &Uri, normalize: bool, merge: bool) -> Result<Option<Uri>, NoPath> {
    let path = uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let Some(path) = normalized(path, normalize, merge)? else { return Ok(None) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| NoPath)?);
    Ok(Some(Uri::from_parts(parts).expect("another path makes no URI incomplete")))
}

/// Resolves `.` and `..`, unifies escapes and merges adjacent slashes, as far as the listener asks for it; `None`: the
/// path needs no change. The result is stable: normalising it again does not change it.
pub fn normalized(path_and_query: &str, normalize: bool, merge: bool) -> Result<Option<String>, NoPath> {
    if !normalize && !merge {
        return Ok(None);
    }
    let end = path_and_query.find(['?', '#']).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let plain = !path.contains("/.") && !path.contains("//") && !path.bytes().any(is_notable);
    if plain || !path.starts_with('/') {
        return Ok(None);
    }
    let mut path = if normalize { without_dots(&respelled(path)?) } else { path.to_owned() };
    // After the dot segments, as in Envoy: `/a//../b` removes the empty segment, not `a`.
    if merge {
        path = merged(&path);
    }
    let joined = [&path, query].concat();
    Ok((joined != path_and_query).then_some(joined))
}

/// Whether a byte may need respelling regardless of its neighbours.
fn is_notable(byte: u8) -> bool {
    byte == b'%' || byte == b'\\' || wants_escape(byte)
}

/// Decodes percent-encoded characters that need no encoding (RFC 3986, 6.2.2.2) and encodes those that do. Refuses
/// NUL, which would end the path in C code.
fn respelled(path: &str) -> Result<String, NoPath> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    // Percent signs that begin no escape.
    let mut stray = vec![];
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = if byte == b'%' { escaped(&bytes[at + 1..]) } else { None };
        match code {
            Some(0) => return Err(NoPath),
            Some(code) if needs_no_escape(code) => out.push(code),
            // The case of the digits stays: an application may compare them, and Envoy leaves them too.
            Some(_) => out.extend(&bytes[at..at + 3]),
            None if wants_escape(byte) => out.extend(format!("%{byte:02X}").bytes()),
            None => {
                if byte == b'%' {
                    stray.push(out.len());
                }
                out.push(byte);
            }
        }
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(without_made_escapes(out, &stray)).map_err(|_| NoPath)
}

/// Encodes stray percent signs that decoded digits after them would turn into an escape that the client did not send.
/// Works in one pass, because a path may consist of nothing else.
fn without_made_escapes(path: Vec<u8>, stray: &[usize]) -> Vec<u8> {
    let mut made = stray.iter().copied().filter(|at| escaped(&path[at + 1..]).is_some()).peekable();
    if made.peek().is_none() {
        return path;
    }
    let mut out = Vec::with_capacity(path.len() * 2);
    let mut done = 0;
    for at in made {
        out.extend_from_slice(&path[done..at]);
        out.extend_from_slice(b"%25");
        done = at + 1;
    }
    out.extend_from_slice(&path[done..]);
    out
}

/// The character that two hexadecimal digits encode.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn needs_no_escape(code: u8) -> bool {
    code.is_ascii_alphanumeric() || b"-._~".contains(&code)
}

/// Characters that a URI does not allow but some clients send.
fn wants_escape(byte: u8) -> bool {
    b"\"<>^`{|}".contains(&byte)
}

/// Resolves dot segments; backslashes count as slashes. Path parameters of a dot segment are removed with it, because
/// some applications strip them before they resolve dots (`/public/..;/admin`).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = vec![];
    let mut rest = &path[1..];
    loop {
        let mut end = rest.find(['/', '\\']).unwrap_or(rest.len());
        let name = rest[..end].split(';').next().unwrap_or_default();
        let dots = matches!(name, "." | "..");
        if dots && name.len() < end {
            end = rest.find('/').unwrap_or(rest.len());
        }
        let last = end == rest.len();
        if name == ".." {
            kept.pop();
        }
        if !dots {
            kept.push(&rest[..end]);
        } else if last {
            kept.push("");
        }
        if last {
            return format!("/{}", kept.join("/"));
        }
        rest = &rest[end + 1..];
    }
}

fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_get_one_spelling() {
        for (path, normalize, merge, expected) in [
            ("/a/../b", true, false, Some("/b")),
            ("/a/./b/", true, false, Some("/a/b/")),
            ("/a/..", true, false, Some("/")),
            ("/../../a", true, false, Some("/a")),
            ("/%61%2f?x=%61", true, false, Some("/a%2f?x=%61")),
            ("/%2e%2e/a", true, false, Some("/a")),
            ("//a//b", false, true, Some("/a/b")),
            ("//a", true, false, None),
            ("/a%", true, false, None),
            ("/a%+f", true, false, None),
            ("/a|b^{c}\"", true, false, Some("/a%7Cb%5E%7Bc%7D%22")),
            ("/a|b", false, true, None),
            ("/a/..;/b", true, false, Some("/b")),
            ("/a/..;x=1/..;y/b", true, false, Some("/b")),
            ("/a/.;/b/..;", true, false, Some("/a/")),
            ("/a/%2e%2E;/b", true, false, Some("/b")),
            ("/a/..;\\x/b", true, false, Some("/b")),
            ("/a\\..;/b", true, false, Some("/b")),
            ("/a/...;/;../b;", true, false, None),
            ("/a/..%3b/b", true, false, None),
            ("/plain?a/../b", true, true, None),
            ("/a/../b", false, false, None),
        ] {
            assert_eq!(normalized(path, normalize, merge).unwrap().as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn normalizing_the_path_keeps_the_host() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let respelled = super::uri(&uri("http://a.example:80/x/../b?q=/../"), true, true).unwrap();
        assert_eq!(respelled, Some(uri("http://a.example:80/b?q=/../")));
        assert_eq!(super::uri(&uri("/x/../b"), true, true).unwrap(), Some(uri("/b")));
        assert_eq!(super::uri(&uri("http://a.example/b"), true, true).unwrap(), None);
        assert_eq!(super::uri(&uri("a.example:443"), true, true).unwrap(), None);
    }

    #[test]
    fn backslashes_do_not_leave_slashes_that_should_be_merged() {
        assert_eq!(normalized("/\\a\\\\b", true, true).unwrap().as_deref(), Some("/a/b"));
        assert_eq!(normalized("/a//../b", true, true).unwrap().as_deref(), Some("/a/b"));
    }

    #[test]
    fn no_escape_appears_that_the_client_did_not_write() {
        for (path, expected) in [
            ("/%%361dmin", "/%2561dmin"),
            ("/%%36%31dmin", "/%2561dmin"),
            ("/%6%31dmin", "/%2561dmin"),
            ("/%25%36%31dmin", "/%2561dmin"),
            ("/%2%66admin", "/%252fadmin"),
            ("/%%%41%42", "/%%25AB"),
            ("/%%36", "/%6"),
            ("/%%2e%2e/", "/%../"),
            ("/%%zz", "/%%zz"),
        ] {
            let once = normalized(path, true, true).unwrap();
            assert_eq!(once.as_deref().unwrap_or(path), expected, "{path}");
            assert_eq!(normalized(expected, true, true), Ok(None), "{path} twice");
        }
    }

    #[test]
    fn a_nul_is_in_no_path() {
        for path in ["/a%00", "/a/..%00/b", "/%2e%00"] {
            assert_eq!(normalized(path, true, false), Err(NoPath), "{path}");
            assert_eq!(normalized(path, false, true), Ok(None), "{path}");
        }
        assert_eq!(normalized("/a?%00", true, true), Ok(None));
    }
}
