//! Pure. The parts of a request that routing and authorization use: a borrowed view, so that matching is a function of
//! plain values that can be tested and explained without a connection.

use http::{HeaderMap, HeaderValue, Method, header};

/// The head of a request, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Method.
    pub method: &'a Method,
    /// `host` or `:authority` as received.
    pub authority: &'a str,
    /// Path and query as received (normalised where the listener asks for it).
    pub target: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Headers.
    pub headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    /// The target without its query and fragment.
    pub fn path(&self) -> &'a str {
        let end = self.target.find(['?', '#']).unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// The query, without `?`; empty when there is none.
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or(""))
    }

    /// Whether it is a gRPC request.
    pub fn is_grpc(&self) -> bool {
        self.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc_type)
    }
}

/// Whether a content type is gRPC.
pub fn is_grpc_type(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_are_separated() {
        for (target, path, query) in [
            ("/a?b=c", "/a", "b=c"),
            ("/a", "/a", ""),
            ("/a?b#c", "/a", "b"),
            ("/a#f?x", "/a", "x"),
            ("*", "*", ""),
        ] {
            let headers = HeaderMap::new();
            let head =
                Head { method: &Method::GET, authority: "", target, scheme: "http", headers: &headers };
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn only_grpc_content_types_are_grpc() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc_type(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
