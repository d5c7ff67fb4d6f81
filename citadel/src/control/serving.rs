//! The authority's own serving certificate: issued by itself, and renewed at half its life.

use crate::audit::chain;
use crate::flow::Permit;
use crate::issue;
use crate::root::Root;
use anyhow::Context;
use api::process::tls::{self, Accept, ClientAuth, mesh_clients};
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// A TLS configuration with a fresh certificate for `permit`, and when to renew it. Clients may show a certificate of
/// the same trust domain.
pub fn configure(root: &Root, permit: &Permit) -> anyhow::Result<(Arc<ServerConfig>, Duration)> {
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate().context("no key for the server's own certificate can be made")?;
    let issued =
        issue::issue(root, permit, &key, now).context("the server's own certificate cannot be issued")?;
    let (_, shown) = issued.chain.split_last().context("the chain is empty")?;
    let chain = tls::certificates_from_pem(shown.concat().as_bytes())?;
    let accept = Accept::TrustDomain(permit.id.trust_domain().clone());
    let clients = mesh_clients(root.roots(), accept, ClientAuth::Optional)?;
    let config =
        tls::server_config(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into(), Some(clients))?;
    let life = Duration::try_from(issued.not_after - now).unwrap_or_default();
    Ok((config, life / 2))
}

/// Renews for ever: in `wait`, then at half of each life, and at once when the root is replaced.
pub async fn renew(
    mut root: watch::Receiver<Arc<Root>>,
    permit: Permit,
    sender: watch::Sender<Arc<ServerConfig>>,
    mut wait: Duration,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait.max(RETRY)) => {}
            Ok(()) = root.changed() => {}
        }
        let current = root.borrow_and_update().clone();
        wait = match configure(&current, &permit) {
            Ok((config, wait)) => {
                sender.send_replace(config);
                tracing::info!("the server's own certificate was renewed");
                wait
            }
            Err(error) => {
                tracing::error!(
                    reason = chain(error.as_ref()),
                    "the server's own certificate was not renewed"
                );
                RETRY
            }
        };
    }
}

/// Also the shortest time between renewals: near the signer's end, half a life becomes very short.
const RETRY: Duration = Duration::from_secs(30);
