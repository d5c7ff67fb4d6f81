//! Pure. Limits the rate of requests of each identity, so that a workload in a restart loop, or a stolen token, cannot
//! keep the authority from serving others.

use api::identity::SpiffeId;
use std::collections::HashMap;
use std::time::Instant;

/// A token bucket for each identity, refilled at `rate` per second up to `burst`.
#[derive(Debug)]
pub struct Limiter {
    rate: f64,
    burst: f64,
    buckets: HashMap<SpiffeId, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// Creates a limiter for `rate` requests per second and identity, with a burst of ten seconds' worth: the pods of a
    /// large deployment share an identity and start together. A rate of 0 means no limit.
    pub fn new(rate: u32) -> Self {
        Self { rate: f64::from(rate), burst: f64::from(rate) * BURST_SECONDS, buckets: HashMap::new() }
    }

    /// Takes a token of `id`; false if none is left.
    pub fn admit(&mut self, id: &SpiffeId, now: Instant) -> bool {
        if self.rate == 0.0 {
            return true;
        }
        if self.buckets.len() >= MAX_IDENTITIES && !self.buckets.contains_key(id) {
            self.forget_idle(now);
        }
        let bucket = self.buckets.entry(id.clone()).or_insert(Bucket { tokens: self.burst, at: now });
        bucket.tokens =
            self.burst.min(bucket.tokens + self.rate * now.duration_since(bucket.at).as_secs_f64());
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    /// Removes full buckets, which behave like new ones.
    fn forget_idle(&mut self, now: Instant) {
        let (rate, burst) = (self.rate, self.burst);
        self.buckets
            .retain(|_, bucket| bucket.tokens + rate * now.duration_since(bucket.at).as_secs_f64() < burst);
    }
}

const BURST_SECONDS: f64 = 10.0;
const MAX_IDENTITIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn id(name: &str) -> SpiffeId {
        format!("spiffe://d/{name}").parse().unwrap()
    }

    /// Any instant works: only differences count.
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other constructor")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_identity_has_its_own_burst_and_rate() {
        let (mut limiter, start) = (Limiter::new(2), start());
        assert!((0..20).all(|_| limiter.admit(&id("a"), start)));
        assert!(!limiter.admit(&id("a"), start));
        assert!(limiter.admit(&id("b"), start));
        let later = start + Duration::from_secs(1);
        assert!(limiter.admit(&id("a"), later) && limiter.admit(&id("a"), later));
        assert!(!limiter.admit(&id("a"), later));
        let much_later = start + Duration::from_hours(1);
        assert!((0..20).all(|_| limiter.admit(&id("a"), much_later)));
        assert!(!limiter.admit(&id("a"), much_later));
    }

    #[test]
    fn a_rate_of_zero_means_no_limit() {
        let (mut limiter, start) = (Limiter::new(0), start());
        assert!((0..1000).all(|_| limiter.admit(&id("a"), start)));
    }

    #[test]
    fn idle_identities_are_forgotten_and_busy_ones_are_not() {
        let (mut limiter, start) = (Limiter::new(1), start());
        for n in 0..MAX_IDENTITIES {
            limiter.admit(&id(&n.to_string()), start);
        }
        let later = start + Duration::from_secs(5);
        assert!((0..10).all(|_| limiter.admit(&id("0"), later)));
        assert!(limiter.admit(&id("new"), later));
        assert_eq!(limiter.buckets.len(), 2);
        assert!(!limiter.admit(&id("0"), later));
    }
}
