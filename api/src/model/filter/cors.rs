//! Pure. Which pages of other origins may read answers (CORS).
//!
//! Envoy: `extensions.filters.http.cors.v3.CorsPolicy`, for a table, a virtual host or a route. A level that is silent
//! about something leaves it to the next wider one, but for whether the policy is in force.

use crate::model::matcher::{Fraction, StringMatch};

/// Envoy's name of the filter.
pub const NAME: &str = "envoy.filters.http.cors";

/// What pages of other origins may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsPolicy {
    /// The origins that may read answers. One that matches `*` means any.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`; `*`: whichever is asked for.
    pub allow_methods: String,
    /// `access-control-allow-headers`; `*`: whichever are asked for.
    pub allow_headers: String,
    /// `access-control-expose-headers`
    pub expose_headers: String,
    /// `access-control-max-age`
    pub max_age: String,
    /// Answers to requests with cookies may be read.
    pub allow_credentials: Option<bool>,
    /// Servers in a private network may be asked.
    pub allow_private_network_access: Option<bool>,
    /// Preflights from origins that may not ask go to the server; `None`: they do.
    pub forward_not_matching_preflights: Option<bool>,
    /// Share of requests for which this holds; `None`: all.
    pub enabled: Option<Fraction>,
    /// Share of the others of which origins are still counted; `None`: none.
    pub shadow: Option<Fraction>,
}

impl CorsPolicy {
    /// This policy, with what a wider level says where it is silent.
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
