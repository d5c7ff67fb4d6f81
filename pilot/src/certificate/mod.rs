//! Pilot's own certificate: fetched at start, renewed at half of its lifetime and when the mesh's roots change, and
//! used for the next connection.
//!
//! Clients are verified with the mesh's roots file, as the authority itself is, not with the roots that are returned
//! with a certificate: the file states which roots the operator trusts, and a response may be older than its last
//! change.

use crate::config::Config;
use api::identity::{IdentityError, TrustDomain};
use api::process::enroll::{self, Authority, EnrollError, Issued};
use api::process::tls::expected::Expected;
use api::process::tls::{self, Accept, ClientAuth, Serving, mesh_clients};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
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

/// Fetches a certificate, retrying until it succeeds, and keeps it fresh. `None` if draining started first.
pub async fn keep(
    (authority, domain): (Authority, TrustDomain),
    drain: CancellationToken,
) -> Option<watch::Receiver<Arc<Serving>>> {
    let (own, config) = drain.run_until_cancelled(first(&authority, &domain)).await?;
    let (send, receive) = watch::channel(config);
    tokio::spawn(async move { drain.run_until_cancelled(renew(&authority, &domain, own, &send)).await });
    Some(receive)
}

/// The certificate that pilot presents, and the roots by which it verifies clients.
struct Credentials {
    issued: Issued,
    /// The roots file as it was before the certificate was requested. The file may change while the authority responds,
    /// and that change must be noticed afterwards.
    roots: Vec<u8>,
}

impl Credentials {
    fn config(&self, domain: &TrustDomain) -> Result<Arc<Serving>, EnrollError> {
        let roots = tls::roots_from_pem(&self.roots)?;
        let clients = mesh_clients(roots, Accept::TrustDomain(domain.clone()), ClientAuth::Required)?;
        let (chain, key) = enroll::key_pair(&self.issued)?;
        Ok(tls::server_config(chain, key, Some(clients))?)
    }
}

/// Requests a certificate until one is issued: without it there is nothing to serve.
async fn first(authority: &Authority, domain: &TrustDomain) -> (Credentials, Arc<Serving>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match obtain(authority, domain, None).await {
            Ok(first) => return first,
            Err(error) => complain(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Renews forever. The old certificate stays valid for a while, so failures are retried slowly.
async fn renew(
    authority: &Authority,
    domain: &TrustDomain,
    mut own: Credentials,
    send: &watch::Sender<Arc<Serving>>,
) {
    let mut pause = FIRST_PAUSE;
    let mut wait = until_renewal(own.issued.not_after);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            roots = other_roots(authority, &own.roots) => {
                tracing::info!("the mesh's roots have changed");
                own.roots = roots;
                // Verifying clients with new roots does not wait for an unavailable authority.
                match own.config(domain) {
                    Ok(config) => drop(send.send_replace(config)),
                    Err(error) => complain(error),
                }
            }
        }
        match obtain(authority, domain, Some(&own.issued)).await {
            Ok((next, config)) => {
                own = next;
                send.send_replace(config);
                pause = FIRST_PAUSE;
                wait = until_renewal(own.issued.not_after);
            }
            Err(error) => {
                complain(error);
                wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Waits until the mesh's roots file differs from `known`: pilot's certificate must be of roots that proxies trust, and
/// theirs are verified with these roots.
async fn other_roots(authority: &Authority, known: &[u8]) -> Vec<u8> {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        // A file that is missing, or empty while it is being written, is ignored.
        let roots = std::fs::read(&authority.roots).unwrap_or_default();
        if !roots.is_empty() && roots != known {
            return roots;
        }
    }
}

async fn obtain(
    authority: &Authority,
    domain: &TrustDomain,
    current: Option<&Issued>,
) -> Result<(Credentials, Arc<Serving>), EnrollError> {
    let roots = std::fs::read(&authority.roots)
        .map_err(|source| EnrollError::File { file: authority.roots.clone(), source })?;
    let issued = enroll::enroll(authority, current).await?;
    let own = Credentials { issued, roots };
    let config = own.config(domain)?;
    tracing::info!(identity = %own.issued.identity, "certificate received");
    Ok((own, config))
}

fn complain(error: EnrollError) {
    let error = anyhow::Error::new(error);
    tracing::warn!(error = format!("{error:#}"), "no certificate yet; trying again");
}

#[expect(clippy::disallowed_methods, reason = "the shell waits for a point in time")]
fn until_renewal(end: SystemTime) -> Duration {
    let now = SystemTime::now();
    enroll::renewal(now, end, rand::random_range(-1.0..=1.0)).duration_since(now).unwrap_or_default()
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often the roots file is checked. A client whose root is removed loses access within a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
