//! An echo server and its client: what a mesh is tried and tested with.
//!
//! The server answers with what it saw and misbehaves on request; the client calls, counts and
//! prints one JSON object. Both speak every protocol a mesh has to carry, and neither knows of one.
//! Modules are listed top-down: a module uses only those below it.

pub mod client;
pub mod server;

pub mod config;

pub mod control;
pub mod message;
pub mod report;
pub mod seen;
pub mod target;

pub mod quantity;
