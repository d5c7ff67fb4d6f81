//! The report that `echo client` prints: counts of a series of requests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::program::Outcome;

/// The counts of one run.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// Requests sent.
    pub requests: u64,
    /// Requests with a successful response.
    pub ok: u64,
    /// Requests with an unsuccessful response, or none.
    pub failed: u64,
    /// Responses by status.
    pub by_status: BTreeMap<String, u64>,
    /// Responses by version of the server.
    pub by_version: BTreeMap<String, u64>,
    /// Responses by pod of the server.
    pub by_pod: BTreeMap<String, u64>,
    /// Requests without a response, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Responses that ended with trailers.
    pub trailers: u64,
    /// Latency in milliseconds at some percentiles.
    pub latency_ms: BTreeMap<String, f64>,
    /// The first response, if requested.
    #[serde(default)]
    pub first_response: Value,
}

impl Report {
    /// Parses the client's output.
    pub fn of(outcome: &Outcome) -> Self {
        serde_json::from_slice(&outcome.out)
            .unwrap_or_else(|error| panic!("the echo client printed no report ({error}): {outcome}"))
    }

    /// Fails the test if a request failed, or if none was sent.
    #[track_caller]
    pub fn all_good(&self) -> &Self {
        assert!(self.requests > 0 && self.failed == 0, "not all requests succeeded: {self:#?}");
        self
    }

    /// Fails the test if a request succeeded, or if none was sent.
    #[track_caller]
    pub fn none_good(&self) -> &Self {
        assert!(self.requests > 0 && self.ok == 0, "requests succeeded: {self:#?}");
        self
    }

    /// The value of a header that the server received in the first request.
    pub fn seen_header(&self, name: &str) -> Option<String> {
        let pairs = self.first_response["headers"].as_array()?;
        let pair = pairs.iter().find(|pair| pair[0] == name)?;
        pair[1].as_str().map(str::to_owned)
    }
}
