//! Captures what a client and the server behind a proxy see of a request, without the parts that differ from run to
//! run, so that two proxies can be compared.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::process::tls::verifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Map, Value, json};

use crate::request::{Request, Tls};

/// Sends a request and describes its response; client certificates are in `folder`.
pub fn ask(request: &Request, folder: &Path) -> Value {
    let stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, request.port)) {
        Ok(stream) => stream,
        Err(error) => return json!({"refused": error.to_string()}),
    };
    stream.set_read_timeout(Some(TIMEOUT)).expect("sockets have timeouts");
    match &request.tls {
        None => exchange(request, stream),
        Some(tls) => {
            let connection = client(tls, folder);
            let mut stream = StreamOwned::new(connection, stream);
            while stream.conn.is_handshaking() {
                if stream.conn.complete_io(&mut stream.sock).is_err() {
                    return json!({"tls": "failed"});
                }
            }
            let alpn = stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
            let leaf =
                stream.conn.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
            let mut seen = exchange(request, stream);
            seen["tls"] = json!({"alpn": alpn, "certificate": leaf.map(|leaf| names(&leaf))});
            seen
        }
    }
}

fn exchange(request: &Request, mut stream: impl Read + Write) -> Value {
    // A proxy may refuse a head before it has received all of it; its response still counts.
    let _ = stream.write_all(&request.bytes).and_then(|()| stream.flush());
    let mut reader = Reader { stream, buffer: vec![] };
    if request.method == "tcp" {
        let line = String::from_utf8_lossy(&reader.until(b"\n").unwrap_or_default()).into_owned();
        let hello: Value = serde_json::from_str(&line).unwrap_or_default();
        return json!({"pod": find(&hello, "pod"), "text": line.is_empty()});
    }
    loop {
        let Some(head) = reader.until(b"\r\n\r\n") else { return json!({"answer": "none"}) };
        let head = String::from_utf8_lossy(&head).into_owned();
        let status: u16 = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let headers: Vec<(String, String)> = head.lines().skip(1).filter_map(pair).collect();
        let body = reader.body(&request.method, status, &headers);
        return comparable(status, &headers, &body);
    }
}

fn pair(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// Reads a response from a stream.
struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Read> Reader<S> {
    fn more(&mut self) -> bool {
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk) {
            Ok(count) if count > 0 => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            _ => false,
        }
    }

    /// Reads up to and including a mark.
    fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|part| part == mark) {
                let rest = self.buffer.split_off(at + mark.len());
                return Some(std::mem::replace(&mut self.buffer, rest));
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.more() {}
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    fn body(&mut self, method: &str, status: u16, headers: &[(String, String)]) -> Vec<u8> {
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return vec![];
        }
        if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return self.chunks();
        }
        if let Some(length) = header("content-length").and_then(|length| length.parse().ok()) {
            return self.exactly(length);
        }
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = vec![];
        loop {
            let Some(line) = self.until(b"\r\n") else { return body };
            let size = String::from_utf8_lossy(&line);
            let size = size.trim().split(';').next().unwrap_or_default().to_owned();
            match usize::from_str_radix(&size, 16) {
                Ok(size) if size > 0 => {
                    body.extend(self.exactly(size));
                    self.exactly(2);
                }
                _ => return body,
            }
        }
    }
}

/// The response without times, IDs, and headers that depend on the length of an echo response.
fn comparable(status: u16, headers: &[(String, String)], body: &[u8]) -> Value {
    let response: Value = serde_json::from_slice(body).unwrap_or_default();
    let echoed = response.get("path").is_some();
    let mut kept = kept(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if !echoed {
        return json!({"status": status, "headers": kept, "body": String::from_utf8_lossy(body)});
    }
    kept.remove("content-length");
    let pairs = response["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pairs = pairs.iter().filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)));
    let mut seen = self::kept(pairs);
    // Whether the length of an empty body is declared depends on the HTTP library.
    if seen.get("content-length") == Some(&json!(["0"])) {
        seen.remove("content-length");
    }
    let tls = find(&response, "sni");
    json!({
        "status": status, "headers": kept, "server": find(&response, "pod"), "sni": tls,
        "method": response["method"], "path": response["path"], "query": response["query"],
        "authority": response["authority"], "version": response["http_version"], "seen": seen,
    })
}

/// Headers by name; for some of them only their presence is compared.
fn kept<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let shown = match name {
            // Concerns only one connection.
            "connection" | "keep-alive" => continue,
            "date" | "x-request-id" | "x-envoy-upstream-service-time" => "*".to_owned(),
            "x-envoy-expected-rq-timeout-ms" => seconds(value),
            "set-cookie" => unquoted(value),
            _ => value.to_owned(),
        };
        all.entry(name.to_owned()).or_default().push(shown);
    }
    all.into_iter().map(|(name, values)| (name, json!(values))).collect()
}

/// Removes the quoted part of a cookie that a proxy generates, which each proxy chooses itself.
fn unquoted(value: &str) -> String {
    let parts: Vec<&str> = value.split('"').collect();
    match parts[..] {
        [before, _, after] => format!("{before}*{after}"),
        _ => value.to_owned(),
    }
}

/// Rounds a timeout: a retry has less time left than the first attempt, by the duration of that attempt.
fn seconds(value: &str) -> String {
    let milliseconds: u64 = value.parse().unwrap_or_default();
    if milliseconds < 1000 { value.to_owned() } else { format!("{} s", (milliseconds + 500) / 1000) }
}

/// Finds the value of a key at any depth.
fn find(value: &Value, key: &str) -> Value {
    match value {
        Value::Object(object) => match object.get(key) {
            Some(found) if !found.is_object() => found.clone(),
            _ => object.values().map(|v| find(v, key)).find(|v| !v.is_null()).unwrap_or_default(),
        },
        _ => Value::Null,
    }
}

fn client(tls: &Tls, folder: &Path) -> ClientConnection {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has all versions")
        .dangerous()
        // The test inspects the server's certificate but does not verify it.
        .with_custom_certificate_verifier(verifier::servers(|_| Ok(())));
    let mut config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let file = |end: &str| folder.join(format!("{name}.{end}"));
            let chain = CertificateDer::pem_file_iter(file("pem")).expect("the certificate is there");
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("the certificate is PEM");
            let key = PrivateKeyDer::from_pem_file(file("key")).expect("the key is there");
            builder.with_client_auth_cert(chain, key).expect("the key is one")
        }
    };
    config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.enable_sni = !tls.name.is_empty();
    let name = if tls.name.is_empty() { "none.test" } else { &tls.name };
    let name = ServerName::try_from(name.to_owned()).expect("the name is one");
    ClientConnection::new(Arc::new(config), name).expect("a connection can be made")
}

/// Which of the names that tests use a certificate contains.
fn names(leaf: &[u8]) -> Vec<&'static str> {
    let known = ["server.test", "one.test", "two.test"];
    known.into_iter().filter(|name| leaf.windows(name.len()).any(|part| part == name.as_bytes())).collect()
}

const TIMEOUT: Duration = Duration::from_secs(10);
