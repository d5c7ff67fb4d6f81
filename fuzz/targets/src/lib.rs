//! What every fuzz target does with its bytes. A body is a plain function of bytes that panics when a property does not
//! hold; the fuzzer calls it with bytes of its own, and `tests/replay.rs` with the corpus and with past findings, so
//! that no finding needs a fuzzer to come back. Exists beside the product because properties span its crates: what pilot
//! writes, the proxy takes.

pub mod bootstrap;
pub mod certificate;
pub mod client_hello;
pub mod csr;
pub mod discovery;
pub mod dns;
pub mod http1;
pub mod http2;
pub mod manifest;
pub mod request;
pub mod resource;
pub mod review;
pub mod route;
pub mod token;
pub mod xds;

pub mod exercise;
pub mod mutate;
pub mod words;

/// A target: its name, which is also the name of its binary and of its folder of the corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("bootstrap", bootstrap::run),
    ("certificate", certificate::run),
    ("client_hello", client_hello::run),
    ("csr", csr::run),
    ("discovery", discovery::run),
    ("dns", dns::run),
    ("http1", http1::run),
    ("http2", http2::run),
    ("manifest", manifest::run),
    ("request", request::run),
    ("resource", resource::run),
    ("review", review::run),
    ("route", route::run),
    ("token", token::run),
    ("xds", xds::run),
];
