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
    /// Delays requests.
    pub delay: Option<FaultDelay>,
    /// Aborts requests with a response of the proxy.
    pub abort: Option<FaultAbort>,
    /// Share of requests that may set a delay by `x-envoy-fault-delay-request`.
    pub delay_by_header: Option<Fraction>,
    /// Share of requests that may set an abort status by `x-envoy-fault-abort-request`.
    pub abort_by_header: Option<Fraction>,
    /// Only requests that all of these match.
    pub headers: Vec<HeaderMatch>,
    /// Only requests to this cluster; empty: to all.
    pub upstream_cluster: String,
}

/// A delay for a share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultDelay {
    /// Length of the delay.
    pub duration: Duration,
    /// Share of requests.
    pub fraction: Fraction,
}

/// An abort for a share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultAbort {
    /// HTTP status, or gRPC status.
    pub status: AbortStatus,
    /// Share of requests.
    pub fraction: Fraction,
}

/// Status of an aborted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortStatus {
    /// HTTP status code.
    Http(u16),
    /// gRPC status code (trailers-only response).
    Grpc(u32),
}
