//! First bytes from unauthenticated clients: garbage, half a TLS ClientHello, one sent byte by byte or without end,
//! TLS where plaintext is expected and vice versa, on a port that detects the protocol as a sidecar's inbound port
//! does.

use crate::process::{Process, Setup, rest};
use crate::upstream::{head, polite, upstream};
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A certificate for the listeners, and the root that clients trust.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["known.example".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("server.key"), made.signing_key.serialize_pem()).unwrap();
        Self { folder, certificate: made.cert.der().clone() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A client with this server name and these ALPN protocols.
    fn client(&self, name: &str, protocols: &[&str]) -> rustls::ClientConnection {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        rustls::ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// The ClientHello of such a client.
    fn hello(&self) -> Vec<u8> {
        let mut bytes = vec![];
        self.client("known.example", &["h2", "http/1.1"]).write_tls(&mut bytes).unwrap();
        bytes
    }
}

/// Starts a proxy whose upstream responds with the bytes that it received.
fn start(authority: &Authority) -> Process {
    let echo = upstream(|mut stream| {
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {read}\r\n\r\n");
            if stream.write_all(&[text.as_bytes(), &bytes[..read]].concat()).is_err() {
                return;
            }
        }
    });
    Setup { certificates: Some(authority.path().to_owned()), ..Setup::to(echo) }.start()
}

/// Sends a request over TLS, in the pieces that the closure produces. Returns the response.
fn inside_tls(mut tls: rustls::ClientConnection, mut stream: TcpStream) -> std::io::Result<String> {
    let mut tls = rustls::Stream::new(&mut tls, &mut stream);
    tls.write_all(b"GET / HTTP/1.1\r\nhost: known.example\r\nconnection: close\r\n\r\n")?;
    let mut response = vec![];
    match tls.read_to_end(&mut response) {
        Err(error) if response.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&response).into_owned()),
    }
}

#[test]
fn unrecognized_bytes_are_forwarded_as_opaque_tcp() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    for garbage in [
        &b"\x00\xff\xfe\x01 no protocol at all\r\n"[..],
        b"\x16\x03\xff\xff\xff garbage that begins like TLS",
        b"PRI * HTTP/9",
    ] {
        let mut stream = proxy.connect("inbound");
        stream.write_all(garbage).unwrap();
        let response = head(&mut stream).unwrap();
        assert!(response.contains(&format!("content-length: {}", garbage.len())), "{response}");
        proxy.serves();
    }
    proxy.wait_idle();
}

#[test]
fn incomplete_first_bytes_wait_for_the_timeout_and_are_then_opaque() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let hello = authority.hello();
    for half in [&hello[..hello.len() / 2], &hello[..1], b"GET / HT"] {
        let mut stream = proxy.connect("inbound");
        let began = Instant::now();
        stream.write_all(half).unwrap();
        let response = head(&mut stream).unwrap();
        assert!(response.contains(&format!("content-length: {}", half.len())), "{response}");
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(900) && waited < Duration::from_secs(5), "waited {waited:?}");
    }
    // A client that disconnects during protocol detection leaves nothing behind.
    for _ in 0..100 {
        proxy.connect("inbound").write_all(&hello[..10]).unwrap();
    }
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_read() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let mut tls = authority.client("known.example", &["http/1.1"]);
    let mut hello = vec![];
    tls.write_tls(&mut hello).unwrap();
    let mut stream = proxy.connect("inbound");
    for byte in hello {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    let response = inside_tls(tls, stream).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn a_hello_without_end_is_not_read_without_end() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let before = proxy.memory();
    // A ClientHello declares its length; this one is followed by record after record, but is never complete.
    let record = [&[22, 3, 1, 0x40, 0][..], &[7; 0x4000]].concat();
    let mut first = record.clone();
    first[5..9].copy_from_slice(&[1, 0, 0xff, 0xff]);
    let streams: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = proxy.connect("inbound");
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let _ = stream.write_all(&first);
            for _ in 0..20 {
                if stream.write_all(&record).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    assert!(proxy.memory() < before + 20 * 512, "{before} KiB before, {} KiB after", proxy.memory());
    proxy.serves();
    drop(streams);
    proxy.wait_idle();
}

#[test]
fn an_unknown_sni_is_reset_and_counted() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let tls = authority.client("unknown.example", &["http/1.1"]);
    inside_tls(tls, proxy.connect("inbound")).unwrap_err();
    proxy.wait_stat("listener.inbound.no_filter_chain_match", |count| count == 1);
    proxy.said("no filter chain matches the connection");
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn an_unknown_alpn_is_ignored_as_in_envoy() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let tls = authority.client("known.example", &["smtp"]);
    let response = inside_tls(tls, proxy.connect("inbound")).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn plaintext_on_a_tls_port_and_tls_on_a_plaintext_port_are_ended() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let mut stream = proxy.connect("tls");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: known.example\r\n\r\n").unwrap();
    let response = rest(&mut stream);
    assert!(!response.contains("HTTP/1.1 200"), "{response}");
    proxy.wait_stat("listener.tls.ssl.connection_error", |count| count == 1);
    proxy.said("TLS handshake failed");
    let mut stream = proxy.connect("web");
    stream.write_all(&authority.hello()).unwrap();
    let response = rest(&mut stream);
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 400"), "{response}");
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn abandoned_handshakes_leave_nothing_behind() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let attack = |times: usize| {
        for _ in 0..times {
            let mut stream = proxy.connect("tls");
            stream.write_all(&authority.hello()).unwrap();
            let mut byte = [0];
            // The proxy has responded, and waits for the rest.
            stream.read_exact(&mut byte).unwrap();
        }
        proxy.wait_idle();
    };
    attack(50);
    let (memory, descriptors) = (proxy.memory(), proxy.descriptors());
    attack(300 * crate::process::scale());
    proxy.wait_memory(memory);
    proxy.wait_descriptors(descriptors);
    proxy.serves();
}

#[test]
fn records_that_were_tampered_with_end_the_connection() {
    let authority = Authority::new();
    let mut proxy = start(&authority);
    let mut tls = authority.client("known.example", &["http/1.1"]);
    let mut stream = proxy.connect("tls");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    stream.write_all(&[23, 3, 3, 0, 30]).unwrap();
    stream.write_all(&[0x55; 30]).unwrap();
    rest(&mut stream);
    proxy.wait_idle();
    proxy.serves();
}

#[test]
fn valid_clients_are_routed_by_their_protocol() {
    let authority = Authority::new();
    let setup = Setup { certificates: Some(authority.path().to_owned()), ..Setup::to(polite()) };
    let proxy = setup.start();
    let mut plain = proxy.connect("inbound");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert!(rest(&mut plain).ends_with("hello"));
    let tls = authority.client("known.example", &["http/1.1"]);
    assert!(inside_tls(tls, proxy.connect("inbound")).unwrap().ends_with("hello"));
}
