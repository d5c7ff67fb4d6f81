//! The authority's own serving certificate: issued by the authority itself, and renewed at half its lifetime.

use crate::audit::chain;
use crate::flow::Permit;
use crate::issue;
use crate::root::Root;
use anyhow::Context;
use api::process::tls::{self, ClientAuth, Serving, mesh_clients};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// The server's own certificate.
pub struct Own {
    permit: Permit,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    life: Duration,
}

impl Own {
    /// Issues a certificate for `permit`.
    pub fn issue(root: &Root, permit: Permit) -> anyhow::Result<Self> {
        let now = OffsetDateTime::now_utc();
        let key = KeyPair::generate().context("no key for the server's own certificate can be made")?;
        let issued = issue::issue(root, &permit, &key, now)
            .context("the server's own certificate cannot be issued")?;
        let (_, shown) = issued.chain.split_last().context("the chain is empty")?;
        let chain = tls::certificates_from_pem(shown.concat().as_bytes())?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let life = Duration::try_from(issued.not_after - now).unwrap_or_default();
        Ok(Self { permit, chain, key, life })
    }

    /// Returns a TLS configuration with this certificate. Clients may present a certificate of the same trust domain,
    /// under these roots.
    pub fn serving(&self, root: &Root) -> anyhow::Result<Arc<Serving>> {
        let domain = self.permit.id.trust_domain().clone();
        let clients = mesh_clients(root.roots(), domain, ClientAuth::Optional)?;
        Ok(tls::server_config(self.chain.clone(), self.key.clone_key(), Some(clients))?)
    }
}

/// Renews the certificate forever: at half of each lifetime, and at once when the root is replaced.
pub async fn renew(mut root: watch::Receiver<Arc<Root>>, mut own: Own, sender: watch::Sender<Arc<Serving>>) {
    let mut wait = own.life / 2;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait.max(RETRY)) => {}
            Ok(()) = root.changed() => {}
        }
        let current = root.borrow_and_update().clone();
        match Own::issue(&current, own.permit.clone()) {
            Ok(next) => {
                own = next;
                wait = own.life / 2;
                tracing::info!("the server's own certificate was renewed");
            }
            Err(error) => {
                wait = RETRY;
                let reason = chain(error.as_ref());
                tracing::error!(reason, "the server's own certificate was not renewed");
            }
        }
        // Verifying clients with the new roots does not wait for a new certificate.
        match own.serving(&current) {
            Ok(serving) => drop(sender.send_replace(serving)),
            Err(error) => {
                tracing::error!(reason = chain(error.as_ref()), "the roots cannot be used to verify clients");
            }
        }
    }
}

/// Also the minimum time between renewals: near the expiry of the signer, half a lifetime becomes very short.
const RETRY: Duration = Duration::from_secs(30);
