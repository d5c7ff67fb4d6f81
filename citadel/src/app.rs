//! Builds the process from its settings, starts it and shuts it down. The only module that knows all parts.

use crate::authenticate::token::TokenPolicy;
use crate::config::{Config, KeySource};
use crate::control::serving::{self, Own};
use crate::control::{expiry, keys, reload};
use crate::flow::Permit;
use crate::jwks::{self, Writer};
use crate::limit::Limiter;
use crate::pipeline::Authority;
use crate::root::{Root, folder};
use crate::serve;
use crate::telemetry::Metrics;
use anyhow::Context;
use api::process::admin::{self, AdminState, Build};
use api::process::ready::{Gate, Readiness};
use api::process::tls::Serving;
use api::process::{log, metrics, serve as servers};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A process with all its parts, whose ports are bound, but that does not serve requests yet.
pub struct App {
    grpc: TcpListener,
    http: TcpListener,
    authority: Arc<Authority>,
    own: Own,
    root: watch::Sender<Arc<Root>>,
    folder: reload::Folder,
    tls: Arc<Serving>,
    keys: (KeySource, Writer, Gate),
    admin: AdminState,
}

impl App {
    /// Binds the ports, opens the root and issues the server's own certificate.
    pub async fn bind(config: Config, log: log::Handle) -> anyhow::Result<Self> {
        // Binding comes first, so that a port in use is found before anything is written.
        let grpc = listen(config.grpc, "--port").await?;
        let http = listen(config.http, "--http-port").await?;
        let now = OffsetDateTime::now_utc();
        let mut taken = folder::stamp(&config.root_folder);
        let root = Arc::new(folder::open(&config.root_folder, &config.policy.trust_domain, now)?);
        if taken.iter().all(Option::is_none) {
            // The folder was empty; it now holds what was just created.
            taken = folder::stamp(&config.root_folder);
        }
        if let Some(file) = &config.publish_root {
            folder::publish(file, root.roots_pem())?;
        }
        let own = Permit { id: config.own_id, dns_names: config.own_names, ttl: config.policy.default_ttl };
        let own = Own::issue(&root, own)?;
        let tls = own.serving(&root)?;
        let registry = metrics::registry(BUILD.component, BUILD.version);
        let (writer, keys) = jwks::channel();
        let readiness = Readiness::new();
        let gate = readiness.wait_for("the token issuer's keys");
        let tokens = TokenPolicy {
            issuer: config.tokens.issuer,
            audience: config.tokens.audience,
            trust_domain: config.policy.trust_domain.clone(),
        };
        let (root, current) = watch::channel(root);
        let authority = Authority {
            root: current,
            keys,
            tokens,
            policy: config.policy,
            limiter: Mutex::new(Limiter::new(config.rate)),
            metrics: Metrics::new(&registry)?,
        };
        let admin = AdminState { readiness, registry, log, build: BUILD };
        let keys = (config.tokens.keys, writer, gate);
        let folder = reload::Folder { root: config.root_folder, taken, published: config.publish_root };
        Ok(Self { grpc, http, authority: Arc::new(authority), own, root, folder, tls, keys, admin })
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
        let (source, writer, gate) = self.keys;
        let mut tasks = JoinSet::new();
        tasks.spawn(keys::run(source, writer, gate));
        tasks.spawn(reload::run(self.folder, self.root));
        tasks.spawn(serving::renew(root.clone(), self.own, renewed));
        tasks.spawn(expiry::run(root, self.authority.metrics.clone()));
        // The HTTP server stops after the API, so that metrics of the last requests can still be read.
        let served = CancellationToken::new();
        let pages = tokio::spawn(servers::http(self.http, admin::router(self.admin), served.clone()));
        servers::https(self.grpc, serve::router(self.authority), tls, drain).await;
        served.cancel();
        pages.await?;
        tasks.shutdown().await;
        Ok(())
    }
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop the process that uses it or choose another {flag}")
    })
}

const BUILD: Build = Build { component: "citadel", version: env!("CARGO_PKG_VERSION") };
