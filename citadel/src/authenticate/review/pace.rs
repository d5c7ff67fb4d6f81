//! Pure. Decides when a failing API server is asked again: after a pause that doubles, by one request first.

use std::time::{Duration, Instant};

/// Whether requests are admitted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// The API server responds.
    #[default]
    Healthy,
    /// It failed this often in a row; nothing is sent until then.
    Paused { failures: u32, until: Instant },
    /// A single request after a pause is under way; the others wait for its result, but not beyond `until`.
    Probing { failures: u32, until: Instant },
}

impl Pace {
    /// Admits a request, or returns how long nothing is admitted.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match *self {
            Self::Healthy => Ok(()),
            Self::Paused { until, .. } | Self::Probing { until, .. } if now < until => Err(until - now),
            Self::Paused { failures, .. } | Self::Probing { failures, .. } => {
                *self = Self::Probing { failures, until: now + PROBE };
                Ok(())
            }
        }
    }

    /// Records a failure. Returns whether an outage begins.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let failures = match *self {
            Self::Healthy => 0,
            Self::Probing { failures, .. } => failures,
            // Requests that were sent together fail together, which counts once.
            Self::Paused { .. } => return false,
        };
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
        *self = Self::Paused { failures: failures.saturating_add(1), until: now + pause };
        failures == 0
    }

    /// Records a response. Returns whether it ends an outage.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self) != Self::Healthy
    }
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// How long the result of a single request is waited for before another one is sent; longer than its timeout.
const PROBE: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other constructor")]
    fn pauses_double_and_each_ends_with_one_request() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        assert!(pace.admit(now).is_ok() && pace.admit(now).is_ok());
        assert!(pace.failed(now), "an outage begins");
        assert!(!pace.failed(now), "a request that was sent before it");
        for pause in [500, 1000, 2000, 4000, 8000, 10_000, 10_000].map(Duration::from_millis) {
            assert_eq!(pace.admit(now), Err(pause));
            now += pause;
            assert_eq!(pace.admit(now), Ok(()));
            assert_eq!(pace.admit(now), Err(PROBE), "one request only");
            assert!(!pace.failed(now));
        }
        now += LONGEST;
        assert_eq!(pace.admit(now), Ok(()));
        assert_eq!(pace.admit(now + PROBE), Ok(()), "the request has no result");
        assert!(pace.succeeded(), "the outage ends");
        assert!(!pace.succeeded());
        assert_eq!(pace.admit(now), Ok(()));
        assert!(pace.failed(now));
        assert_eq!(pace.admit(now), Err(FIRST));
    }
}
