//! What `echo client` prints: counts of a run of requests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::program::Outcome;

/// Counts of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// Requests made.
    pub requests: u64,
    /// Requests with a good answer.
    pub ok: u64,
    /// Requests with a bad answer or none.
    pub failed: u64,
    /// Answers of each status.
    pub by_status: BTreeMap<String, u64>,
    /// Answers of each version.
    pub by_version: BTreeMap<String, u64>,
    /// Answers of each pod.
    pub by_pod: BTreeMap<String, u64>,
    /// Requests without an answer, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Answers that ended with trailers.
    pub trailers: u64,
    /// Milliseconds at some ranks.
    pub latency_ms: BTreeMap<String, f64>,
    /// The first answer, if asked for.
    #[serde(default)]
    pub first_answer: Value,
}

impl Report {
    /// Reads what the client printed.
    pub fn of(outcome: &Outcome) -> Self {
        serde_json::from_slice(&outcome.out)
            .unwrap_or_else(|error| panic!("the echo client printed no report ({error}): {outcome}"))
    }

    /// Ends the test unless every request had a good answer.
    #[track_caller]
    pub fn all_good(&self) -> &Self {
        assert!(self.requests > 0 && self.failed == 0, "not all requests were answered well: {self:#?}");
        self
    }

    /// Ends the test unless no request had a good answer.
    #[track_caller]
    pub fn none_good(&self) -> &Self {
        assert!(self.requests > 0 && self.ok == 0, "requests were answered: {self:#?}");
        self
    }

    /// A header that the server saw in the first request.
    pub fn seen_header(&self, name: &str) -> Option<String> {
        let pairs = self.first_answer["headers"].as_array()?;
        let pair = pairs.iter().find(|pair| pair[0] == name)?;
        pair[1].as_str().map(str::to_owned)
    }
}
