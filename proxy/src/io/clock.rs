//! The clock for the time limits of connections.

use std::time::Instant;

/// The current time; virtual in tests that pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
