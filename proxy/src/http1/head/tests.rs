//! Which heads are accepted, and which are refused with what status and reason. Each row is a request as received;
//! smuggling attempts rely on two hops that read it differently.

use super::*;
use crate::http1::framing::{self, Length};
use proptest::prelude::*;

const LIMITS: Limits = Limits { bytes: 8 * 1024, count: 10 };

/// Returns the length of a request's body, or why the request is refused.
fn read(head: &[u8]) -> Result<Length, Invalid> {
    let Some(end) = end(head, 0) else {
        possible_request(head, LIMITS)?;
        return Err(Invalid::Slow);
    };
    let parts = request(&Bytes::copy_from_slice(&head[..end]), LIMITS)?;
    framing::request(&parts.method, parts.version, &parts.headers)
}

#[test]
fn plain_requests_are_taken() {
    for (head, length) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Length::Exact(0)),
        ("GET / HTTP/1.1\r\n\r\n", Length::Exact(0)),
        ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", Length::Exact(0)),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Length::Exact(0)),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Length::Exact(0)),
        ("GET / HTTP/1.0\r\n\r\n", Length::Exact(0)),
        ("M-SEARCH / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Length::Exact(0)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", Length::Exact(5)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t 5 \t\r\n\r\n", Length::Exact(5)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\n", Length::Exact(5)),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            Length::Exact(u64::MAX),
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Chunked),
        ("POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING:CHUNKED\r\n\r\n", Length::Chunked),
        ("GET / HTTP/1.1\r\nHost:\r\nX:\r\nY: \r\n\r\n", Length::Exact(0)),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e4}\r\n\r\n", Length::Exact(0)),
    ] {
        assert_eq!(read(head.as_bytes()), Ok(length), "{head:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn ambiguous_messages_are_refused_with_the_reason() {
    use Invalid::*;
    for (lines, expected) in [
        // Two lengths.
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 6", LengthAndCoding),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", LengthAndCoding),
        ("Content-Length: 6\r\nTransfer-Encoding: identity", LengthAndCoding),
        ("content-length: 6\r\nTrAnSfEr-EnCoDiNg: xchunked", LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 6", Length),
        ("Content-Length: 5\r\nContent-Length: 5", Length),
        ("Content-Length: 5\r\ncontent-length: 0", Length),
        ("Content-Length: 5, 5", Length),
        ("Content-Length: 5, 6", Length),
        ("Content-Length: 5,", Length),
        // Lengths that some recipients do not accept as numbers.
        ("Content-Length: +5", Length),
        ("Content-Length: -5", Length),
        ("Content-Length: 5 5", Length),
        ("Content-Length: 0x5", Length),
        ("Content-Length: 5;", Length),
        ("Content-Length: 5.0", Length),
        ("Content-Length: 1e1", Length),
        ("Content-Length:", Length),
        ("Content-Length: 18446744073709551616", Length),
        ("Content-Length: 99999999999999999999999999", Length),
        ("Content-Length: \u{665}", Length),
        // Codings that only one of two hops reads as chunked.
        ("Transfer-Encoding: xchunked", Coding),
        ("Transfer-Encoding: chunkedx", Coding),
        ("Transfer-Encoding: chunked, identity", Coding),
        ("Transfer-Encoding: identity, chunked", Coding),
        ("Transfer-Encoding: chunked, chunked", Coding),
        ("Transfer-Encoding: gzip, chunked", Coding),
        ("Transfer-Encoding: gzip", Coding),
        ("Transfer-Encoding: identity", Coding),
        ("Transfer-Encoding: chunked;q=1", Coding),
        ("Transfer-Encoding: \"chunked\"", Coding),
        ("Transfer-Encoding: chunked,", Coding),
        ("Transfer-Encoding: ,chunked", Coding),
        ("Transfer-Encoding:", Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Coding),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", Coding),
        // Invalid characters in values.
        ("Transfer-Encoding: \x0bchunked", Value),
        ("Transfer-Encoding: chunked\x0b", Value),
        ("Transfer-Encoding: chunked\0", Value),
        ("X: a\0b", Value),
        ("X: a\x7fb", Value),
        ("X: a\x08", Value),
        // Invalid header names.
        ("Transfer-Encoding : chunked", Name),
        ("Transfer-Encoding\t: chunked", Name),
        (" Transfer-Encoding: chunked", Name),
        ("Transfer Encoding: chunked", Name),
        ("Transfer-Encoding\0: chunked", Name),
        ("\x0bTransfer-Encoding: chunked", Name),
        (": chunked", Name),
        ("Transfer-Encoding", Name),
        ("(X): y", Name),
        ("\u{e4}: y", Name),
        // Folded lines.
        ("X: a\r\n Transfer-Encoding: chunked", Name),
        ("Transfer-Encoding:\r\n chunked", Name),
        ("Transfer-Encoding:\r\n\tchunked", Name),
        // Line ends other than CR LF.
        ("X: a\nTransfer-Encoding: chunked", LineEnd),
        ("X: a\n\nGET /b HTTP/1.1", LineEnd),
        ("X:\nY: b", LineEnd),
        ("X: a \nY: b", LineEnd),
        ("X: a\rTransfer-Encoding: chunked", Value),
        ("X: a\r\r\nY: b", Value),
        ("\rX: a", LineEnd),
        // Invalid or repeated hosts.
        ("Host: b", Hosts),
        ("HOST: a", Hosts),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        assert_eq!(read(head.as_bytes()), Err(expected), "{head:?}");
    }
}

#[test]
fn first_lines_and_hosts_have_one_form() {
    use Invalid::*;
    for (head, expected) in [
        ("GET /\r\n\r\n", Line),
        ("GET / \r\n\r\n", Line),
        ("GET / HTTP/0.9\r\n\r\n", Version),
        ("GET / HTTP/1.2\r\n\r\n", Version),
        ("GET / HTTP/2.0\r\n\r\n", Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
        ("GET / http/1.1\r\n\r\n", Line),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.1\n\n", LineEnd),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", Line),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /?\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://\"a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", Host),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", CodingNotAllowed),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", CodingNotAllowed),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", CodingNotAllowed),
        ("\x16\x03\x01\x02\x00\x01\x00", Line),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", Line),
    ] {
        assert_eq!(read(head.as_bytes()), Err(expected), "{head:?}");
    }
}

#[test]
fn characters_that_a_uri_does_not_allow_are_escaped() {
    for (target, expected) in [
        ("/q?query=up{job=\"a\"}", "/q?query=up{job=%22a%22}"),
        // The characters after the question mark do not change how the path is spelt.
        ("/a\"b", "/a\"b"),
        ("/a\"b?\"", "/a\"b?%22"),
        ("/a`b?`", "/a%60b?`"),
        ("/a<b?>", "/a%3Cb?%3E"),
        ("/<a>`?<", "/%3Ca%3E%60?%3C"),
        ("/\"|^{}", "/\"|^{}"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let read = request(&Bytes::from(head), LIMITS).unwrap();
        assert_eq!(read.uri.path_and_query().unwrap().as_str(), expected);
    }
}

#[test]
fn errors_name_the_exceeded_limit() {
    let long = "x".repeat(LIMITS.bytes);
    let target = format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n");
    let header = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(11));
    let full = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10));
    for (head, expected) in [
        (&target[..], Err(Invalid::TargetSize)),
        (&target[..=LIMITS.bytes], Err(Invalid::TargetSize)),
        (&header[..], Err(Invalid::Size)),
        (&header[..=LIMITS.bytes], Err(Invalid::Size)),
        (&header[..LIMITS.bytes], Err(Invalid::Slow)),
        (&many[..], Err(Invalid::Count)),
        (&full[..], Ok(Length::Exact(0))),
    ] {
        assert_eq!(read(head.as_bytes()), expected, "{}", head.len());
    }
    assert_eq!(
        (Invalid::TargetSize.status(), Invalid::Size.status(), Invalid::Count.status()),
        (431, 431, 431)
    );
}

