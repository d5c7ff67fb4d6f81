//! A server's own certificate: fetched at start, renewed at half of its lifetime and when the mesh's roots change, and
//! used for the next connection. Exists because pilot and the injector get theirs from the mesh's authority in the same
//! way.
//!
//! Clients are verified with the mesh's roots file, as the authority itself is, not with the roots that are returned
//! with a certificate: the file states which roots the operator trusts, and a response may be older than its last
//! change.

use crate::identity::{SpiffeId, TrustDomain};
use crate::process::enroll::{self, Authority, EnrollError, Issued};
use crate::process::tls::expected::{Expected, expected_servers};
use crate::process::tls::{self, ClientAuth, Serving, TlsError, mesh_clients};
use rustls::ClientConfig;
use std::array;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The clients that a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Those that present a certificate of this trust domain.
    Mesh(TrustDomain),
    /// All; no certificate is requested. The API server calls webhooks without one.
    All,
}

/// The certificate of a server, kept fresh.
pub struct OwnCertificate<const N: usize> {
    /// TLS settings with the certificate, one for each kind of clients.
    pub serving: [watch::Receiver<Arc<Serving>>; N],
    /// The PEM file with the mesh's roots, as it was when the certificate in use was requested: what clients need to
    /// verify it. It stays unchanged while a certificate of a changed root is not available.
    pub roots: watch::Receiver<Arc<[u8]>>,
    /// The certificate, for connections that the server itself opens.
    pub own: watch::Receiver<Arc<Credentials>>,
}

/// Fetches a certificate, retrying until it succeeds, and keeps it fresh. `None` if draining started first.
pub async fn keep<const N: usize>(
    authority: Authority,
    clients: [Clients; N],
    drain: CancellationToken,
) -> Option<OwnCertificate<N>> {
    let (own, configs) = drain.run_until_cancelled(first(&authority, &clients)).await?;
    let own = Arc::new(own);
    let publish = Publish {
        serving: configs.map(watch::Sender::new),
        roots: watch::Sender::new(own.roots.as_slice().into()),
        own: watch::Sender::new(own.clone()),
    };
    let certificate = OwnCertificate {
        serving: array::from_fn(|at| publish.serving[at].subscribe()),
        roots: publish.roots.subscribe(),
        own: publish.own.subscribe(),
    };
    tokio::spawn(async move { drain.run_until_cancelled(renew(&authority, &clients, own, &publish)).await });
    Some(certificate)
}

/// The sending ends of [`OwnCertificate`].
struct Publish<const N: usize> {
    serving: [watch::Sender<Arc<Serving>>; N],
    roots: watch::Sender<Arc<[u8]>>,
    own: watch::Sender<Arc<Credentials>>,
}

impl<const N: usize> Publish<N> {
    fn serve(&self, configs: [Arc<Serving>; N], own: Arc<Credentials>) {
        self.own.send_replace(own);
        for (send, config) in self.serving.iter().zip(configs) {
            send.send_replace(config);
        }
    }

    /// Publishes the roots if they have changed.
    fn trust(&self, roots: &[u8]) {
        self.roots.send_if_modified(|current| {
            let changed = **current != *roots;
            if changed {
                *current = roots.into();
            }
            changed
        });
    }
}

/// The certificate that the server presents, and the roots by which it verifies its peers.
#[derive(Debug, Clone)]
pub struct Credentials {
    issued: Arc<Issued>,
    /// The roots file as it was before the certificate was requested. The file may change while the authority responds,
    /// and that change must be noticed afterwards.
    roots: Vec<u8>,
}

impl Credentials {
    /// An issued certificate, with the content of the roots file.
    pub fn new(issued: Issued, roots: Vec<u8>) -> Self {
        Self { issued: Arc::new(issued), roots }
    }

    /// The identity in the certificate.
    pub fn identity(&self) -> &SpiffeId {
        &self.issued.identity
    }

