//! Why a request got no response, or not all of it.

use super::connect::ConnectError;
use crate::{http1, http2};

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Connecting failed.
    #[error("connecting failed")]
    Connect(#[from] ConnectError),
    /// The connection ended before the response began.
    #[error("the connection ended before the response")]
    Closed {
        /// Whether the endpoint may have received part of the request.
        sent: bool,
        /// Whether the connection had served a request before.
        reused: bool,
    },
    /// The stream was reset before the response began.
    #[error("the stream was reset before the response")]
    Reset,
    /// The upstream did not process the request.
    #[error("the stream was refused")]
    Refused,
    /// An HTTP/2 protocol error.
    #[error("the upstream broke the protocol")]
    Protocol(#[source] h2::Error),
    /// An invalid HTTP/1 response.
    #[error("the upstream broke the protocol")]
    Malformed(#[source] http1::Invalid),
    /// Reading the request's body from the client failed.
    #[error("the request's body failed")]
    Body,
}

impl SendError {
    /// Whether no upstream processed the request, so that sending it again is safe.
    pub fn unsent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Closed { sent: false, .. } | Self::Refused)
    }

    /// Converts a failure on an HTTP/1 connection.
    pub(super) fn sequential(failure: http1::client::Failure, reused: bool) -> Self {
        match failure {
            http1::client::Failure::Closed { sent } => Self::Closed { sent, reused },
            http1::client::Failure::Body => Self::Body,
            http1::client::Failure::Invalid(invalid) => Self::Malformed(invalid),
        }
    }

    /// Converts a failure on an HTTP/2 connection.
    pub(super) fn multiplexed(failure: http2::client::Failure, reused: bool) -> Self {
        let error = match failure {
            http2::client::Failure::Closed => return Self::Closed { sent: false, reused },
            http2::client::Failure::Body => return Self::Body,
            // The proxy resets the stream itself; Envoy reports it as a reset too.
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

/// How an upstream ended a request early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// By a protocol error, its own or one that it reports.
    Protocol,
    /// By refusing the request unprocessed.
    Refused,
    /// By resetting the stream.
    Reset,
    /// By closing the connection.
    Closed,
}

impl Cut {
    pub(super) fn of(error: &h2::Error) -> Self {
        // A remote GOAWAY covers the streams above the last one that the upstream processes.
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
