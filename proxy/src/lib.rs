//! The data plane: sidecar, ingress and egress gateway, and the capture rules that bring traffic to it.
//!
//! A connection passes through the stages accept, identify, route, policy, balance and send. Configuration flows one
//! way: `control` writes the shared state (`snapshot`, `credentials`, `telemetry`) that the stages read. A module
//! imports only modules below it in this list; a blank line ends a layer.

pub mod app;

pub mod admin;
pub mod dns;
pub mod redirect;

pub mod control;

pub mod pipeline;

pub mod accept;
pub mod balance;
pub mod identify;
pub mod policy;
pub mod route;
pub mod send;

pub mod snapshot;

pub mod filter;

pub mod format;

pub mod credentials;
pub mod telemetry;

pub mod http1;
pub mod http2;

pub mod io;
pub mod lookup;

pub mod matcher;

pub mod flow;
pub mod config;
