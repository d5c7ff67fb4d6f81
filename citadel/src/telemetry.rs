//! The authority's own metrics, under the names that Istio's control-plane dashboards query.

use prometheus::{Gauge, IntCounter, Registry};
use time::OffsetDateTime;

/// Counters of requests by outcome, and the expiry of the signing certificates.
#[derive(Clone)]
pub struct Metrics {
    /// Signing requests received.
    pub requests: IntCounter,
    /// Requests whose credentials were refused.
    pub authentication_failures: IntCounter,
    /// Signing requests that could not be parsed or had too weak a key.
    pub parsing_failures: IntCounter,
    /// Requests of authenticated clients that were not authorized.
    pub identity_failures: IntCounter,
    /// Requests over the rate limit of an identity.
    pub rate_limited: IntCounter,
    /// Failures to sign.
    pub signing_failures: IntCounter,
    /// Certificates issued.
    pub issued: IntCounter,
    root_end: Gauge,
    root_left: Gauge,
    signer_end: Gauge,
    signer_left: Gauge,
}

impl Metrics {
    /// Registers the metrics; a registry accepts them only once.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("citadel_server_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(format!("citadel_server_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            requests: counter("csr_count", "The number of CSRs received.")?,
            authentication_failures: counter(
                "authentication_failure_count",
                "The number of authentication failures.",
            )?,
            parsing_failures: counter("csr_parsing_err_count", "The number of errors when parsing the CSR.")?,
            identity_failures: counter(
                "id_extraction_err_count",
                "The number of authenticated requests that were not authorized.",
            )?,
            rate_limited: counter(
                "rate_limited_count",
                "The number of requests over the rate limit of an identity.",
            )?,
            signing_failures: counter("csr_sign_err_count", "The number of errors when signing the CSR.")?,
            issued: counter("success_cert_issuance_count", "The number of certificates issued.")?,
            root_end: gauge(
                "root_cert_expiry_timestamp",
                "The Unix time at which the root certificate expires.",
            )?,
            root_left: gauge("root_cert_expiry_seconds", "The seconds until the root certificate expires.")?,
            signer_end: gauge(
                "cert_chain_expiry_timestamp",
                "The Unix time at which the signing chain expires.",
            )?,
            signer_left: gauge("cert_chain_expiry_seconds", "The seconds until the signing chain expires.")?,
        })
    }

    /// Records when the root and the signing certificate expire.
    pub fn set_ends(&self, root: OffsetDateTime, signer: OffsetDateTime, now: OffsetDateTime) {
        self.root_end.set(root.unix_timestamp() as f64);
        self.root_left.set((root - now).as_seconds_f64());
        self.signer_end.set(signer.unix_timestamp() as f64);
        self.signer_left.set((signer - now).as_seconds_f64());
    }
}
