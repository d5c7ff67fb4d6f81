//! HTTP/1.1 on a byte stream, both client and server. Framing decides where one request ends and the next begins,
//! so an ambiguous message is refused here with a reason, never repaired and passed on. A connection is driven by
//! the task that it serves: it needs no task of its own, no channel, and no buffer while it is idle.

pub mod client;
pub mod server;

mod connection;

mod framer;
mod reader;

mod body;
mod outbox;

mod buffer;
mod timer;
mod upgrade;

pub mod encode;

pub mod chunked;
pub mod date;
pub mod switch;

pub mod framing;

pub mod head;

mod invalid;

pub use body::{Body, BodyError};
pub use invalid::Invalid;
pub use upgrade::{Duplex, Upgraded};

#[cfg(test)]
mod tests;
