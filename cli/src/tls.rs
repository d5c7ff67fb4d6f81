//! TLS configurations for clients of pods and of the control plane.

use api::process::tls::{TlsError, client_config, provider, roots_from_pem, verifier};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;

/// A client that trusts these root certificates, in PEM, and verifies the server's name.
pub fn trusting(roots: &[u8]) -> Result<ClientConfig, TlsError> {
    let roots = roots_from_pem(roots)?;
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let servers = servers.map_err(|error| TlsError::Roots(error.to_string()))?;
    client_config(servers, None)
}

/// A client for HTTPS probes. As on Kubernetes, probes do not verify certificates: they test health, not identity.
pub fn unverified() -> ClientConfig {
    client_config(verifier::servers(|_| Ok(())), None).expect("the provider has the default versions")
}