#[test]
fn more_headers_than_the_stack_has_room_for_are_taken_where_allowed() {
    let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
    let parts = request(&Bytes::from(head.clone()), Limits { bytes: 8192, count: 500 }).unwrap();
    assert_eq!(parts.headers.len(), 500);
    assert_eq!(request(&Bytes::from(head), Limits { bytes: 8192, count: 499 }).unwrap_err(), Invalid::Count);
}

#[test]
fn responses_are_held_to_the_same_rules() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Ok(Length::Exact(5))),
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(Length::UntilClose)),
        ("HTTP/1.1 200\r\n\r\n", Ok(Length::UntilClose)),
        ("HTTP/1.0 200 OK\r\n\r\n", Ok(Length::UntilClose)),
        ("HTTP/1.1 304 No\r\ntransfer-encoding: chunked\r\n\r\n", Ok(Length::Exact(0))),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Ok(Length::Chunked)),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            Err(Invalid::LengthAndCoding),
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n", Err(Invalid::Length)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5,5\r\n\r\n", Err(Invalid::Length)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Err(Invalid::Coding)),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Err(Invalid::CodingNotAllowed)),
        ("HTTP/1.1 200 OK\ncontent-length: 5\r\n\r\n", Err(Invalid::LineEnd)),
        ("HTTP/1.1 200 OK\r\nx: y\ncontent-length: 5\r\n\r\n", Err(Invalid::LineEnd)),
        ("HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n", Err(Invalid::Name)),
        ("HTTP/1.1 200 OK\r\nx : y\r\n\r\n", Err(Invalid::Name)),
        ("HTTP/1.1 204 None\r\ncontent-length: 0\r\n\r\n", Ok(Length::Exact(0))),
        ("HTTP/1.1 204 None\r\ncontent-length: 5\r\n\r\n", Err(Invalid::Length)),
        ("HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n\r\n", Err(Invalid::CodingNotAllowed)),
        ("HTTP/1.1 103 Hints\r\ncontent-length: 5\r\n\r\n", Err(Invalid::Length)),
        ("HTTP/1.1 304 Same\r\ncontent-length: 5\r\n\r\n", Ok(Length::Exact(0))),
        ("HTTP/1.1 99 OK\r\n\r\n", Err(Invalid::Line)),
        ("HTTP/1.1 20 OK\r\n\r\n", Err(Invalid::Line)),
        ("HTTP/2 200 OK\r\n\r\n", Err(Invalid::Line)),
        ("ICY 200 OK\r\n\r\n", Err(Invalid::Line)),
        ("hello there\r\n\r\n", Err(Invalid::Line)),
    ] {
        let parts = response(&Bytes::from(head), LIMITS);
        let length = parts.and_then(|p| framing::response(&Method::GET, p.version, p.status, &p.headers));
        assert_eq!(length, expected, "{head:?}");
    }
}

