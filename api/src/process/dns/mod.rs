//! The code that the DNS servers of the mesh share (that of the node under `ostria up` and that of each proxy):
//! sockets with limits, and building responses. The servers themselves resolve the names.

mod server;

pub mod message;

pub use server::{Responder, serve};
