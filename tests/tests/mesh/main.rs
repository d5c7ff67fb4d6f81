//! The promises to users, each tested on its own whole mesh: real YAML, processes, namespaces, certificates and
//! traffic.
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
mod pages;
mod policies;
mod protocols;
mod refusal;
mod renewal;
mod scale;
mod soak;
mod telemetry;
mod unfamiliar;
mod verbs;

/// The path of this crate's program that runs inside the node's network.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");
