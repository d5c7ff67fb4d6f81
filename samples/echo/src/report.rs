//! Pure. Counts responses and builds the client's JSON report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// The facts of a response that are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Status as text: `200`, `OK`, `Unavailable`.
    pub status: String,
    /// Whether the status means success.
    pub good: bool,
    /// Version that sent the response.
    pub version: Option<String>,
    /// Pod that sent the response.
    pub pod: Option<String>,
    /// Whether the response had trailers.
    pub trailers: bool,
    /// Body of the response.
    pub text: String,
}

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    ok: u64,
    failed: u64,
    by_status: BTreeMap<String, u64>,
    by_version: BTreeMap<String, u64>,
    by_pod: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    trailers: u64,
    latencies: Vec<u32>,
    first: Option<String>,
}

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Number of requests sent.
    pub requests: u64,
    /// Number of requests that succeeded.
    pub ok: u64,
    /// Number of requests with an error status or without a response.
    pub failed: u64,
    /// Number of responses by status.
    pub by_status: BTreeMap<String, u64>,
    /// Number of responses by version.
    pub by_version: BTreeMap<String, u64>,
    /// Number of responses by pod.
    pub by_pod: BTreeMap<String, u64>,
    /// Number of requests without a response, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Number of responses that ended with trailers.
    pub trailers: u64,
    /// Latency of all requests, with or without a response.
    pub latency_ms: Latency,
    /// Duration of the run.
    pub duration_s: f64,
    /// The first response, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_response: Option<serde_json::Value>,
}

/// Percentiles of the latency in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Minimum.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Maximum.
    pub max: f64,
}

impl Tally {
    /// Counts a response.
    pub fn responded(&mut self, reply: Reply, latency: Duration) {
        if reply.good {
            self.ok += 1;
        } else {
            self.failed += 1;
        }
        self.trailers += u64::from(reply.trailers);
        count(&mut self.by_status, reply.status);
        if let Some(version) = reply.version {
            count(&mut self.by_version, version);
        }
        if let Some(pod) = reply.pod {
            count(&mut self.by_pod, pod);
        }
        self.first.get_or_insert(reply.text);
        self.timed(latency);
    }

    /// Counts a request without a response.
    pub fn failed(&mut self, reason: String, latency: Duration) {
        self.failed += 1;
        count(&mut self.errors, reason);
        self.timed(latency);
    }

    /// Builds the report of a run that took `duration`. With `show` it includes the first response.
    pub fn report(mut self, duration: Duration, show: bool) -> Report {
        self.latencies.sort_unstable();
        let json = |text: String| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        Report {
            requests: self.ok + self.failed,
            ok: self.ok,
            failed: self.failed,
            by_status: self.by_status,
            by_version: self.by_version,
            by_pod: self.by_pod,
            errors: self.errors,
            trailers: self.trailers,
            latency_ms: latency(&self.latencies),
            duration_s: rounded(duration.as_secs_f64()),
            first_response: self.first.filter(|_| show).map(json),
        }
    }

    fn timed(&mut self, latency: Duration) {
        self.latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }
}

/// Limits the number of names, so that a server that sends another name with each response cannot exhaust the memory.
fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    let full = counts.len() >= MOST_NAMES && !counts.contains_key(&name);
    *counts.entry(if full { "other".to_owned() } else { name }).or_default() += 1;
}

/// Computes percentiles by nearest rank: the smallest value that at least this share of the values does not exceed.
fn latency(sorted_micros: &[u32]) -> Latency {
    let at = |per_mille: usize| {
        let rank = (sorted_micros.len() * per_mille).div_ceil(1000).max(1);
        sorted_micros.get(rank - 1).map_or(0.0, |micros| rounded(f64::from(*micros) / 1000.0))
    };
    Latency { min: at(0), p50: at(500), p90: at(900), p99: at(990), p99_9: at(999), max: at(1000) }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

const MOST_NAMES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: &str, good: bool, version: &str) -> Reply {
        Reply { status: status.into(), good, version: Some(version.into()), ..Reply::default() }
    }

    #[test]
    fn responses_and_failures_are_counted_separately() {
        let mut tally = Tally::default();
        let millis = Duration::from_millis;
        tally.responded(reply("200", true, "v1"), millis(1));
        tally.responded(reply("200", true, "v2"), millis(3));
        tally.responded(reply("503", false, "v2"), millis(2));
        tally.failed("connection refused".into(), millis(4));
        let report = serde_json::to_value(tally.report(millis(1500), false)).expect("JSON");
        assert_eq!(
            report,
            serde_json::json!({
                "requests": 4, "ok": 2, "failed": 2, "trailers": 0, "duration_s": 1.5,
                "by_status": {"200": 2, "503": 1}, "by_version": {"v1": 1, "v2": 2}, "by_pod": {},
                "errors": {"connection refused": 1},
                "latency_ms": {"min": 1.0, "p50": 2.0, "p90": 4.0, "p99": 4.0, "p99_9": 4.0, "max": 4.0},
            })
        );
    }

    #[test]
    fn percentiles_use_the_nearest_rank() {
        let hundred: Vec<u32> = (1..=100).map(|millis| millis * 1000).collect();
        let all = Latency { min: 1.0, p50: 50.0, p90: 90.0, p99: 99.0, p99_9: 100.0, max: 100.0 };
        assert_eq!(latency(&hundred), all);
        assert_eq!(latency(&[]), Latency::default());
    }

    #[test]
    fn the_first_response_is_shown_as_json_if_it_is_json() {
        for (text, shown) in [("{\"a\":1}", serde_json::json!({"a": 1})), ("hi", serde_json::json!("hi"))] {
            let mut tally = Tally::default();
            tally.responded(Reply { text: text.into(), ..Reply::default() }, Duration::ZERO);
            assert_eq!(tally.report(Duration::ZERO, true).first_response, Some(shown));
        }
    }

    #[test]
    fn further_names_are_counted_together() {
        let mut tally = Tally::default();
        for number in 0..1000 {
            tally.failed(format!("error {number}"), Duration::ZERO);
        }
        let report = tally.report(Duration::ZERO, false);
        assert_eq!(report.errors.len(), MOST_NAMES + 1);
        assert_eq!(report.errors["other"], 1000 - MOST_NAMES as u64);
    }
}
