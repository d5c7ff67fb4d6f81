//! Builds pilot and runs it: logging, the pipeline of the catalog, the ports, and an orderly shutdown.

use crate::admin::{self, Debug};
use crate::catalog::Catalog;
use crate::catalog::policy::Mesh;
use crate::certificate;
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
use crate::source::kubernetes::Cluster;
use crate::verdict::Channel;
use crate::{source, validate};
use anyhow::{Context, Result, anyhow};
use api::process::admin::{AdminState, Build};
use api::process::ready::{Gate, Readiness};
use api::process::serve::connections::Limits;
use api::process::{log, metrics, open_files, serve, shutdown};
use api::resource::document::Place;
use kubernetes::client::{self, Access};
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

    let (snapshots, verdicts) =
        configure(&config, mesh, &metrics, readiness.wait_for("configuration")).await?;
    let discovery = Discovery {
        snapshots: snapshots.clone(),
        offers: Offers::new(snapshots.clone(), metrics.clone()),
        connections: Connections::new(verdicts.proxies.clone()),
        quota: Quota::default(),
        metrics,
        identities: false,
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
        let secure = bind(&config, config.secure_grpc_port).await?;
        let gate = readiness.wait_for("certificate");
        let discovery = Discovery { identities: true, ..discovery };
        let authority = certificate::authority(&config, address).context("--trust-domain")?;
        let (limits, drain) = (limits(&config), drain.clone());
        tasks.spawn(async move {
            let tls = certificate::keep(authority, drain.clone()).await;
            let Some(tls) = tls else { return };
            gate.done();
            serve::https_within(limits, secure, discovery.router(), tls, drain).await;
        });
    }

    shutdown::signal().await;
    tracing::info!("ending");
    drain.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Starts reading objects. Returns the resulting snapshots and the verdicts on its objects.
#[expect(clippy::disallowed_methods, reason = "the shell notes when it began")]
async fn configure(
    config: &Config,
    mesh: Mesh,
    metrics: &Metrics,
    gate: Gate,
) -> Result<(watch::Receiver<Arc<Snapshot>>, Channel)> {
    let catalog = Catalog::new(mesh);
    let empty = Snapshot::new(Arc::new(catalog.clone()), 0, Instant::now());
    let (publish, snapshots) = watch::channel(Arc::new(empty));
    let verdicts = Channel::default();
    let (send, facts) = mpsc::channel(QUEUE);
    read(config, send).await?;
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

/// Starts the source of objects: a folder, or else a cluster.
async fn read(config: &Config, facts: mpsc::Sender<Vec<Fact>>) -> Result<()> {
    if let Some(folder) = &config.config_dir {
        return source::folder::watch(folder, facts)
            .with_context(|| format!("the folder {} cannot be watched", folder.display()));
    }
    let access = Access { kubeconfig: config.kubeconfig.clone(), context: config.context.clone() };
    let client = client::server(&access, "pilot")
        .await
        .context("objects are read from Kubernetes, because --config-dir is not given")?;
    let cluster = Cluster {
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
    if config.revision.is_empty() { "istio".to_owned() } else { format!("istio-{}", config.revision) }
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
