//! Builds pilot and runs it: logging, the pipeline of the catalog, the ports, and an orderly shutdown.

use crate::admin::{self, Debug};
use crate::catalog::Catalog;
use crate::catalog::policy::Mesh;
use crate::certificate;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::flow::Fact;
use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::pipeline::Pipeline;
use crate::replica::Replicas;
use crate::review;
use crate::revision::Revision;
use crate::serve::Discovery;
use crate::serve::connections::Connections;
use crate::serve::quota::Quota;
use crate::snapshot::Snapshot;
use crate::verdict::Channel;
use crate::webhook::{self, Webhook};
use crate::{source, validate};
use anyhow::{Context, Result, anyhow};
use api::identity::TrustDomain;
use api::process::admin::{AdminState, Build};
use api::process::enroll::Authority;
use api::process::ready::{Gate, Readiness};
use api::process::serve::connections::Limits;
use api::process::{log, metrics, open_files, serve, shutdown};
use api::resource::document::Place;
use kube::Client;
use kubernetes::client::{self, Access};
use kubernetes::leader;
use prometheus::Registry;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs until a signal ends it.
pub fn run(config: Config) -> Result<()> {
    let format = if config.log_as_json { log::Format::Json } else { log::Format::Text };
    let log = log::init(&config.log_level, format);
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(serve(config, log))
}

