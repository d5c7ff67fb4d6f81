//! Tests of the whole mesh: starts the built binaries on this machine, sends them the requests that users send, and
//! checks that nothing of them remains. A failed check ends the test with what was observed, so these functions
//! panic instead of returning errors. No part of this crate is shipped.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

pub mod mesh;
pub mod origin;
pub mod plane;

pub mod load;
pub mod pair;

pub mod wire;

pub mod page;
pub mod twin;

pub mod agent;
pub mod recorded;
pub mod browser;
pub mod metrics;
pub mod remains;
pub mod report;
pub mod request;

pub mod port;
pub mod program;

pub mod certificates;
pub mod cleanup;

pub mod wait;
