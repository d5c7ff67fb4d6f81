//! Builds the process from its settings, starts it and shuts it down. The only module that knows all parts.

use crate::authenticate::Verifiers;
use crate::authenticate::review::Reviewer;
use crate::authenticate::review::verdict::Requirements;
use crate::authenticate::token::TokenPolicy;
use crate::config::{Cluster, Config, KeySource, Tokens};
use crate::control::reload::Folder;
use crate::control::secrets::{self, Secrets};
use crate::control::serving::{self, Own};
use crate::control::{bundles, expiry, keys, reload};
use crate::flow::Permit;
use crate::jwks::{self, Writer};
use crate::limit::Limiter;
use crate::pipeline::Authority;
use crate::root::{Root, create, folder};
use crate::serve;
use crate::telemetry::Metrics;
use anyhow::Context;
use api::identity::TrustDomain;
use api::process::admin::{self, AdminState, Build};
use api::process::ready::{Gate, Readiness};
use api::process::tls::Serving;
use api::process::{log, metrics, serve as servers};
use kube::Client;
use kubernetes::client;
use kubernetes::leader::{self, Election};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A process with all its parts, whose ports are bound, but that does not serve requests yet.
pub struct App {
    grpc: TcpListener,
    http: TcpListener,
    authority: Arc<Authority>,
    own: Own,
    root: watch::Sender<Arc<Root>>,
    store: Store,
    cluster: Option<(Client, Cluster)>,
    tls: Arc<Serving>,
    keys: Option<(KeySource, Writer, Gate)>,
    admin: AdminState,
}

/// Where the root is stored, and watched for changes.
enum Store {
    Folder(Folder),
    Secrets(Secrets),
}

impl App {
    /// Binds the ports, opens the root and issues the server's own certificate. In a cluster it waits until the API
    /// server responds.
    pub async fn bind(config: Config, log: log::Handle) -> anyhow::Result<Self> {
        // Binding comes first, so that a port in use is found before anything is written.
        let grpc = listen(config.grpc, "--port").await?;
        let http = listen(config.http, "--http-port").await?;
        let cluster = match config.cluster.clone() {
            Some(cluster) => Some((client::server(&cluster.access, BUILD.component).await?, cluster)),
            None => None,
        };
        let (root, store) = Store::open(&config, cluster.as_ref()).await?;
        if let Some(file) = &config.publish_root {
            folder::publish(file, root.roots_pem())?;
        }
        let own = Permit { id: config.own_id, dns_names: config.own_names, ttl: config.policy.default_ttl };
        let own = Own::issue(&root, own)?;
        let tls = own.serving(&root)?;
        let registry = metrics::registry(BUILD.component, BUILD.version);
        let readiness = Readiness::new();
        let (tokens, keys) =
            verifiers(config.tokens, &config.policy.trust_domain, cluster.as_ref(), &readiness);
        let (root, current) = watch::channel(Arc::new(root));
        let authority = Authority {
            root: current,
            tokens,
            policy: config.policy,
            limiter: Mutex::new(Limiter::new(config.rate)),
            metrics: Metrics::new(&registry)?,
        };
        let admin = AdminState { readiness, registry, log, build: BUILD };
        Ok(Self { grpc, http, authority: Arc::new(authority), own, root, store, cluster, tls, keys, admin })
    }

