//! The mutating admission webhook: Kubernetes (or `ostria up`) shows it each pod before the pod exists, and it answers
//! with the JSON patch that adds the sidecar.
//!
//! A review goes one way: parsed, decided, rendered, compared, answered. Everything between the bytes in and the bytes
//! out is a plain function of the review and the settings; only `app`, `serve` and `credential` touch the machine.
//! Imports go down this list only; a blank line ends a layer.

pub mod app;

pub mod serve;

pub mod pipeline;

pub mod decide;
pub mod patch;
pub mod render;

pub mod credential;
pub mod metrics;

pub mod config;
pub mod flow;
