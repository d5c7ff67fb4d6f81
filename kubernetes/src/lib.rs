//! What the processes need of a Kubernetes API server: a client of it, the versions that it serves, watches that go on after
//! its failures, a Lease that makes one of several replicas the writer, and the certificates by which it verifies webhooks.
//!
//! Imports go down this list only; a blank line ends a layer.

pub mod leader;
pub mod registration;
pub mod user;

pub mod follower;

pub mod client;

pub mod lease;
pub mod served;
pub mod mirror;
