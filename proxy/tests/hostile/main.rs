//! Clients and upstreams that mean harm, or fail in every way there is, against a real `ostria-proxy`: each test says
//! which status, flag or log line they get, that others are served meanwhile, and that nothing is left behind.
//! `OSTRIA_HOSTILE_SCALE` (1 by default) multiplies how much is sent.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are a shell, and fail by panicking"
)]

mod bootstrap;
mod frames;
mod process;
mod upstream;

mod conformance;
mod crowd;
mod cut;
mod floods;
mod greeting;
mod http1;
mod http2;
mod origin;
mod origin_http2;
