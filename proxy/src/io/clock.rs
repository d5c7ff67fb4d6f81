//! The clock for the time limits of connections.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The current time; virtual in tests that pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Time since the process began, the same on all threads.
pub fn uptime(now: Instant) -> Duration {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    // One second ahead, so that zero can mean "never".
    now.saturating_duration_since(*BEGIN.get_or_init(|| now)) + Duration::from_secs(1)
}