async fn serve(config: Config, log: log::Handle) -> Result<()> {
    let shell = Shell {
        registry: metrics::registry("pilot", env!("CARGO_PKG_VERSION")),
        readiness: Readiness::new(),
        drain: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (discovery, cluster) = shell.configure(&config).await?;
    shell.serve_pages(&config, &discovery, log).await?;
    shell.serve_plaintext(&config, &discovery).await?;
    shell.serve_secure(&config, discovery, cluster).await?;

    shutdown::signal().await;
    tracing::info!("ending");
    shell.drain.cancel();
    shell.tasks.close();
    shell.tasks.wait().await;
    Ok(())
}

/// What all parts of the process share.
struct Shell {
    registry: Registry,
    readiness: Readiness,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Shell {
    /// Starts reading objects. Returns what proxies are served from, and the cluster that objects come from, if any.
    async fn configure(&self, config: &Config) -> Result<(Discovery, Option<Cluster>)> {
        let mesh = mesh(config)?;
        let metrics = Metrics::new(&self.registry)?;
        let client = connect(config).await?;
        let gate = self.readiness.wait_for("configuration");
        let (snapshots, verdicts) = configure(config, mesh, (client.clone(), &metrics), gate)?;
        let replica = leader::replica(config.pod_name.as_deref());
        let revision = revision(config);
        let known_as = (replica.as_str(), revision.clone());
        let replicas = Replicas::new(snapshots.clone(), &config.root_namespace, known_as);
        let cluster = client.map(|client| Cluster::new(client, &config.root_namespace, &revision, replica));
        if let Some(cluster) = cluster.clone() {
            let replicas = (snapshots.clone(), replicas.clone());
            self.tasks.spawn(cluster.report(verdicts.clone(), replicas, self.drain.clone()));
        }
        let discovery = Discovery {
            snapshots: snapshots.clone(),
            offers: Offers::new(snapshots, metrics.clone()),
            connections: Connections::new(verdicts.proxies.clone()),
            verdicts,
            replicas,
            quota: Quota::default(),
            metrics,
            identities: false,
            pods: cluster.is_some(),
            drain: self.drain.clone(),
        };
        Ok((discovery, cluster))
    }

    async fn serve_pages(&self, config: &Config, discovery: &Discovery, log: log::Handle) -> Result<()> {
        let debug = Debug {
            snapshots: discovery.snapshots.clone(),
            connections: discovery.connections.clone(),
            verdicts: discovery.verdicts.clone(),
            turn: Arc::new(Semaphore::new(1)),
        };
        let (readiness, registry) = (self.readiness.clone(), self.registry.clone());
        let build = Build { component: "pilot", version: env!("CARGO_PKG_VERSION") };
        let pages = api::process::admin::router(AdminState { readiness, registry, log, build });
        let debug = api::process::admin::local(admin::router(debug), config.address);
        let listener = bind(config, config.http_port).await?;
        self.tasks.spawn(serve::http(listener, pages.merge(debug), self.drain.clone()));
        Ok(())
    }

    async fn serve_plaintext(&self, config: &Config, discovery: &Discovery) -> Result<()> {
        if config.grpc_port == 0 {
            return Ok(());
        }
        // Clients have no identity on this port, and many can share an address; still no address may take all
        // connections.
        let limits =
            Limits { anonymous_per_source: Limits::default().authenticated_per_source, ..limits(config) };
        let listener = bind(config, config.grpc_port).await?;
        let router = discovery.clone().router();
        self.tasks.spawn(serve::http_within(limits, listener, router, self.drain.clone()));
        Ok(())
    }

    async fn serve_secure(
        &self,
        config: &Config,
        discovery: Discovery,
        cluster: Option<Cluster>,
    ) -> Result<()> {
        let Some(address) = config.ca_address.clone() else { return Ok(()) };
        let webhook = match cluster.filter(|_| config.webhook_port != 0) {
            Some(cluster) => Some((bind(config, config.webhook_port).await?, cluster)),
            None => None,
        };
        let ports = SecurePorts {
            xds: bind(config, config.secure_grpc_port).await?,
            limits: limits(config),
            webhook,
            gate: self.readiness.wait_for("certificate"),
            drain: self.drain.clone(),
        };
        let authority = certificate::authority(config, address).context("--trust-domain")?;
        self.tasks.spawn(ports.serve(authority, Discovery { identities: true, ..discovery }));
        Ok(())
    }
}

/// The ports that need pilot's certificate.
struct SecurePorts {
    xds: TcpListener,
    limits: Limits,
    webhook: Option<(TcpListener, Cluster)>,
    gate: Gate,
    drain: CancellationToken,
}

impl SecurePorts {
    /// Serves once there is a certificate.
    async fn serve(self, authority: (Authority, TrustDomain), discovery: Discovery) {
        let Self { xds, limits, webhook, gate, drain } = self;
        let Some(kept) = certificate::keep(authority, drain.clone()).await else { return };
        gate.done();
        discovery.replicas.present(kept.own);
        let [for_proxies, for_all] = kept.serving;
        let reviews = Webhook { snapshots: discovery.snapshots.clone(), metrics: discovery.metrics.clone() };
        let validation = async {
            let Some((listener, cluster)) = webhook else { return };
            tokio::join!(
                serve::https(listener, webhook::router(reviews), for_all, drain.clone()),
                cluster.register(kept.roots, drain.clone()),
            );
        };
        tokio::join!(
            serve::https_within(limits, xds, discovery.router(), for_proxies, drain.clone()),
            validation,
        );
    }
}

/// Connects to the API server, unless objects come from a folder.
async fn connect(config: &Config) -> Result<Option<Client>> {
    if config.config_dir.is_some() {
        return Ok(None);
    }
    let access = Access { kubeconfig: config.kubeconfig.clone(), context: config.context.clone() };
    let client = client::server(&access, "pilot").await;
    client.map(Some).context("objects are read from Kubernetes, because --config-dir is not given")
}

/// Starts reading objects. Returns the resulting snapshots and the verdicts on its objects.
#[expect(clippy::disallowed_methods, reason = "the shell notes when it began")]
fn configure(
    config: &Config,
    mesh: Mesh,
    (client, metrics): (Option<Client>, &Metrics),
    gate: Gate,
) -> Result<(watch::Receiver<Arc<Snapshot>>, Channel)> {
    let catalog = Catalog::new(mesh);
    let empty = Snapshot::new(Arc::new(catalog.clone()), 0, Instant::now());
    let (publish, snapshots) = watch::channel(Arc::new(empty));
    let verdicts = Channel::default();
    let (send, facts) = mpsc::channel(QUEUE);
    let (waiting, explained) = watch::channel(String::new());
    read(config, client, send, waiting)?;
    tokio::spawn(Pipeline::new(catalog, publish, verdicts.clone(), metrics.clone()).run(facts));
    tokio::spawn(review::run(snapshots.clone(), verdicts.clone()));
    tokio::spawn(return_memory());
    tokio::spawn(until_read(snapshots.clone(), explained, gate));
    Ok((snapshots, verdicts))
}

/// Opens the gate with the first snapshot. Until then, the gate says what is waited for.
async fn until_read(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut waiting: watch::Receiver<String>,
    mut gate: Gate,
) {
    loop {
        let explains = async {
            if waiting.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            published = snapshots.changed() => return if published.is_ok() { gate.done() },
            () = explains => {}
        }
        gate.explain(&waiting.borrow_and_update());
    }
}

/// Starts the source of objects: a cluster, or else a folder. A cluster says in `waiting` what it has not read yet.
fn read(
    config: &Config,
    client: Option<Client>,
    facts: mpsc::Sender<Vec<Fact>>,
    waiting: watch::Sender<String>,
) -> Result<()> {
    let Some(client) = client else {
        let folder = config.config_dir.as_deref().unwrap_or(Path::new(""));
        return source::folder::watch(folder, facts)
            .with_context(|| format!("the folder {} cannot be watched", folder.display()));
    };
    let cluster = source::kubernetes::Cluster {
        client,
        name: config.cluster_id.clone(),
        root_namespace: config.root_namespace.clone(),
        config_map: config_map(config),
        revision: revision(config),
    };
    tokio::spawn(source::kubernetes::run(cluster, facts, waiting));
    Ok(())
}

/// The name of the ConfigMap with the mesh configuration.
fn config_map(config: &Config) -> String {
    format!("istio{}", revision(config).suffix())
}

fn revision(config: &Config) -> Revision {
    Revision::new(&config.revision, &config.revision_tags)
}

fn mesh(config: &Config) -> Result<Mesh> {
    let base = Mesh {
        trust_domain: config.trust_domain.clone(),
        domain: config.domain.clone(),
        root_namespace: config.root_namespace.clone(),
        config_map: config_map(config),
        ..Mesh::default()
    };
    let Some(file) = &config.mesh_config else { return Ok(base) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    validate::mesh(&Place::new(&file.display().to_string(), 0), &text, &base).map_err(|refusals| {
        let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        anyhow!("{}", reasons.join("\n"))
    })
}

/// The limits of the ports for proxies.
fn limits(config: &Config) -> Limits {
    let age = config.max_server_connection_age;
    Limits { age: (!age.is_zero()).then_some(age), ..Limits::default() }
}

async fn bind(config: &Config, port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((config.address, port))
        .await
        .with_context(|| format!("cannot listen on {}:{port}; is another pilot running?", config.address))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// Returns freed memory to the system. The allocator keeps free pages for a second for reuse, and checks them only
/// when a large block is freed; after a burst of proxies or changes that may never happen.
async fn return_memory() {
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}

/// The block is never written to, so it uses no memory itself.
const LARGE: usize = 1 << 20;
const SWEEP: Duration = Duration::from_secs(1);
/// The number of fact groups that may wait for the pipeline.
const QUEUE: usize = 64;
