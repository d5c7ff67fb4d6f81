//! The proxy's HTTP pages: Envoy's administration interface on the loopback address, and the pages that Istio's
//! agent serves (health, merged metrics, the application's probes). They read the seams and never block a proxied
//! request.

mod agent;
mod envoy;

mod probe;
mod scrape;

mod clusters;
mod dump;
mod certs;
mod listeners;
mod stats;

mod state;

mod fetch;

pub use agent::{agent, health, metrics};
pub use envoy::envoy;
pub use state::{Admin, Command, Needs, Shared};

#[cfg(test)]
mod tests;
