//! The promises that users get, each tried on a whole mesh of its own: real YAML in, real processes, namespaces,
//! certificates and traffic.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

mod bookinfo;
mod churn;
mod connections;
mod faults;
mod gateway;
mod host_ports;
mod life;
mod mtls;
mod policies;
mod protocols;
mod refusal;
mod renewal;
mod scale;
mod soak;
mod telemetry;
mod unfamiliar;
mod verbs;

/// This crate's program that looks at the node's network from inside.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");
