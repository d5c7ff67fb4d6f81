//! Builds the plan of a proxy in a mesh from its settings.

use super::environment;
use super::failure::Failure;
use super::plan::{Certificate, DnsPlan, Page, PageKind, Plan};
use crate::admin::Needs;
use crate::config::Config;
use crate::config::args::MeshArgs;
use crate::control::mounted;
use crate::control::xds::{Server, Subscriptions};
use crate::credentials::Store;
use crate::flow::node::Node;
use crate::lookup::resolv_conf::ResolvConf;
use crate::redirect::settings::excludes_loopback;
use crate::redirect::verify::Probe;
use crate::snapshot::Snapshot;
use api::model::Kind;
use api::model::workload::Workload;
use api::process::enroll::Authority;
use api::process::log::{self, Format};
use api::wire::json::{AdsSource, Bootstrap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Parses the settings of this process.
#[allow(clippy::disallowed_methods, reason = "this is the shell that knows the time")]
pub(super) fn plan(args: &MeshArgs) -> Result<Plan, Failure> {
    let config = Config::parse(args, &environment::raw(&args.podinfo))
        .map_err(|mistakes| Failure::Settings(mistakes.iter().map(ToString::to_string).collect()))?;
    let log = log::init(&config.log_level, if args.log_as_json { Format::Json } else { Format::Text });
    if !config.ignored.is_empty() {
        tracing::info!(settings = ?config.ignored, "these settings of PROXY_CONFIG have no effect");
    }
    Ok(from_config(config, log, Instant::now()))
}

fn from_config(config: Config, log: log::Handle, started: Instant) -> Plan {
    let certificate = certificate(&config);
    let pages = pages(&config);
    let capture = capture(&config);
    let dns = config.dns.then(|| DnsPlan {
        address: SocketAddr::new(loopback(config.pod.address), config.ports.dns),
        namespace: config.pod.namespace.clone(),
        resolv: ResolvConf::parse(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
    });
    let mut wildcards = vec![Kind::Cluster, Kind::Listener];
    if config.dns {
        wildcards.push(Kind::Names);
    }
    let ads = AdsSource { cluster: "xds-grpc".into(), delta: true, listeners: true, clusters: true };
    Plan {
        started,
        log,
        own: Arc::new(own(&config)),
        concurrency: config.concurrency,
        pages,
        store: Store::new(),
        snapshot: Snapshot::empty(),
        certificate,
        // A proxy in a mesh is ready only with both, even if it reaches the control plane in plaintext.
        needs: Needs { certificate: true, discovery: true },
        dns,
        drain: config.drain,
        probers: config.probers,
        scrape: config.scrape,
        address: config.pod.address,
        socket_mark: config.socket_mark,
        capture,
        bootstrap: Bootstrap {
            node: config.node.clone(),
            ads: Some(ads),
            admin: Some(SocketAddr::new(loopback(config.pod.address), config.ports.admin)),
            ..Bootstrap::default()
        },
        must_bind: false,
        discovery: Some((
            Server::Mesh { discovery: config.discovery, cluster_id: config.pod.cluster_id },
            Subscriptions { node: config.node.clone(), wildcards },
        )),
        node: config.node,
    }
}

/// The test of traffic capture, if one is possible.
fn capture(config: &Config) -> Option<Probe> {
    if !config.checks_capture {
        return None;
    }
    if excludes_loopback(&config.excluded_interfaces) {
        tracing::info!("capture is not tested: the loopback interface is excluded from it");
        return None;
    }
    let mark = config.socket_mark;
    Some(Probe { inbound_port: CAPTURE_PORT, port: PROBE_PORT, mark, timeout: PROBE_LIMIT })
}

fn certificate(config: &Config) -> Certificate {
    if mounted::is_there(&config.mounted) {
        return Certificate::Mounted(config.mounted.clone());
    }
    Certificate::Authority(Box::new(Authority {
        address: config.authority.clone(),
        roots: config.discovery.roots.clone(),
        token: Some(config.discovery.token.clone()),
        server: config.authority_server.clone(),
        cluster_id: config.pod.cluster_id.clone(),
        validity: config.certificate_life,
    }))
}

fn pages(config: &Config) -> Vec<Page> {
    let any = if config.pod.address.is_ipv6() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let page = |address, port, kind, setting| Page { address: SocketAddr::new(address, port), kind, setting };
    let ports = config.ports;
    vec![
        page(loopback(config.pod.address), ports.admin, PageKind::Admin, "PROXY_CONFIG.proxyAdminPort"),
        page(any, ports.status, PageKind::Status, "PROXY_CONFIG.statusPort"),
        page(any, ports.probes, PageKind::Status, "status.sidecar.istio.io/port"),
        page(any, ports.health, PageKind::Health, "ISTIO_META_ENVOY_STATUS_PORT"),
        page(any, ports.prometheus, PageKind::Metrics, "ISTIO_META_ENVOY_PROMETHEUS_PORT"),
    ]
}

fn loopback(like: IpAddr) -> IpAddr {
    if like.is_ipv6() { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// The workload's description of itself for its own metrics.
fn own(config: &Config) -> Node {
    let pod = &config.pod;
    let label = |names: &[&str]| names.iter().find_map(|name| pod.labels.get(*name)).cloned();
    let workload = Workload {
        uid: format!("{}//Pod/{}/{}", pod.cluster_id, pod.namespace, pod.name),
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        addresses: vec![pod.address],
        trust_domain: pod.trust_domain.clone(),
        service_account: pod.service_account.clone(),
        workload_name: pod.workload_name.clone(),
        canonical_name: label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"])
            .unwrap_or_else(|| pod.workload_name.clone()),
        canonical_revision: label(&[
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ])
        .unwrap_or_else(|| "latest".to_owned()),
        app: label(&["app"]).unwrap_or_default(),
        version: label(&["version"]).unwrap_or_default(),
        cluster_id: pod.cluster_id.clone(),
    };
    Node {
        kind: pod.kind,
        cluster: config.node.cluster.clone(),
        workload,
        trust_domain: pod.trust_domain.clone(),
        address: pod.address,
    }
}

/// The port of the listener for captured inbound connections; the default of `init`.
const CAPTURE_PORT: u16 = 15006;
/// The port to which Istio's own validation connects.
const PROBE_PORT: u16 = 15002;
const PROBE_LIMIT: Duration = Duration::from_secs(1);
const RESOLV_CONF: &str = "/etc/resolv.conf";
