//! Pure. Decides when to retry, and when to renew.

use std::time::{Duration, SystemTime};

/// Waits between attempts: none before the first, then doubled after each failure up to a limit, with jitter so
/// that a thousand proxies do not reconnect at the same moment.
#[derive(Debug, Clone)]
pub(super) struct BackOff {
    failures: u32,
    longest: Duration,
}

impl BackOff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// Resets the wait after a successful attempt.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns the wait after another failed attempt; `random` is between 0 and 1.
    pub(super) fn failed(&mut self, random: f64) -> Duration {
        let full = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        full.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

/// How long to wait for a moment: at most an hour at a time, because the clock may be set meanwhile.
pub(super) fn wait_until(moment: SystemTime, now: SystemTime) -> Duration {
    moment.duration_since(now).unwrap_or_default().min(Duration::from_secs(3600))
}

const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_over_after_a_success() {
        let mut back_off = BackOff::new(Duration::from_secs(10));
        let waits: Vec<u128> = (0..9).map(|_| back_off.failed(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        back_off.succeeded();
        assert_eq!(back_off.failed(0.0), Duration::from_millis(50));
        for _ in 0..100 {
            assert!(back_off.failed(0.3) <= Duration::from_secs(10));
        }
    }

    #[test]
    fn a_past_time_is_due_at_once_and_a_distant_one_is_checked_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (offset, expected) in [(-5i64, 0), (0, 0), (30, 30), (100_000, 3600)] {
            let moment = now.checked_add(Duration::from_secs(offset.max(0).unsigned_abs())).unwrap()
                - Duration::from_secs((-offset).max(0).unsigned_abs());
            assert_eq!(wait_until(moment, now), Duration::from_secs(expected), "{offset}");
        }
    }
}
