//! HTTP/2 on a byte stream, both client and server, based on h2: connection settings, keep-alive, sending bodies,
//! and error texts. A stream runs in the task that it serves, without a channel to the connection's task.

pub mod client;
pub mod server;

mod body;
mod pump;

mod keep_alive;

pub use body::Body;

#[cfg(test)]
mod tests;

/// The receive window of a stream in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// The receive window of a connection in bytes, for all its streams.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 4;
/// The most bytes that a stream buffers for a peer that does not read.
const SEND_BUFFER: usize = 400 * 1024;
/// The most streams that we may reset for protocol errors before the connection is closed.
const BROKEN_STREAMS: usize = 1024;
