//! Pure. What the server received and where it runs: the JSON of every response.
//!
//! All protocols use one schema, so that tests read the same fields for each protocol.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Version};
use serde::Serialize;

/// Where the server runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// Name of the pod.
    pub pod: String,
    /// Name of the machine.
    pub hostname: String,
    /// Version label.
    pub version: String,
    /// Kubernetes service account, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// The connection of a call.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// Address of the client.
    pub peer: SocketAddr,
    /// Address of the server.
    pub local: SocketAddr,
    /// TLS, if the server itself terminates it.
    pub tls: Option<Tls>,
}

/// Parameters of a TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Version, such as `TLSv1.3`.
    pub version: String,
    /// Server name that the client sent.
    pub sni: Option<String>,
    /// Application protocol, such as `h2`.
    pub alpn: Option<String>,
    /// Subject of the client's certificate.
    pub client: Option<String>,
    /// URIs in the client's certificate, among them SPIFFE identities.
    pub client_uris: Vec<String>,
}

/// One call as the server received it.
#[derive(Clone, Debug, Serialize)]
pub struct Seen<'a> {
    /// `http`, `grpc` or `websocket`.
    pub protocol: &'static str,
    /// Method.
    pub method: &'a str,
    /// Path, without the query.
    pub path: &'a str,
    /// Query, if any.
    pub query: Option<&'a str>,
    /// Version, such as `HTTP/1.1`.
    pub http_version: &'static str,
    /// Host of the request.
    pub authority: Option<String>,
    /// All headers in order, including repeated ones.
    pub headers: Vec<(String, String)>,
    /// Trailers of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<(String, String)>,
    /// Length of the request body.
    pub body_bytes: u64,
    /// The body, if the client requests it and it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64, if the client requests it and it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The connection.
    #[serde(flatten)]
    pub connection: &'a Connection,
    /// Where the server runs.
    #[serde(flatten)]
    pub place: &'a Place,
}

impl<'a> Seen<'a> {
    /// Builds the value from a request's head, before its body is read.
    pub fn head(
        protocol: &'static str,
        head: &'a http::request::Parts,
        connection: &'a Connection,
        place: &'a Place,
    ) -> Self {
        Self {
            protocol,
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            http_version: version(head.version),
            authority: authority(head),
            headers: pairs(&head.headers),
            trailers: Vec::new(),
            body_bytes: 0,
            body: None,
            body_base64: None,
            connection,
            place,
        }
    }

    /// Adds the body: as text if it is valid text, otherwise in base64.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        match String::from_utf8(body) {
            Ok(text) => self.body = Some(text),
            Err(error) => self.body_base64 = Some(STANDARD.encode(error.as_bytes())),
        }
        self
    }

    /// Renders the value as one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("names are text, so this is always JSON")
    }
}

/// The first line that a TCP port sends.
pub fn hello(connection: &Connection, place: &Place) -> String {
    let hello = serde_json::json!({ "hello": Hello { connection, place } });
    format!("{hello}\n")
}

/// Headers as pairs, in order. Bytes of values that are not text are replaced.
pub fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

#[derive(Serialize)]
struct Hello<'a> {
    #[serde(flatten)]
    connection: &'a Connection,
    #[serde(flatten)]
    place: &'a Place,
}

/// The host of a request: in HTTP/2 from the request's authority, in HTTP/1.1 from the header.
fn authority(head: &http::request::Parts) -> Option<String> {
    let host =
        || head.headers.get(http::header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into());
    head.uri.authority().map(ToString::to_string).or_else(host)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/3",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn connection() -> Connection {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Connection { peer: address(1), local: address(2), tls: None }
    }

    fn place() -> Place {
        Place { pod: "p-1".into(), hostname: "h".into(), version: "v2".into(), service_account: None }
    }

    #[test]
    fn a_response_describes_the_request_and_the_server() {
        let request = http::Request::post("/a/b?c=d")
            .header("host", "echo.test")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .body(())
            .expect("a request");
        let (head, ()) = request.into_parts();
        let (connection, place) = (connection(), place());
        let seen = Seen::head("http", &head, &connection, &place).with_body(b"hi".to_vec());
        let json: Value = serde_json::from_str(&seen.json()).expect("JSON");
        assert_eq!(
            json,
            json!({
                "protocol": "http", "method": "POST", "path": "/a/b", "query": "c=d",
                "http_version": "HTTP/1.1", "authority": "echo.test", "body_bytes": 0, "body": "hi",
                "headers": [["host", "echo.test"], ["x-twice", "1"], ["x-twice", "2"]],
                "peer": "127.0.0.1:1", "local": "127.0.0.1:2", "tls": null,
                "pod": "p-1", "hostname": "h", "version": "v2",
            })
        );
    }

    #[test]
    fn a_body_that_is_not_text_is_returned_as_base64() {
        let (head, ()) = http::Request::new(()).into_parts();
        let (connection, place) = (connection(), place());
        let seen = Seen::head("http", &head, &connection, &place).with_body(vec![0xff, 0x00]);
        assert_eq!(seen.body_base64.as_deref(), Some("/wA="));
    }

    #[test]
    fn hello_is_one_line() {
        let line = hello(&connection(), &place());
        let json: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(json["hello"]["version"], "v2");
        assert_eq!(line.find('\n'), Some(line.len() - 1));
    }
}
