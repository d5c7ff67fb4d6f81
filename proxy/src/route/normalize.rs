//! Pure. One spelling for each path, so that no other spelling of it slips past a route or a policy.

use http::Uri;
use http::uri::{InvalidUri, PathAndQuery};

/// A URI with its path in one spelling, everything else as it was; `None`: it needs no change. Refused is a path whose
/// one spelling is no path at all.
pub fn uri(uri: &Uri, normalize: bool, merge: bool) -> Result<Option<Uri>, InvalidUri> {
    let path = uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let Some(path) = normalized(path, normalize, merge) else { return Ok(None) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse()?);
    Ok(Some(Uri::from_parts(parts).expect("another path makes no URI incomplete")))
}

/// The path with `.` and `..` resolved and adjacent slashes merged, as far as the listener asks for it; `None`: it
/// needs no change. What comes out needs no further change: whoever normalises again sees the same path.
pub fn normalized(path_and_query: &str, normalize: bool, merge: bool) -> Option<String> {
    if !normalize && !merge {
        return None;
    }
    let end = path_and_query.find(['?', '#']).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let plain = !path.contains("/.") && !path.contains("//") && !path.contains(['%', '\\']);
    if plain || !path.starts_with('/') {
        return None;
    }
    let mut path = if normalize { without_dots(&unreserved(path)) } else { path.to_owned() };
    // After the dots, as Envoy does: `/a//../b` leaves the empty segment, not `a`.
    if merge {
        path = merged(&path);
    }
    let joined = [&path, query].concat();
    (joined != path_and_query).then_some(joined)
}

/// Decodes percent-encoded characters that need no encoding (RFC 3986, 6.2.2.2), so that one path has one spelling.
fn unreserved(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) if needs_no_escape(code) && !in_broken_escape(&out) => {
                out.push(code as char);
                rest = &rest[at + 3..];
            }
            Some(_) => {
                // Their case stays: an application may compare it, and Envoy leaves it too.
                out.push_str(&rest[at..at + 3]);
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn needs_no_escape(code: u8) -> bool {
    code.is_ascii_alphanumeric() || b"-._~".contains(&code)
}

/// A stray `%` at the end, to which a decoded digit would add up to an escape that nobody wrote.
fn in_broken_escape(out: &str) -> bool {
    match out.as_bytes() {
        [.., b'%'] => true,
        [.., b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    }
}

fn without_dots(path: &str) -> String {
    let path = path.replace('\\', "/");
    let mut kept: Vec<&str> = vec![];
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
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
            ("/plain?a/../b", true, true, None),
            ("/a/../b", false, false, None),
        ] {
            assert_eq!(normalized(path, normalize, merge).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_new_spelling_of_the_path_leaves_the_host_where_it_was() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let respelled = super::uri(&uri("http://a.example:80/x/../b?q=/../"), true, true).unwrap();
        assert_eq!(respelled, Some(uri("http://a.example:80/b?q=/../")));
        assert_eq!(super::uri(&uri("/x/../b"), true, true).unwrap(), Some(uri("/b")));
        assert_eq!(super::uri(&uri("http://a.example/b"), true, true).unwrap(), None);
        assert_eq!(super::uri(&uri("a.example:443"), true, true).unwrap(), None);
    }

    #[test]
    fn backslashes_do_not_leave_slashes_that_should_be_merged() {
        assert_eq!(normalized("/\\a\\\\b", true, true).as_deref(), Some("/a/b"));
        assert_eq!(normalized("/a//../b", true, true).as_deref(), Some("/a/b"));
    }

    #[test]
    fn no_escape_appears_that_the_client_did_not_write() {
        for (path, expected) in [
            ("/%%361dmin", None),
            ("/%%36%31dmin", Some("/%%361dmin")),
            ("/%6%31dmin", None),
            ("/%25%36%31dmin", Some("/%2561dmin")),
        ] {
            assert_eq!(normalized(path, true, true).as_deref(), expected, "{path}");
            let once = expected.unwrap_or(path);
            assert_eq!(normalized(once, true, true), None, "{path} twice");
        }
    }
}