#[test]
fn trailers_with_security_relevant_names_are_dropped() {
    let text = "x-sum: 1\r\nContent-Length: 5\r\nhost: b\r\nx-forwarded-client-cert: By=x\r\nauthorization: z\r\ngrpc-status: 0\r\n\r\n";
    let kept = trailers(&Bytes::from(text), LIMITS).unwrap();
    let names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum", "grpc-status"]);
    assert_eq!(trailers(&Bytes::from("x: 1\n\r\n"), LIMITS), Err(Invalid::LineEnd));
    assert_eq!(trailers(&Bytes::from("x : 1\r\n\r\n"), LIMITS), Err(Invalid::Name));
}

#[test]
fn persistence_follows_version_and_connection_header() {
    for (head, persists) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
    ] {
        let parts = request(&Bytes::from(head), LIMITS).unwrap();
        assert_eq!(framing::persists(parts.version, &parts.headers), persists, "{head:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = response(&Bytes::from(bytes.clone()), LIMITS);
        let _ = trailers(&Bytes::from(bytes), LIMITS);
    }

    #[test]
    fn bytes_near_a_request_never_hide_a_second_one(
        head in "(GET|POST) /[a-z]{0,3} HTTP/1\\.[01]\r?\n(([a-zA-Z-]{1,5}|Content-Length|Transfer-Encoding) ?:[ \t]?[a-z0-9, \r\n\t]{0,8}\r?\n){0,4}\r?\n",
    ) {
        if read(head.as_bytes()).is_ok() {
            // An accepted head has no line end but CR LF, so every recipient sees the same lines.
            let bytes = head.as_bytes();
            let end = end(bytes, 0).unwrap();
            for (at, byte) in bytes[..end].iter().enumerate() {
                prop_assert!(*byte != b'\n' || bytes[at - 1] == b'\r', "{head:?}");
                prop_assert!(*byte != b'\r' || bytes[at + 1] == b'\n', "{head:?}");
            }
        }
    }
}
