//! Builds pilot and runs it: logging, the pipeline of the catalog, the ports, and an orderly shutdown.

use crate::admin::{self, Debug};
use crate::catalog::Catalog;
use crate::catalog::policy::Mesh;
use crate::certificate;
use crate::cluster::{self, Cluster};
use crate::config::Config;
use crate::flow::Fact;
use crate::metrics::Metrics;
use crate::offer::Offers;
use crate::pipeline::Pipeline;
use crate::review;
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
    let mesh = mesh(&config)?;
    let registry = metrics::registry("pilot", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&registry)?;
    let readiness = Readiness::new();
    let drain = CancellationToken::new();
    let tasks = TaskTracker::new();

    let client = connect(&config).await?;
    let (snapshots, verdicts) =
        configure(&config, mesh, (client.clone(), &metrics), readiness.wait_for("configuration"))?;
    let cluster = client.map(|client| cluster(&config, client));
    if let Some(cluster) = cluster.clone() {
        tasks.spawn(cluster.report(verdicts.clone(), snapshots.clone(), drain.clone()));
    }
    let discovery = Discovery {
        snapshots: snapshots.clone(),
        offers: Offers::new(snapshots.clone(), metrics.clone()),
        connections: Connections::new(verdicts.proxies.clone()),
        quota: Quota::default(),
        metrics,
        identities: false,
        pods: cluster.is_some(),
        drain: drain.clone(),
    };

    let connections = discovery.connections.clone();
    let debug = Debug { snapshots, connections, verdicts, turn: Arc::new(Semaphore::new(1)) };
    let build = Build { component: "pilot", version: env!("CARGO_PKG_VERSION") };
    let state = AdminState { readiness: readiness.clone(), registry, log, build };
    let pages = admin::router(debug);
    let pages = api::process::admin::router(state).merge(api::process::admin::local(pages, config.address));
    tasks.spawn(serve::http(bind(&config, config.http_port).await?, pages, drain.clone()));

    if config.grpc_port != 0 {
        let plaintext = bind(&config, config.grpc_port).await?;
        // Clients have no identity on this port, and many can share an address; still no address may take all
        // connections.
        let limits =
            Limits { anonymous_per_source: Limits::default().authenticated_per_source, ..limits(&config) };
        tasks.spawn(serve::http_within(limits, plaintext, discovery.clone().router(), drain.clone()));
    }
    if let Some(address) = config.ca_address.clone() {
        let webhook = match cluster.filter(|_| config.webhook_port != 0) {
            Some(cluster) => Some((bind(&config, config.webhook_port).await?, cluster)),
            None => None,
        };
        let ports = SecurePorts {
            xds: bind(&config, config.secure_grpc_port).await?,
            limits: limits(&config),
            webhook,
            gate: readiness.wait_for("certificate"),
            drain: drain.clone(),
        };
        let authority = certificate::authority(&config, address).context("--trust-domain")?;
        tasks.spawn(ports.serve(authority, Discovery { identities: true, ..discovery }));
    }

    shutdown::signal().await;
    tracing::info!("ending");
    drain.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
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

fn cluster(config: &Config, client: Client) -> Cluster {
    let replica = leader::replica(config.pod_name.as_deref());
    Cluster::new(client, &config.root_namespace, &config.revision, replica)
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
    read(config, client, send)?;
    tokio::spawn(Pipeline::new(catalog, publish, verdicts.clone(), metrics.clone()).run(facts));
    tokio::spawn(review::run(snapshots.clone(), verdicts.clone()));
    tokio::spawn(return_memory());
    let mut first = snapshots.clone();
    tokio::spawn(async move {
        if first.changed().await.is_ok() {
            gate.done();
        }
    });
    Ok((snapshots, verdicts))
}

/// Starts the source of objects: a cluster, or else a folder.
fn read(config: &Config, client: Option<Client>, facts: mpsc::Sender<Vec<Fact>>) -> Result<()> {
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
    };
    tokio::spawn(source::kubernetes::run(cluster, facts));
    Ok(())
}

/// The name of the ConfigMap with the mesh configuration.
fn config_map(config: &Config) -> String {
    format!("istio{}", cluster::suffix(&config.revision))
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
