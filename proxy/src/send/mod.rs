//! Requests and connections out: dialling with TLS, pools of connections that belong to one thread and one endpoint,
//! and bodies on their way. No lock and no channel between threads.

mod lease;

mod pool;

mod connection;

pub mod body;
pub mod connect;

mod incoming;

pub use connection::Flavor;
pub use incoming::{Incoming, IncomingError};
pub use lease::{Lease, Returned, Sent};
pub use pool::Pool;

use crate::{http1, http2};
use connect::ConnectError;
use std::time::Duration;

/// How requests are sent to a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Requests per connection; 0: unlimited.
    pub max_requests: u32,
    /// Close connections that were idle this long.
    pub idle_timeout: Option<Duration>,
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection could be made.
    #[error("connecting failed")]
    Connect(#[from] ConnectError),
    /// The connection ended before the response began.
    #[error("the connection ended before the response")]
    Closed {
        /// At least a part of the request may have been seen.
        sent: bool,
        /// The connection had served a request before.
        reused: bool,
    },
    /// The stream was reset before the response began.
    #[error("the stream was reset before the response")]
    Reset,
    /// The upstream has not looked at the request.
    #[error("the stream was refused")]
    Refused,
    /// What came back is no HTTP.
    #[error("the upstream broke the protocol")]
    Protocol(#[source] h2::Error),
    /// The same, on an HTTP/1 connection.
    #[error("the upstream broke the protocol")]
    Malformed(#[source] http1::Invalid),
    /// The request's own body ended in an error: the client went away.
    #[error("the request's body failed")]
    Body,
}

impl SendError {
    /// Whether the request reached nobody, so that sending it again repeats nothing.
    pub fn unsent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Closed { sent: false, .. } | Self::Refused)
    }

    /// Sorts a failure on an HTTP/1 connection.
    fn sequential(failure: http1::client::Failure, reused: bool) -> Self {
        match failure {
            http1::client::Failure::Closed { sent } => Self::Closed { sent, reused },
            http1::client::Failure::Body => Self::Body,
            http1::client::Failure::Invalid(invalid) => Self::Malformed(invalid),
        }
    }

    /// Sorts a failure on an HTTP/2 connection.
    fn multiplexed(failure: http2::client::Failure, reused: bool) -> Self {
        let error = match failure {
            http2::client::Failure::Closed => return Self::Closed { sent: false, reused },
            http2::client::Failure::Body => return Self::Body,
            // Which we reset, and Envoy tells so.
            http2::client::Failure::TooLarge => return Self::Reset,
            http2::client::Failure::Stream(error) => error,
        };
        match Cut::of(&error) {
            Cut::Protocol => Self::Protocol(error),
            Cut::Refused => Self::Refused,
            Cut::Closed => Self::Closed { sent: true, reused },
            Cut::Reset => Self::Reset,
        }
    }
}

/// How an upstream ended an exchange before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// By what is no HTTP, or because it found ours to be none.
    Protocol,
    /// Without a look at the request.
    Refused,
    /// By a reset of the stream.
    Reset,
    /// With its connection.
    Closed,
}

impl Cut {
    fn of(error: &h2::Error) -> Self {
        // Of streams above the last one that it will look at.
        let left_out = error.is_go_away() && error.is_remote();
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => Self::Refused,
            _ if left_out => Self::Refused,
            _ if error.is_io() => Self::Closed,
            _ if error.is_library() => Self::Protocol,
            Some(h2::Reason::PROTOCOL_ERROR) => Self::Protocol,
            _ => Self::Reset,
        }
    }
}
