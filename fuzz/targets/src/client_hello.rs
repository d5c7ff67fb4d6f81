//! The first bytes of a connection, in pieces of every size: what is found must not depend on how they arrive, and of a
//! hello that the TLS library understands the same names must be read.

use api::model::listener::Transport;
use proxy::identify::sniff::{Inspection, MOST, Sniffed, inspect};
use rustls::server::Acceptor;

/// See the module.
pub fn run(data: &[u8]) {
    // Beyond this a request line is taken for one before it has ended.
    let data = &data[..data.len().min(4096)];
    for (tls, http) in [(true, true), (true, false), (false, true)] {
        pieces(data, tls, http);
    }
    // What is malformed for us, as for Envoy's library, may be good enough for ours: then it is no TLS to us.
    if let Inspection::Known(seen) = inspect(data, true, true)
        && seen.transport == Some(Transport::Tls)
    {
        check_against_the_library(data, &seen);
    }
}

/// Once something is known, further bytes do not change it.
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
    // The library keeps no name that is an address; who routes by names has no use for one either way.
    let named = expected.server_name.is_some();
    let seen = Sniffed { server_name: seen.server_name.clone().filter(|_| named), ..seen.clone() };
    assert_eq!(seen, expected);
}
