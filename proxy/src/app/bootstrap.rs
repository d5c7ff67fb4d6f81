//! Builds the plan of a proxy from a bootstrap file: static resources, and a control plane if the file names one.

use super::environment;
use super::failure::Failure;
use super::plan::{Certificate, Page, PageKind, Plan};
use crate::admin::Needs;
use crate::config::DrainTimes;
use crate::config::args::RunArgs;
use crate::control::xds::{Server, Subscriptions};
use crate::credentials::Store;
use crate::flow::node::Node;
use crate::snapshot::{Snapshot, Update};
use api::model::cluster::{Cluster, ClusterTls, Discovery};
use api::model::endpoint::EndpointAddress;
use api::model::{Kind, Resource};
use api::process::log::{self, Format};
use api::wire::json::{AdsSource, Bootstrap};
use api::xds::server::Mode;
use std::mem::take;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads and checks the whole file before any listener is bound.
#[allow(clippy::disallowed_methods, reason = "this is the shell that knows the time")]
pub(super) fn plan(args: &RunArgs) -> Result<Plan, Failure> {
    let log = log::init(&args.log_level, Format::Text);
    let store = Store::new();
    let Compiled { bootstrap, discovery, snapshot } = read(&args.bootstrap, &store)?;
    let pages = bootstrap.admin.map(|address| Page {
        address,
        kind: PageKind::Admin,
        setting: "admin.address of the bootstrap",
    });
    let limit = environment::cpu_limit().map(|limit| limit.ceil() as usize);
    Ok(Plan {
        started: Instant::now(),
        log,
        own: Arc::new(Node {
            cluster: bootstrap.node.cluster.clone(),
            address: environment::address(),
            ..Node::anonymous()
        }),
        concurrency: args.concurrency.filter(|count| *count > 0).or(limit).unwrap_or(2).max(1),
        pages: pages.into_iter().collect(),
        store,
        snapshot,
        discovery,
        certificate: Certificate::None,
        needs: needs(&bootstrap),
        dns: None,
        drain: DrainTimes {
            termination: Duration::ZERO,
            limit: Duration::from_secs(args.drain_time.into()),
            until_idle: false,
            minimum: Duration::ZERO,
            removal: Duration::ZERO,
        },
        probers: std::collections::BTreeMap::new(),
        scrape: vec![],
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        socket_mark: None,
        capture: None,
        node: bootstrap.node.clone(),
        must_bind: true,
        bootstrap,
    })
}

/// The content of a bootstrap file, compiled.
struct Compiled {
    bootstrap: Bootstrap,
    discovery: Option<(Server, Subscriptions)>,
    snapshot: Snapshot,
}

/// Reads the file, and compiles its resources.
fn read(path: &Path, store: &Arc<Store>) -> Result<Compiled, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Start(format!("{}: cannot be read: {error}", path.display())))?;
    let store = store.clone();
    // Parsing and compiling take many times the memory of the result; a thread's memory returns to the system when the
    // thread ends.
    let compiled = std::thread::spawn(move || {
        let mut bootstrap = Bootstrap::parse(&text).map_err(|error| vec![error.to_string()])?;
        let ads = bootstrap.ads.as_ref();
        let discovery =
            ads.map(|ads| discovery(&bootstrap, ads)).transpose().map_err(|reason| vec![reason])?;
        let snapshot = fixed(&mut bootstrap, &store)?;
        Ok(Compiled { bootstrap, discovery, snapshot })
    });
    let compiled =
        compiled.join().unwrap_or_else(|_| Err(vec!["cannot be read: the parser failed".to_owned()]));
    compiled.map_err(|reasons| located(path, reasons))
}

fn located(path: &Path, reasons: Vec<String>) -> Failure {
    Failure::Settings(reasons.into_iter().map(|reason| format!("{}: {reason}", path.display())).collect())
}

fn needs(bootstrap: &Bootstrap) -> Needs {
    let discovery = bootstrap.ads.as_ref().is_some_and(|ads| ads.clusters || ads.listeners);
    Needs { certificate: false, discovery }
}

/// Builds a snapshot of the static resources, and puts their secrets into the store. Listeners and clusters are
/// moved into the snapshot: a second copy of a large file would cost as much memory as the first.
fn fixed(bootstrap: &mut Bootstrap, store: &Arc<Store>) -> Result<Snapshot, Vec<String>> {
    let mut reasons = vec![];
    for secret in &bootstrap.secrets {
        if let Err(error) = store.set(&secret.name, &secret.content) {
            reasons.push(format!("static_resources.secrets: {error}"));
        }
    }
    let clusters =
        take(&mut bootstrap.clusters).into_iter().map(|cluster| Resource::Cluster(Box::new(cluster)));
    let listeners = take(&mut bootstrap.listeners).into_iter().map(Resource::Listener);
    let update = Update { upsert: clusters.chain(listeners).collect(), remove: vec![] };
    let (snapshot, refused) = Snapshot::empty().apply(update, store);
    for refused in refused {
        let part = if refused.kind == Kind::Cluster { "clusters" } else { "listeners" };
        reasons.push(format!("static_resources.{part}: `{}`: {}", refused.name, refused.reason));
    }
    if reasons.is_empty() { Ok(snapshot) } else { Err(reasons) }
}

fn discovery(bootstrap: &Bootstrap, ads: &AdsSource) -> Result<(Server, Subscriptions), String> {
    let cluster = bootstrap.clusters.iter().find(|cluster| cluster.name == ads.cluster);
    let cluster = cluster.ok_or_else(|| {
        format!("dynamic_resources.ads_config: there is no static cluster `{}`", ads.cluster)
    })?;
    let tls = match &cluster.tls {
        ClusterTls::Never => None,
        ClusterTls::Always(tls) | ClusterTls::WhenOffered(tls) => Some(tls.clone()),
    };
    let mode = if ads.delta { Mode::Delta } else { Mode::Sotw };
    let server = Server::Cluster { address: first_address(cluster)?, tls, mode };
    let kinds = [(ads.clusters, Kind::Cluster), (ads.listeners, Kind::Listener)];
    let wildcards = kinds.iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| *kind).collect();
    Ok((server, Subscriptions { node: bootstrap.node.clone(), wildcards }))
}

fn first_address(cluster: &Cluster) -> Result<String, String> {
    let endpoints = match &cluster.discovery {
        Discovery::Static(endpoints) | Discovery::StrictDns(endpoints) | Discovery::LogicalDns(endpoints) => {
            endpoints
        }
        Discovery::Eds(_) | Discovery::OriginalDestination { .. } => {
            return Err(format!(
                "cluster `{}`: a control plane's cluster needs endpoints of its own",
                cluster.name
            ));
        }
    };
    match endpoints.endpoints().next().map(|endpoint| &endpoint.address) {
        Some(EndpointAddress::Socket(address)) => Ok(address.to_string()),
        Some(EndpointAddress::Dns(host, port)) => Ok(format!("{host}:{port}")),
        Some(EndpointAddress::Pipe(_)) => {
            Err(format!("cluster `{}`: a control plane over a Unix socket is not supported", cluster.name))
        }
        None => Err(format!("cluster `{}` has no endpoint", cluster.name)),
    }
}
