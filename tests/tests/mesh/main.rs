//! The promises that users get, each tried on a whole mesh of its own: real YAML in, real processes, namespaces,
//! certificates and traffic.

mod bookinfo;
mod gateway;
mod life;
mod mtls;
mod protocols;
mod refusal;
mod telemetry;
mod unfamiliar;
mod verbs;

/// This crate's program that looks at the node's network from inside.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");
