//! Pure. Generates the clusters of a proxy's upstreams: for each port of each visible service, one for the whole
//! service and one for each subset.

use super::mesh_tls;
use super::upstream::Upstream;
use super::view::stands_for;
use crate::catalog::destination_rule::{CertificatePlace, ClientTls, PolicyBlocks, RootsPlace};
use crate::catalog::policy::Mesh;
use crate::catalog::service::{Resolution, ServicePort, TargetPort};
use crate::flow::Protocol;
use api::model::cluster::{
    AddressFamily, Balancer, Cluster, ClusterTls, Discovery, FailurePace, Limits, NameLookup, UpstreamHttp,
};
use api::model::endpoint::LoadAssignment;
use api::model::matcher::StringMatch;
use api::model::tls::{CertificateSource, RootSource, SanMatch, TlsParameters, UpstreamTls, Validation};
use api::name::{self, ClusterName};
use std::time::Duration;

/// The clusters of one service.
pub(super) fn clusters(from: &Upstream) -> Vec<Cluster> {
    let ports = from.service().ports.iter().filter(|p| p.protocol != Protocol::Udp);
    ports.flat_map(|port| of_port(from, port)).collect()
}

/// The clusters that belong to no service: `BlackHoleCluster` and `PassthroughCluster`.
pub(super) fn fixed(mesh: &Mesh) -> [Cluster; 2] {
    [black_hole(mesh), passthrough(mesh)]
}

/// The clusters of one port: the whole service, then its subsets.
fn of_port(from: &Upstream, port: &ServicePort) -> Vec<Cluster> {
    let rule = from.rule();
    let subsets = rule.iter().flat_map(|r| r.subsets.iter().map(|s| s.name.as_str()));
    std::iter::once("")
        .chain(subsets)
        .map(|subset| {
            let blocks = rule.map(|r| r.effective(port.number, subset)).unwrap_or_default();
            let origin = rule.map(|r| r.origin.path("destination-rule"));
            Cluster { origin, ..cluster(from, port, subset, &blocks) }
        })
        .collect()
}

fn cluster(from: &Upstream, port: &ServicePort, subset: &str, blocks: &PolicyBlocks) -> Cluster {
    let service = from.service();
    let name = ClusterName::outbound(&service.host, port.number, subset);
    let pool = blocks.connection_pool.clone().unwrap_or_default();
    let discovery = discovery(from, port, subset, blocks, &name);
    let balancer = match discovery {
        Discovery::OriginalDestination { .. } => Balancer::Provided,
        // A cluster with known endpoints cannot use the client's destination address.
        _ if provided(blocks) => Balancer::RoundRobin,
        _ => blocks.load_balancer.as_ref().map_or(Balancer::LeastRequest { choices: 2 }, |l| l.balancer),
    };
    Cluster {
        connect_timeout: pool.connect_timeout.unwrap_or(from.mesh().connect_timeout),
        balancer,
        http: upstream_http(port.protocol, pool.upgrade_to_http2, pool.use_client_protocol),
        tls: tls(from, port, &discovery, blocks, &name),
        limits: pool.limits,
        outlier: blocks.outlier.map(|o| o.outlier),
        panic_threshold: blocks.outlier.map_or(DEFAULT_PANIC, |o| o.min_health_percent),
        idle_timeout: Some(pool.idle_timeout.unwrap_or(HTTP_IDLE)),
        max_requests_per_connection: pool.max_requests_per_connection,
        keepalive: pool.keepalive,
        lookup: if discovery.is_by_name() { LOOKUP } else { NameLookup::default() },
        service: Some(stands_for(service)),
        ..Cluster::new(name.to_string(), discovery)
    }
}

fn upstream_http(protocol: Protocol, upgrade: bool, as_client: bool) -> UpstreamHttp {
    match protocol {
        _ if as_client => UpstreamHttp::SameAsClient,
        Protocol::Sniffed if !upgrade => UpstreamHttp::SameAsClient,
        p if p.is_http2() || upgrade => UpstreamHttp::Http2,
        _ => UpstreamHttp::Http1,
    }
}

fn discovery(
    from: &Upstream,
    port: &ServicePort,
    subset: &str,
    blocks: &PolicyBlocks,
    name: &ClusterName,
) -> Discovery {
    let service = from.service();
    // At a gateway the client's destination is the gateway itself, so clusters always need endpoints.
    let original = !from.gateway && (service.headless || provided(blocks));
    let given = || from.assignment(port, subset, name.to_string());
    match service.resolution {
        Resolution::Passthrough if from.gateway => Discovery::Static(given()),
        Resolution::Passthrough => {
            let other = match &port.target {
                TargetPort::Number(number) if *number != port.number => Some(*number),
                _ => None,
            };
            Discovery::OriginalDestination { port: other }
        }
        _ if original => Discovery::OriginalDestination { port: None },
        Resolution::Endpoints => Discovery::Eds(name.to_string()),
        Resolution::Dns => Discovery::StrictDns(given()),
        Resolution::DnsRoundRobin => one_name(given()),
    }
}

/// Discovery for a single DNS name; of several entries, the oldest one's. Envoy refuses a logical DNS cluster without a
/// name, which happens for a subset whose labels match no endpoint.
fn one_name(mut given: LoadAssignment) -> Discovery {
    let Some(first) = given.localities.first_mut() else { return Discovery::StrictDns(given) };
    first.endpoints.truncate(1);
    Discovery::LogicalDns(given)
}

fn provided(blocks: &PolicyBlocks) -> bool {
    blocks.load_balancer.as_ref().is_some_and(|l| l.balancer == Balancer::Provided)
}

