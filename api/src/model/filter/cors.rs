//! Pure. Cross-origin resource sharing (CORS): which origins may read responses.
//!
//! Envoy: `extensions.filters.http.cors.v3.CorsPolicy`, for a table, a virtual host or a route. A level inherits the
//! fields that it does not set from the next wider level, except `enabled` and `shadow`.

use crate::model::matcher::{Fraction, StringMatch};

/// Envoy's name of the filter.
pub const NAME: &str = "envoy.filters.http.cors";

/// What other origins may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsPolicy {
    /// The origins that may read responses. A matcher that matches `*` allows any origin.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`; `*`: any that the preflight requests.
    pub allow_methods: String,
    /// `access-control-allow-headers`; `*`: any that the preflight requests.
    pub allow_headers: String,
    /// `access-control-expose-headers`
    pub expose_headers: String,
    /// `access-control-max-age`
    pub max_age: String,
    /// `access-control-allow-credentials`: responses to requests with credentials may be read.
    pub allow_credentials: Option<bool>,
    /// `access-control-allow-private-network`: requests to private networks are allowed.
    pub allow_private_network_access: Option<bool>,
    /// Forward preflights of origins that are not allowed to the upstream; `None`: they are forwarded.
    pub forward_not_matching_preflights: Option<bool>,
    /// Share of requests to which the policy applies; `None`: all.
    pub enabled: Option<Fraction>,
    /// Share of the other requests whose origins are still counted; `None`: none.
    pub shadow: Option<Fraction>,
}

impl CorsPolicy {
    /// This policy, with the fields that it does not set taken from a wider level.
    #[must_use]
    pub fn over(&self, wider: &Self) -> Self {
        let text = |own: &String, other: &String| if own.is_empty() { other.clone() } else { own.clone() };
        let origins = if self.allow_origins.is_empty() { wider } else { self };
        Self {
            allow_origins: origins.allow_origins.clone(),
            allow_methods: text(&self.allow_methods, &wider.allow_methods),
            allow_headers: text(&self.allow_headers, &wider.allow_headers),
            expose_headers: text(&self.expose_headers, &wider.expose_headers),
            max_age: text(&self.max_age, &wider.max_age),
            allow_credentials: self.allow_credentials.or(wider.allow_credentials),
            allow_private_network_access: self
                .allow_private_network_access
                .or(wider.allow_private_network_access),
            forward_not_matching_preflights: self
                .forward_not_matching_preflights
                .or(wider.forward_not_matching_preflights),
            enabled: self.enabled,
            shadow: self.shadow,
        }
    }
}
