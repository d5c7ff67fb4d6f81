//! Malicious and failing clients and upstreams against a real `ostria-proxy`. Each test checks which status, flag
//! or log line results, that other clients are served meanwhile, and that nothing remains afterwards.
//! `OSTRIA_HOSTILE_SCALE` (1 by default) multiplies the amount of traffic.

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
