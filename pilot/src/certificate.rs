//! Pilot's own certificate: fetched at the start, renewed at half of its life, and used by the next connection.

use crate::config::Config;
use api::identity::TrustDomain;
use api::process::enroll::{self, Authority, EnrollError, Issued};
use api::process::tls::{self, Accept, ClientAuth, mesh_clients};
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where pilot enrolls.
pub fn authority(config: &Config, address: String) -> Authority {
    Authority {
        address,
        roots: config.ca_root.clone(),
        token: Some(config.token_file.clone()),
        trust_domain: config.trust_domain.clone(),
        cluster_id: config.cluster_id.clone(),
        validity: None,
    }
}

/// Fetches a certificate, trying until there is one, and keeps it fresh. `None` when draining came first.
pub async fn keep(
    authority: Authority,
    drain: CancellationToken,
) -> Option<watch::Receiver<Arc<ServerConfig>>> {
    let (mut issued, config) = drain.run_until_cancelled(obtain(&authority, None)).await?;
    let (send, receive) = watch::channel(config);
    tokio::spawn(async move {
        loop {
            let wait = until_renewal(issued.not_after);
            let due = async {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = roots_changed(&authority) => tracing::info!("the mesh's roots have changed"),
                }
            };
            if drain.run_until_cancelled(due).await.is_none() {
                return;
            }
            let Some((next, config)) = drain.run_until_cancelled(obtain(&authority, Some(&issued))).await
            else {
                return;
            };
            issued = next;
            send.send_replace(config);
        }
    });
    Some(receive)
}

/// Waits until the file of the mesh's roots says something else: the certificate must be of the roots that proxies
/// trust, and theirs are verified with these.
async fn roots_changed(authority: &Authority) {
    let read = || std::fs::read(&authority.roots).unwrap_or_default();
    let known = read();
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let roots = read();
        if !roots.is_empty() && roots != known {
            return;
        }
    }
}

/// Asks again and again: without a certificate there is nothing to serve, and an old one lives for a while.
async fn obtain(authority: &Authority, current: Option<&Issued>) -> (Issued, Arc<ServerConfig>) {
    let mut wait = FIRST_WAIT;
    loop {
        match attempt(authority, current).await {
            Ok(issued) => return issued,
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(error = format!("{error:#}"), "no certificate yet; trying again");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn attempt(
    authority: &Authority,
    current: Option<&Issued>,
) -> Result<(Issued, Arc<ServerConfig>), EnrollError> {
    let issued = enroll::enroll(authority, current).await?;
    let roots = tls::roots_from_pem(issued.roots.as_bytes())?;
    let domain: TrustDomain =
        authority.trust_domain.parse().map_err(|e| EnrollError::Address(format!("the trust domain: {e}")))?;
    let clients = mesh_clients(roots, Accept::TrustDomain(domain), ClientAuth::Required)?;
    let (chain, key) = enroll::key_pair(&issued)?;
    let config = tls::server_config(chain, key, Some(clients))?;
    tracing::info!(identity = %issued.identity, "certificate received");
    Ok((issued, config))
}

#[expect(clippy::disallowed_methods, reason = "the shell waits for a point in time")]
fn until_renewal(end: SystemTime) -> Duration {
    let now = SystemTime::now();
    enroll::renewal(now, end, rand::random_range(-1.0..=1.0)).duration_since(now).unwrap_or_default()
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(5);
