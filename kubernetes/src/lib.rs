//! What the processes need of a Kubernetes API server: a client of it, and a Lease that makes one of several replicas
//! the writer.
//!
//! Imports go down this list only; a blank line ends a layer.

pub mod leader;

pub mod client;

pub mod lease;
pub mod mirror;