    /// The TLS settings of a client that presents this certificate and accepts `server`.
    pub fn client(&self, server: Expected) -> Result<ClientConfig, TlsError> {
        let roots = tls::roots_from_pem(&self.roots)?;
        let own = enroll::key_pair(&self.issued)?;
        tls::client_config(expected_servers(roots, server), Some(own))
    }

    fn configs<const N: usize>(&self, clients: &[Clients; N]) -> Result<[Arc<Serving>; N], EnrollError> {
        let configs = clients.iter().map(|clients| self.config(clients)).collect::<Result<Vec<_>, _>>()?;
        let mut configs = configs.into_iter();
        Ok(array::from_fn(|_| configs.next().expect("there is one for each kind of clients")))
    }

    fn config(&self, clients: &Clients) -> Result<Arc<Serving>, EnrollError> {
        let roots = tls::roots_from_pem(&self.roots)?;
        let clients = match clients {
            Clients::Mesh(domain) => Some(mesh_clients(roots, domain.clone(), ClientAuth::Required)?),
            Clients::All => None,
        };
        let (chain, key) = enroll::key_pair(&self.issued)?;
        Ok(tls::server_config(chain, key, clients)?)
    }
}

/// Requests a certificate until one is issued: without it there is nothing to serve.
async fn first<const N: usize>(
    authority: &Authority,
    clients: &[Clients; N],
) -> (Credentials, [Arc<Serving>; N]) {
    let mut pause = FIRST_PAUSE;
    loop {
        match obtain(authority, clients, None).await {
            Ok(first) => return first,
            // The authority may start at the same time.
            Err(error) if pause < QUIET => tracing::debug!(%error, "no certificate yet; trying again"),
            Err(error) => complain(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Renews forever. The old certificate stays valid for a while, so failures are retried slowly.
async fn renew<const N: usize>(
    authority: &Authority,
    clients: &[Clients; N],
    mut own: Arc<Credentials>,
    publish: &Publish<N>,
) {
    let mut pause = FIRST_PAUSE;
    let mut wait = until_renewal(own.issued.not_after);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            roots = other_roots(authority, &own.roots) => {
                tracing::info!("the mesh's roots have changed");
                own = Arc::new(Credentials { issued: own.issued.clone(), roots });
                // Verifying clients with new roots does not wait for an unavailable authority.
                match own.configs(clients) {
                    Ok(configs) => publish.serve(configs, own.clone()),
                    Err(error) => complain(error),
                }
            }
        }
        match obtain(authority, clients, Some(&own.issued)).await {
            Ok((next, configs)) => {
                own = Arc::new(next);
                publish.serve(configs, own.clone());
                publish.trust(&own.roots);
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

/// Waits until the mesh's roots file differs from `known`: the certificate must be of roots that clients trust,
/// and theirs are verified with these roots.
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

async fn obtain<const N: usize>(
    authority: &Authority,
    clients: &[Clients; N],
    current: Option<&Issued>,
) -> Result<(Credentials, [Arc<Serving>; N]), EnrollError> {
    let roots = std::fs::read(&authority.roots)
        .map_err(|source| EnrollError::File { file: authority.roots.clone(), source })?;
    let issued = enroll::enroll(authority, current).await?;
    let own = Credentials::new(issued, roots);
    let configs = own.configs(clients)?;
    tracing::info!(identity = %own.issued.identity, "certificate received");
    Ok((own, configs))
}

fn complain(error: EnrollError) {
    let error = anyhow::Error::new(error);
    tracing::warn!(error = format!("{error:#}"), "no certificate yet; trying again");
}

#[expect(clippy::disallowed_methods, reason = "waits for a point in time")]
fn until_renewal(end: SystemTime) -> Duration {
    let now = SystemTime::now();
    enroll::renewal(now, end, rand::random_range(-1.0..=1.0)).duration_since(now).unwrap_or_default()
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The pause between attempts from which on a failed one is a warning.
const QUIET: Duration = Duration::from_secs(1);
/// How often the roots file is checked. A client whose root is removed loses access within a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
