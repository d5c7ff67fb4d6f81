//! An echo server and its client, for trials and tests of a mesh.
//!
//! The server returns what it received, and delays or fails on request. The client sends requests, counts responses and
//! prints one JSON object. Both speak every protocol that a mesh carries, and do not know that they run in a mesh.
//! Modules are listed top-down: a module uses only modules below it.

pub mod client;
pub mod server;

pub mod config;

pub mod control;
pub mod message;
pub mod report;
pub mod seen;
pub mod target;

pub mod quantity;
