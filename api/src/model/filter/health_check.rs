//! Pure. Health checks of the proxy: requests to which the proxy itself responds, or whose responses it marks.
//!
//! Envoy: `extensions.filters.http.health_check.v3.HealthCheck`.

use crate::model::matcher::HeaderMatch;

/// Envoy's name of the filter.
pub const NAME: &str = "envoy.filters.http.health_check";

/// How requests that check the proxy's health are treated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// A request is a health check if all these conditions hold.
    pub headers: Vec<HeaderMatch>,
    /// Forward health checks to the upstream, instead of responding with 200.
    pub pass_through: bool,
}