    /// The address of the certificate API.
    pub fn grpc_address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.grpc.local_addr()?)
    }

    /// The address of the health and metrics endpoints.
    pub fn http_address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.http.local_addr()?)
    }

    /// The conditions that readiness still waits for.
    pub fn readiness(&self) -> Readiness {
        self.admin.readiness.clone()
    }

    /// Serves until `drain` is cancelled and the open requests have completed.
    pub async fn run(self, drain: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(grpc = %self.grpc_address()?, http = %self.http_address()?, "listening");
        let root = self.authority.root.clone();
        let (renewed, tls) = watch::channel(self.tls);
        let mut tasks = JoinSet::new();
        if let Some((source, writer, gate)) = self.keys {
            tasks.spawn(keys::run(source, writer, gate));
        }
        match self.store {
            Store::Folder(folder) => drop(tasks.spawn(reload::run(folder, self.root))),
            Store::Secrets(secrets) => drop(tasks.spawn(secrets::run(secrets, self.root))),
        }
        let election = self.cluster.map(|(client, cluster)| {
            let (sender, leads) = watch::channel(false);
            let settings = bundles::Settings {
                takes_over: cluster.takes_over_bundles,
                namespace: cluster.namespace.clone(),
                config_map: cluster.config_map.clone(),
            };
            tasks.spawn(bundles::run(client.clone(), root.clone(), leads, settings));
            lead(client, &cluster, sender, drain.clone())
        });
        tasks.spawn(serving::renew(root.clone(), self.own, renewed));
        tasks.spawn(expiry::run(root, self.authority.metrics.clone()));
        // The HTTP server stops after the API, so that metrics of the last requests can still be read.
        let served = CancellationToken::new();
        let pages = tokio::spawn(servers::http(self.http, admin::router(self.admin), served.clone()));
        servers::https(self.grpc, serve::router(self.authority), tls, drain).await;
        served.cancel();
        pages.await?;
        tasks.shutdown().await;
        if let Some(election) = election {
            // It releases the Lease.
            election.await?;
        }
        Ok(())
    }
}

impl Store {
    async fn open(config: &Config, cluster: Option<&(Client, Cluster)>) -> anyhow::Result<(Root, Self)> {
        let (domain, published) = (&config.policy.trust_domain, config.publish_root.clone());
        if let Some((client, cluster)) = cluster {
            let namespace = cluster.namespace.clone();
            let found = secrets::open(client, &namespace, domain).await?;
            let secrets = Secrets { client: client.clone(), namespace, used: found.secret, published };
            return Ok((found.root, Self::Secrets(secrets)));
        }
        let folder = &config.root_folder;
        let mut taken = folder::stamp(folder);
        let root = folder::open(folder, domain, OffsetDateTime::now_utc())?;
        if taken.iter().all(Option::is_none) {
            // The folder was empty; it now holds what was just created.
            taken = folder::stamp(folder);
        }
        Ok((root, Self::Folder(Folder { root: folder.clone(), taken, published })))
    }
}

/// Creates the verifiers of tokens, and what the task needs that reads the issuer's keys.
fn verifiers(
    tokens: Tokens,
    trust_domain: &TrustDomain,
    cluster: Option<&(Client, Cluster)>,
    readiness: &Readiness,
) -> (Verifiers, Option<(KeySource, Writer, Gate)>) {
    let audience = tokens.audience;
    let reviewer = cluster.map(|(client, cluster)| {
        let requirements = Requirements {
            audience: audience.clone(),
            trust_domain: trust_domain.clone(),
            accepts_unbound: cluster.accepts_unbound,
        };
        Reviewer::new(client.clone(), requirements)
    });
    let Some(issuer) = tokens.issuer else { return (Verifiers { keys: None, reviewer }, None) };
    let (writer, keys) = jwks::channel();
    let policy = TokenPolicy { issuer: issuer.name, audience, trust_domain: trust_domain.clone() };
    let gate = readiness.wait_for("the token issuer's keys");
    (Verifiers { keys: Some((keys, policy)), reviewer }, Some((issuer.keys, writer, gate)))
}

/// Takes part in the election of the replica that writes trust bundles.
fn lead(
    client: Client,
    cluster: &Cluster,
    sender: watch::Sender<bool>,
    drain: CancellationToken,
) -> JoinHandle<()> {
    // A process that replaces another one of the same name is a candidate of its own.
    let process = u128::from_be_bytes(create::serial().unwrap_or_default());
    let election = Election {
        namespace: cluster.namespace.clone(),
        name: LEASE.to_owned(),
        identity: format!("{}_{process:032x}", cluster.pod),
    };
    tokio::spawn(leader::run(client, election, sender, drain))
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop the process that uses it or choose another {flag}")
    })
}

const LEASE: &str = "ostria-citadel-leader";
const BUILD: Build = Build { component: "citadel", version: env!("CARGO_PKG_VERSION") };
