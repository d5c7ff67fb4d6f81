//! The mutating admission webhook. Kubernetes (or `ostria up`) sends it each pod before the pod is created; it responds
//! with the JSON patch that adds the sidecar.
//!
//! A review passes through fixed stages: parse, decide, render, compare, respond. Everything between request and
//! response bytes is a plain function of the review and the settings; only `app`, `control`, `serve` and `credential` do
//! I/O.
//! Imports go down this list only; a blank line ends a layer.

pub mod app;

pub mod control;
pub mod serve;

pub mod pipeline;

pub mod decide;
pub mod patch;
pub mod render;

pub mod credential;
pub mod metrics;

pub mod config;
pub mod excerpt;
pub mod flow;
