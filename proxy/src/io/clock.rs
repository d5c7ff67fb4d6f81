//! The clock by which connections are timed.

use std::time::Instant;

/// The time now; virtual in tests that pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
