//! Pure. Decides when a cluster's names are looked up again, by Envoy's rules: after the records' TTL or at the
//! configured rate, delayed by a random part of the jitter; after a failure with exponential back-off.

use api::model::cluster::NameLookup;
use std::time::Duration;

/// The result of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The name was resolved; its records have this TTL, if known.
    Resolved(Option<Duration>),
    /// The lookup failed, for the nth time in a row.
    Failed(u32),
}

/// The wait until the next lookup; `random` is any number.
pub fn wait(settings: &NameLookup, outcome: Outcome, random: u64) -> Duration {
    let below = |limit: Duration| {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.checked_rem(limit).unwrap_or(0))
    };
    let wait = match (outcome, settings.failure) {
        (Outcome::Resolved(ttl), _) => {
            // A record with a TTL of zero must not be cached, so its TTL cannot set the rate.
            let ttl = ttl.filter(|ttl| settings.respect_ttl && !ttl.is_zero());
            ttl.unwrap_or(settings.refresh) + below(settings.jitter)
        }
        (Outcome::Failed(_), None) => settings.refresh,
        (Outcome::Failed(times), Some(pace)) => {
            let doubled = 1u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
            below(pace.base.saturating_mul(doubled).min(pace.longest))
        }
    };
    wait.clamp(SHORTEST, LONGEST)
}

/// The shortest wait, whatever the TTL or the configured interval.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest wait, whatever the TTL.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::cluster::FailurePace;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_follows_the_records_where_it_should_and_the_rate_elsewhere() {
        let rate = NameLookup { refresh: s(60), ..NameLookup::default() };
        let ttl = NameLookup { respect_ttl: true, ..rate };
        let jittered = NameLookup { jitter: Duration::from_millis(500), ..ttl };
        let table = [
            (rate, Outcome::Resolved(Some(s(7))), 0, s(60)),
            (rate, Outcome::Resolved(None), 0, s(60)),
            (ttl, Outcome::Resolved(Some(s(7))), 0, s(7)),
            (ttl, Outcome::Resolved(Some(s(0))), 0, s(60)),
            (ttl, Outcome::Resolved(None), 0, s(60)),
            (ttl, Outcome::Resolved(Some(s(u64::from(u32::MAX)))), 0, s(86_400)),
            (ttl, Outcome::Failed(1), 0, s(60)),
            (ttl, Outcome::Failed(9), 7, s(60)),
            (jittered, Outcome::Resolved(Some(s(7))), 499, Duration::from_millis(7499)),
            (jittered, Outcome::Resolved(Some(s(7))), 500, s(7)),
            (jittered, Outcome::Resolved(None), 1_000_001, Duration::from_millis(60_001)),
            (jittered, Outcome::Failed(1), 499, s(60)),
            (NameLookup { refresh: Duration::from_millis(2), ..rate }, Outcome::Resolved(None), 0, SHORTEST),
        ];
        for (row, (settings, outcome, random, expected)) in table.into_iter().enumerate() {
            assert_eq!(wait(&settings, outcome, random), expected, "row {row}");
        }
    }

    #[test]
    fn failures_wait_a_random_part_of_a_time_that_doubles_up_to_a_limit() {
        let pace = FailurePace { base: s(1), longest: s(10) };
        let settings = NameLookup { failure: Some(pace), ..NameLookup::default() };
        let longest =
            |times| (0..20_000).map(|random| wait(&settings, Outcome::Failed(times), random)).max().unwrap();
        let expected = [999, 1999, 3999, 7999, 9999, 9999].map(Duration::from_millis);
        assert_eq!([1, 2, 3, 4, 5, 60].map(longest), expected);
        assert_eq!(wait(&settings, Outcome::Failed(3), 0), SHORTEST);
        assert_eq!(wait(&settings, Outcome::Failed(u32::MAX), 9999), Duration::from_millis(9999));
    }
}
