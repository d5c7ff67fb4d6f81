//! Pure. Parses the URL that the client calls.

use http::Uri;
use http::uri::{Authority, PathAndQuery};

/// Protocols of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http://`, `https://`: HTTP/1.1 or HTTP/2.
    Http,
    /// `grpc://`, `grpcs://`.
    Grpc,
    /// `ws://`, `wss://`.
    WebSocket,
    /// `tcp://`, `tls://`: the client sends first.
    Tcp,
    /// `tcp+first://`: the server sends first.
    TcpServerFirst,
}

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Protocol of the call.
    pub protocol: Protocol,
    /// Whether to use TLS.
    pub tls: bool,
    /// Host to connect to, without brackets.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: Authority,
    /// Path and query.
    pub path: PathAndQuery,
}

/// Why a text is not a URL that the client can call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// The text is not a URL.
    #[error("is not a URL; write it as http://host:port/path")]
    Malformed,
    /// The scheme is unknown.
    #[error("has a scheme that is not one of http, https, grpc, grpcs, ws, wss, tcp, tls, tcp+first")]
    Scheme,
    /// The URL has no port, and the scheme has no default port.
    #[error("names no port, and this scheme has no usual one")]
    Port,
}

impl std::str::FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let uri: Uri = text.parse().map_err(|_| BadTarget::Malformed)?;
        let (protocol, tls) = match uri.scheme_str().ok_or(BadTarget::Malformed)? {
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            "grpc" => (Protocol::Grpc, false),
            "grpcs" => (Protocol::Grpc, true),
            "ws" => (Protocol::WebSocket, false),
            "wss" => (Protocol::WebSocket, true),
            "tcp" => (Protocol::Tcp, false),
            "tls" => (Protocol::Tcp, true),
            "tcp+first" => (Protocol::TcpServerFirst, false),
            _ => return Err(BadTarget::Scheme),
        };
        let authority = uri.authority().cloned().ok_or(BadTarget::Malformed)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let usual = match protocol {
            Protocol::Http | Protocol::WebSocket => Some(if tls { 443 } else { 80 }),
            Protocol::Grpc | Protocol::Tcp | Protocol::TcpServerFirst => None,
        };
        let port = authority.port_u16().or(usual).ok_or(BadTarget::Port)?;
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(BadTarget::Malformed);
        }
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { protocol, tls, host, port, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        let table = [
            ("http://echo/a?b=c", Protocol::Http, false, "echo", 80, "/a?b=c"),
            ("https://echo:8443", Protocol::Http, true, "echo", 8443, "/"),
            ("grpc://127.0.0.1:7070", Protocol::Grpc, false, "127.0.0.1", 7070, "/"),
            ("wss://echo/chat", Protocol::WebSocket, true, "echo", 443, "/chat"),
            ("tcp://[::1]:9000", Protocol::Tcp, false, "::1", 9000, "/"),
            ("tcp+first://echo:9001", Protocol::TcpServerFirst, false, "echo", 9001, "/"),
        ];
        for (url, protocol, tls, host, port, path) in table {
            let target: Target = url.parse().expect(url);
            assert_eq!((target.protocol, target.tls), (protocol, tls), "{url}");
            assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
            assert_eq!(target.path, path, "{url}");
        }
    }

    #[test]
    fn invalid_targets_are_refused_with_a_reason() {
        let table = [
            ("echo:80", BadTarget::Malformed),
            ("/path", BadTarget::Malformed),
            ("http://user@echo", BadTarget::Malformed),
            ("ftp://echo", BadTarget::Scheme),
            ("tcp://echo", BadTarget::Port),
            ("grpc://echo", BadTarget::Port),
        ];
        for (url, error) in table {
            assert_eq!(url.parse::<Target>(), Err(error), "{url}");
        }
    }
}
