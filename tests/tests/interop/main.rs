//! An unmodified Envoy on both ends: as a client of our pilot it must accept everything it is sent and carry traffic by
//! it, and as a twin of our proxy it must answer as ours does from the same file.
//! These tests fetch Envoy the first time, so they run only when asked for: `make interop`.

mod accept;
mod alike;
mod mutual;
mod sidecar;

mod plane;

use std::path::PathBuf;

use tests::program;

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// Where Envoy is.
fn envoy() -> PathBuf {
    let found = program::run(&program::repository("deploy/tools/envoy"), &[] as &[&str]).text();
    PathBuf::from(found.trim())
}