fn tls(
    from: &Upstream,
    port: &ServicePort,
    discovery: &Discovery,
    blocks: &PolicyBlocks,
    name: &ClusterName,
) -> ClusterTls {
    let service = from.service();
    match &blocks.tls {
        Some(ClientTls::Disable) => ClusterTls::Never,
        Some(ClientTls::Istio { subject_alt_names, sni }) => {
            let names = if subject_alt_names.is_empty() {
                from.backing.identities()
            } else {
                subject_alt_names.clone()
            };
            let sni = sni.clone().unwrap_or_else(|| name.sni());
            ClusterTls::Always(Box::new(mesh_tls::client(sni, &names, alpn(from, port.protocol))))
        }
        Some(ClientTls::Own { certificate, roots, subject_alt_names, sni }) => {
            // The ServiceEntry's names apply if the rule sets none.
            let names =
                if subject_alt_names.is_empty() { &service.subject_alt_names } else { subject_alt_names };
            let context = own_tls(certificate.as_ref(), roots, names, sni.as_deref(), port.protocol);
            ClusterTls::Always(Box::new(context))
        }
        None if service.mesh_external || !from.mesh().auto_mtls => ClusterTls::Never,
        None => automatic(from, port, discovery, name),
    }
}

/// Automatic mTLS: for each endpoint that has a sidecar. Where endpoints are not known individually, only if all have
/// one.
fn automatic(from: &Upstream, port: &ServicePort, discovery: &Discovery, name: &ClusterName) -> ClusterTls {
    let context = || {
        let identities = from.backing.identities();
        Box::new(mesh_tls::client(name.sni(), &identities, alpn(from, port.protocol)))
    };
    if !matches!(discovery, Discovery::OriginalDestination { .. }) {
        return ClusterTls::WhenOffered(context());
    }
    if from.backing.takes_mtls(port) { ClusterTls::Always(context()) } else { ClusterTls::Never }
}

/// The ALPN values that a cluster offers. A proxy with Istio's ALPN filter replaces the plain "istio" per request;
/// others need the exact value here.
fn alpn(from: &Upstream, protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        _ if from.istio_extensions => mesh_tls::CALLER_TCP_ALPN,
        p if p.is_http2() => mesh_tls::CALLER_HTTP2_ALPN,
        p if p.is_http() => mesh_tls::CALLER_HTTP1_ALPN,
        _ => mesh_tls::CALLER_TCP_ALPN,
    }
}

fn own_tls(
    certificate: Option<&CertificatePlace>,
    roots: &RootsPlace,
    subject_alt_names: &[String],
    sni: Option<&str>,
    protocol: Protocol,
) -> UpstreamTls {
    let certificates = certificate.map(|place| match place {
        CertificatePlace::Files { chain, key } => {
            CertificateSource::Files { certificate: chain.clone(), key: key.clone() }
        }
        CertificatePlace::Secret(name) => CertificateSource::Sds(secret_name(name)),
    });
    let roots = match roots {
        RootsPlace::System => RootSource::File(name::SYSTEM_ROOTS.into()),
        RootsPlace::File(file) => RootSource::File(file.clone()),
        RootsPlace::Secret(name) => RootSource::Sds(format!("{}-cacert", secret_name(name))),
        RootsPlace::Unverified => RootSource::None,
    };
    let names =
        subject_alt_names.iter().map(|n| SanMatch { kind: None, value: StringMatch::exact(n.clone()) });
    let alpn: &[&str] = match protocol {
        p if p.is_http2() => &["h2"],
        p if p.is_http() => &["http/1.1"],
        _ => &[],
    };
    UpstreamTls {
        auto_sni: sni.is_none(),
        auto_san: sni.is_none() && subject_alt_names.is_empty(),
        sni: sni.unwrap_or_default().to_owned(),
        common: TlsParameters {
            alpn: alpn.iter().map(|a| (*a).to_owned()).collect(),
            certificates: certificates.into_iter().collect(),
            validation: Some(Validation { roots, subject_alt_names: names.collect() }),
            ..TlsParameters::default()
        },
    }
}

/// The resource name by which proxies request a Secret of their own namespace.
pub(super) fn secret_name(secret: &str) -> String {
    format!("kubernetes://{secret}")
}

/// The cluster without endpoints, for unknown destinations under `REGISTRY_ONLY`: connections are reset.
fn black_hole(mesh: &Mesh) -> Cluster {
    let none = LoadAssignment { cluster: name::BLACK_HOLE_CLUSTER.into(), localities: vec![] };
    Cluster {
        connect_timeout: mesh.connect_timeout,
        ..Cluster::new(name::BLACK_HOLE_CLUSTER, Discovery::Static(none))
    }
}

/// The cluster that forwards to the client's original destination.
fn passthrough(mesh: &Mesh) -> Cluster {
    Cluster {
        connect_timeout: mesh.connect_timeout,
        balancer: Balancer::Provided,
        http: UpstreamHttp::SameAsClient,
        limits: Limits::UNLIMITED,
        ..Cluster::new(name::PASSTHROUGH_CLUSTER, Discovery::OriginalDestination { port: None })
    }
}

/// As in Istio, except that failed look-ups are retried sooner than after a minute, and IPv6 addresses are used when
/// there are no IPv4 addresses.
const LOOKUP: NameLookup = NameLookup {
    refresh: Duration::from_secs(60),
    failure: Some(FailurePace { base: Duration::from_secs(1), longest: Duration::from_secs(10) }),
    jitter: Duration::from_millis(100),
    respect_ttl: true,
    family: AddressFamily::V4OrV6,
};
const HTTP_IDLE: Duration = Duration::from_secs(3600);
/// Envoy's default panic threshold, used without outlier detection.
const DEFAULT_PANIC: u32 = 50;
