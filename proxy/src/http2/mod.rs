//! HTTP/2 on a byte stream, both ends, over h2: which settings a connection has, when a silent one is given up, how
//! bodies go out, and how errors read. A stream runs in the task that it serves, without a channel to the connection's.

pub mod client;
pub mod server;

mod body;
mod pump;

mod keep_alive;

pub use body::Body;

#[cfg(test)]
mod tests;

/// What a stream may receive before it has to be read.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 4;
/// Bytes that a stream holds for a peer that does not read.
const SEND_BUFFER: usize = 400 * 1024;
/// Streams of a connection that we had to reset because they broke a rule.
const BROKEN_STREAMS: usize = 1024;
