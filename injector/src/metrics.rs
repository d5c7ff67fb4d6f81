//! The injector's metrics, under the names that Istio's dashboards query.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

/// The injector's counters.
#[derive(Clone)]
pub struct Counters {
    /// Reviews received.
    pub requests: IntCounter,
    /// Pods that got a sidecar.
    pub success: IntCounter,
    /// Reviews that could not be parsed, and pods that were refused.
    pub failure: IntCounter,
    /// Pods that were not changed.
    pub skip: IntCounter,
    time: Histogram,
}

impl Counters {
    /// Creates the counters and registers them in `registry`.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("the name is valid");
            registry.register(Box::new(counter.clone())).expect("no other metric has this name");
            counter
        };
        let time = HistogramOpts::new("sidecar_injection_time_seconds", "Time taken to respond to a review.")
            .buckets(vec![0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0]);
        let time = Histogram::with_opts(time).expect("the buckets rise");
        registry.register(Box::new(time.clone())).expect("no other metric has this name");
        Self {
            requests: counter(
                "sidecar_injection_requests_total",
                "Total number of sidecar injection requests.",
            ),
            success: counter(
                "sidecar_injection_success_total",
                "Total number of successful sidecar injections.",
            ),
            failure: counter("sidecar_injection_failure_total", "Total number of failed sidecar injections."),
            skip: counter("sidecar_injection_skip_total", "Total number of skipped sidecar injections."),
            time,
        }
    }

    /// Records the duration of a review.
    pub fn took(&self, time: Duration) {
        self.time.observe(time.as_secs_f64());
    }
}
