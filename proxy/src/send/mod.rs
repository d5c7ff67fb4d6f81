//! Sends requests to endpoints: dialling with TLS, connection pools that belong to one thread and one endpoint, and
//! bodies. Threads share no lock and no channel.

mod lease;

mod pool;

mod connection;

pub mod body;

mod incoming;

mod error;

pub mod connect;

pub use connection::ConnectionKind;
pub use error::{Cut, SendError};
pub use incoming::{Incoming, IncomingError};
pub use lease::{Lease, Returned, Sent};
pub use pool::{Pool, Settings};
