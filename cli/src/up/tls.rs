//! TLS as a client of pods and of the control plane.

use api::process::tls::{client_config, provider, roots_from_pem, verifier};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;

/// A client that trusts the given roots, in PEM, and servers with the name that is dialled.
pub fn trusting(roots: &[u8]) -> Result<ClientConfig, String> {
    let roots = roots_from_pem(roots).map_err(|error| error.to_string())?;
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let servers = servers.map_err(|error| error.to_string())?;
    client_config(servers, None).map_err(|error| error.to_string())
}

/// A client for HTTPS probes, which on Kubernetes do not look at certificates: they ask whether the pod is well,
/// not who it is.
pub fn unverified() -> ClientConfig {
    client_config(verifier::servers(|_| Ok(())), None).expect("the provider has the default versions")
}
