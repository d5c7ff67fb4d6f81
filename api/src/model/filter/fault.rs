//! Pure. Injected faults.
//!
//! Envoy: `extensions.filters.http.fault.v3.HTTPFault`, for a listener and for a route.

use crate::model::matcher::{Fraction, HeaderMatch};
use std::time::Duration;

/// Envoy's name of the filter.
pub const NAME: &str = "envoy.filters.http.fault";

/// Injected faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Wait before the request goes on.
    pub delay: Option<FaultDelay>,
    /// Answer instead of the upstream.
    pub abort: Option<FaultAbort>,
    /// Share of requests that may ask for a wait by `x-envoy-fault-delay-request`.
    pub delay_by_header: Option<Fraction>,
    /// Share of requests that may ask for an answer by `x-envoy-fault-abort-request`.
    pub abort_by_header: Option<Fraction>,
    /// Only requests that all of these match.
    pub headers: Vec<HeaderMatch>,
    /// Only requests to this cluster; empty: to all.
    pub upstream_cluster: String,
}

/// A wait for a share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultDelay {
    /// How long.
    pub duration: Duration,
    /// Which share.
    pub fraction: Fraction,
}

/// An answer for a share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultAbort {
    /// HTTP status, or gRPC status.
    pub status: AbortStatus,
    /// Which share.
    pub fraction: Fraction,
}

/// How a request is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortStatus {
    /// HTTP status code.
    Http(u16),
    /// gRPC status code (trailers-only response).
    Grpc(u32),
}
