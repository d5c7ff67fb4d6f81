//! Interoperation with an unmodified Envoy. As a client of our pilot, Envoy must accept all configuration and route
//! traffic by it; compared with our proxy, it must behave the same with the same file. These tests download Envoy
//! on first use, so they run only on request: `make interop`.

mod accept;
mod alike;
mod mutual;
mod sidecar;

mod plane;

use std::path::PathBuf;

use tests::program;

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// The path of the Envoy binary.
fn envoy() -> PathBuf {
    let found = program::run(&program::repository("deploy/tools/envoy"), &[] as &[&str]).text();
    PathBuf::from(found.trim())
}
