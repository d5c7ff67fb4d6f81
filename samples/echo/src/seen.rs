//! Pure. What the server saw of a call, and who it is: the JSON of every answer.
//!
//! One shape for all protocols, so that a test reads the same field whatever it called with.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Version};
use serde::Serialize;

/// Who answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// Name of the pod.
    pub pod: String,
    /// Name of the machine.
    pub hostname: String,
    /// Version label.
    pub version: String,
    /// Kubernetes service account, if told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// The connection a call came over.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// TLS, if the server itself terminated it.
    pub tls: Option<Tls>,
}

/// What TLS agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// As `TLSv1.3`.
    pub version: String,
    /// Server name that the client asked for.
    pub sni: Option<String>,
    /// Application protocol, as `h2`.
    pub alpn: Option<String>,
    /// Subject of the client's certificate.
    pub client: Option<String>,
    /// URIs in the client's certificate, where SPIFFE identities stand.
    pub client_uris: Vec<String>,
}

/// One call as the server saw it.
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
    /// As `HTTP/1.1`.
    pub http_version: &'static str,
    /// Host that was asked for.
    pub authority: Option<String>,
    /// All headers in order, repeated ones too.
    pub headers: Vec<(String, String)>,
    /// Trailers of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<(String, String)>,
    /// Length of the request's body.
    pub body_bytes: u64,
    /// The body, if it was asked for and is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, if it was asked for and is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The connection.
    #[serde(flatten)]
    pub connection: &'a Connection,
    /// Who answers.
    #[serde(flatten)]
    pub place: &'a Place,
}

impl<'a> Seen<'a> {
    /// A request's head, before anything is known of its body.
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

    /// Adds the body itself, as text where it is text.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        match String::from_utf8(body) {
            Ok(text) => self.body = Some(text),
            Err(error) => self.body_base64 = Some(STANDARD.encode(error.as_bytes())),
        }
        self
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("names are text, so this is always JSON")
    }
}

/// First line that a TCP port sends.
pub fn hello(connection: &Connection, place: &Place) -> String {
    let hello = serde_json::json!({ "hello": Hello { connection, place } });
    format!("{hello}\n")
}

/// Headers as pairs, in order, values as far as they are text.
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

/// HTTP/2 names the host in the request line, HTTP/1.1 in a header.
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
    fn the_answer_tells_all_of_the_request_and_who_answers() {
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
    fn a_body_that_is_no_text_comes_as_base64() {
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
