//! The first bytes of a connection, in pieces of any size: the result of the inspection must not depend on the pieces,
//! and for a valid ClientHello it must equal that of the TLS library.

use api::model::listener::Transport;
use proxy::identify::sniff::{Inspection, MOST, Sniffed, inspect};
use rustls::server::Acceptor;

/// See the module.
pub fn run(data: &[u8]) {
    // A longer request line is recognized before its end.
    let data = &data[..data.len().min(4096)];
    for (tls, http) in [(true, true), (true, false), (false, true)] {
        pieces(data, tls, http);
    }
    // Our parser, like Envoy's library, refuses some messages that this library accepts; we treat them as plaintext.
    if let Inspection::Known(seen) = inspect(data, true, true)
        && seen.transport == Some(Transport::Tls)
    {
        check_against_the_library(data, &seen);
    }
}

/// A known result does not change with further bytes.
fn pieces(data: &[u8], tls: bool, http: bool) {
    let steps = (0..=data.len()).filter(|end| *end < 96 || end % 61 == 0 || *end == data.len());
    let mut known: Option<Sniffed> = None;
    for end in steps {
        match (inspect(&data[..end], tls, http), &known) {
            (Inspection::More, None) => assert!(end < MOST, "looking ends at a bound"),
            (Inspection::Known(seen), None) => known = Some(seen),
            (Inspection::Known(seen), Some(before)) => assert_eq!(seen, *before, "after {end} bytes"),
            (Inspection::More, Some(before)) => panic!("{before:?} is forgotten after {end} bytes"),
        }
    }
}

fn check_against_the_library(data: &[u8], seen: &Sniffed) {
    let mut acceptor = Acceptor::default();
    let mut bytes = data;
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return;
        }
    }
    let Ok(Some(accepted)) = acceptor.accept() else { return };
    let hello = accepted.client_hello();
    let expected = Sniffed {
        transport: Some(Transport::Tls),
        server_name: hello.server_name().map(str::to_ascii_lowercase),
        protocols: hello.alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default(),
    };
    // The library ignores server names that are IP addresses, which routing by name never uses.
    let named = expected.server_name.is_some();
    let seen = Sniffed { server_name: seen.server_name.clone().filter(|_| named), ..seen.clone() };
    assert_eq!(seen, expected);
}
