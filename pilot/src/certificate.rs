//! Pilot's own certificate, which the mesh's authority issues.

use crate::config::Config;
use api::identity::{IdentityError, TrustDomain};
use api::process::enroll::Authority;
use api::process::own_certificate::{self, Clients, OwnCertificate};
use api::process::tls::expected::Expected;
use tokio_util::sync::CancellationToken;

/// Returns the authority where pilot enrolls, and the trust domain of its clients.
pub fn authority(config: &Config, address: String) -> Result<(Authority, TrustDomain), IdentityError> {
    let domain: TrustDomain = config.trust_domain.parse()?;
    let server = match &config.ca_san {
        Some(server) => server.clone(),
        None => Expected::citadel(&domain)?,
    };
    let authority = Authority {
        address,
        roots: config.ca_root.clone(),
        token: Some(config.token_file.clone()),
        server,
        cluster_id: config.cluster_id.clone(),
        validity: None,
    };
    Ok((authority, domain))
}

/// Fetches a certificate, retrying until it succeeds, and keeps it fresh: for proxies, and for the API server, which has
/// no certificate of the mesh. `None` if draining started first.
pub async fn keep(
    (authority, domain): (Authority, TrustDomain),
    drain: CancellationToken,
) -> Option<OwnCertificate<2>> {
    own_certificate::keep(authority, [Clients::Mesh(domain), Clients::All], drain).await
}
