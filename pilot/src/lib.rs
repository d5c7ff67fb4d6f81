//! Pilot, the control plane: reads users' configuration, validates it, and serves each proxy its part over xDS.
//!
//! Imports go down this list only; a blank line ends a layer.

pub mod app;

pub mod admin;
pub mod cluster;

pub mod serve;
pub mod webhook;
pub mod status;
pub mod pipeline;
pub mod certificate;

pub mod review;
pub mod replica;

pub mod offer;
pub mod source;
pub mod validate;

pub mod generate;
pub mod relation;

pub mod verdict;

pub mod snapshot;

pub mod catalog;

mod check;

pub mod metrics;
pub mod revision;
pub mod flow;
pub mod config;
