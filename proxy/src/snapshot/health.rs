//! Pure. An endpoint's health as observed in its responses (outlier detection), shared by all threads as in Envoy. With
//! separate counts for each thread, an endpoint would be ejected late and unevenly. Time is an argument.

use api::model::cluster::Outlier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Consecutive failures of an endpoint, and its ejection.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    /// Zero if there is nothing to reset; checked without the lock.
    failures: AtomicU32,
    /// The end of its ejection, in milliseconds of `uptime`; 0: not ejected.
    ejected_until: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    server_errors: u32,
    gateway_errors: u32,
    /// Increases with each ejection, and decreases with each interval without one.
    ejections: u32,
    last_ejection: Duration,
}

/// Number of ejections in a cluster. A change of the number shows that an endpoint was ejected, without a scan of the
/// endpoints.
#[derive(Debug, Default)]
pub struct Ejections(AtomicU64);

impl Ejections {
    /// The number of ejections.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Counts an ejection that was just made.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// What a response shows about an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It succeeded.
    Good,
    /// A 5xx response other than a gateway error.
    ServerError,
    /// A gateway error (502 to 504), or no response.
    GatewayError,
}

impl Verdict {
    /// The verdict for a response code.
    pub fn of_code(code: u16) -> Self {
        match code {
            502..=504 => Self::GatewayError,
            500..=599 => Self::ServerError,
            _ => Self::Good,
        }
    }
}

/// Whether one more of `all` endpoints may be ejected when `ejected` already are. As in Envoy, the percentage includes
/// the new one: with 10 %, a cluster of fewer than ten endpoints ejects none.
pub fn may_eject(ejected: usize, all: usize, rules: &Outlier) -> bool {
    (ejected + 1) * 100 <= all * rules.max_percent as usize
}

impl EndpointHealth {
    /// Whether the endpoint is ejected at `now` (time since the process began).
    pub fn ejected(&self, now: Duration) -> bool {
        self.ejected_until(now).is_some()
    }

    /// The end of the endpoint's ejection at `now`; `None`: it is not ejected.
    pub fn ejected_until(&self, now: Duration) -> Option<Duration> {
        let until = self.ejected_until.load(Ordering::Relaxed);
        (until != 0 && millis(now) < until).then(|| Duration::from_millis(until))
    }

    /// Records a verdict. Returns whether the endpoint has failed often enough to be ejected; the caller then calls
    /// `eject` if the limit on ejected endpoints allows it.
    pub fn note(&self, verdict: Verdict, rules: &Outlier) -> bool {
        if verdict == Verdict::Good {
            if self.failures.load(Ordering::Relaxed) != 0 {
                let mut state = self.held();
                state.server_errors = 0;
                state.gateway_errors = 0;
                self.failures.store(0, Ordering::Relaxed);
            }
            return false;
        }
        let mut state = self.held();
        state.server_errors += 1;
        state.gateway_errors = if verdict == Verdict::GatewayError { state.gateway_errors + 1 } else { 0 };
        self.failures.store(state.server_errors, Ordering::Relaxed);
        let reached = |count: u32, limit: Option<u32>| limit.is_some_and(|limit| limit > 0 && count >= limit);
        reached(state.server_errors, rules.consecutive_5xx)
            || reached(state.gateway_errors, rules.consecutive_gateway)
    }

    /// Ejects the endpoint from `now` on.
    pub fn eject(&self, now: Duration, rules: &Outlier) {
        let mut state = self.held();
        let back = state.last_ejection + rules.base_ejection * state.ejections;
        let quiet = now.saturating_sub(back);
        let forgiven = quiet.as_millis() / rules.interval.as_millis().max(1);
        state.ejections = state.ejections.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX)) + 1;
        state.last_ejection = now;
        state.server_errors = 0;
        state.gateway_errors = 0;
        self.failures.store(0, Ordering::Relaxed);
        let longest = rules.max_ejection.max(rules.base_ejection);
        let time = rules.base_ejection.saturating_mul(state.ejections).min(longest);
        self.ejected_until.store(millis(now + time).max(1), Ordering::Relaxed);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Outlier {
        Outlier {
            consecutive_5xx: Some(3),
            consecutive_gateway: Some(2),
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_percent: 100,
        }
    }

    #[test]
    fn only_failures_in_a_row_count() {
        use Verdict::{GatewayError as G, Good, ServerError as S};
        for (verdicts, expected) in [
            (vec![S, S, S], true),
            (vec![S, S, Good, S], false),
            (vec![G, G], true),
            (vec![G, S, G], true),
            (vec![G, S], false),
            (vec![Good], false),
        ] {
            let health = EndpointHealth::default();
            let last = verdicts.iter().fold(false, |_, verdict| health.note(*verdict, &rules()));
            assert_eq!(last, expected, "{verdicts:?}");
        }
    }

    #[test]
    fn the_share_of_ejected_endpoints_counts_with_the_next_one() {
        for (ejected, all, max_percent, expected) in [
            (0, 1, 10, false),
            (0, 9, 10, false),
            (0, 10, 10, true),
            (1, 10, 10, false),
            (1, 19, 10, false),
            (1, 20, 10, true),
            (0, 1, 99, false),
            (0, 1, 100, true),
            (0, 2, 50, true),
            (1, 2, 50, false),
            (1, 2, 100, true),
            (0, 10, 0, false),
            (0, 0, 100, false),
        ] {
            let rules = Outlier { max_percent, ..rules() };
            assert_eq!(may_eject(ejected, all, &rules), expected, "{ejected} of {all}, {max_percent} %");
        }
    }

    #[test]
    fn an_ejection_ends_and_the_next_one_lasts_longer() {
        let health = EndpointHealth::default();
        let at = Duration::from_secs;
        health.eject(at(100), &rules());
        assert!(health.ejected(at(129)));
        assert!(!health.ejected(at(130)));
        health.eject(at(131), &rules());
        assert!(health.ejected(at(190)));
        assert!(!health.ejected(at(191)));
    }

    #[test]
    fn a_long_quiet_time_forgives() {
        let health = EndpointHealth::default();
        let at = Duration::from_secs;
        health.eject(at(100), &rules());
        health.eject(at(1000), &rules());
        assert!(health.ejected(at(1029)));
        assert!(!health.ejected(at(1030)));
    }
}
