//! The whole mesh under test: starts the built binaries on this machine, asks them what users ask, and checks
//! that nothing of them is left. A test fails with what was seen, so these functions panic rather than return
//! errors; nothing of this is part of the product.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

pub mod mesh;
pub mod origin;
pub mod plane;

pub mod load;
pub mod wire;

pub mod twin;

pub mod agent;
pub mod browser;
pub mod metrics;
pub mod remains;
pub mod report;
pub mod request;

pub mod program;

pub mod guardian;

pub mod wait;
