//! Pure. What a sidecar does with connections to its own application: the `virtualInbound` listener with its
//! chains per port, and the clusters that lead to the application.
//!
//! Istio's rules: a PERMISSIVE port takes mTLS (told by Istio's ALPN values), plaintext, and, where HTTP is not
//! declared, foreign TLS passed through; a STRICT port takes mTLS only. What no port matches goes through a
//! catch-all chain with the same rules, so that STRICT holds for undeclared ports too.

use super::mesh_tls;
use super::view::stands_for;
use crate::catalog::Catalog;
use crate::flow::{MtlsMode, Protocol, Scope};
use api::model::access_log::AccessLog;
use api::model::cluster::{Cluster, ClusterService, Discovery};
use api::model::listener::{
    ChainMatch, Direction, FilterChain, ForwardClientCertificate, ForwardMode, HttpConnection, HttpFilter,
    Inspect, Listener, Protocol as ChainProtocol, RouteSource, TcpProxy, Transport,
};
use api::model::matcher::BackOff;
use api::model::route::{
    ClusterChoice, Forward, RetryOn, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch,
    VirtualHost,
};
use api::name::{self, ClusterName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Port that captured inbound connections are redirected to.
pub(super) const CAPTURE_PORT: u16 = 15006;

/// A port of the workload that a Service names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InboundPort {
    /// The workload's port.
    pub(super) port: u16,
    /// What it speaks.
    pub(super) protocol: Protocol,
    /// Whom it takes.
    pub(super) mtls: MtlsMode,
    /// The Service that names it, which its requests are counted for.
    pub(super) service: Option<ClusterService>,
}

/// What all ports share.
#[derive(Debug, Clone)]
pub(super) struct InboundSettings {
    /// For ports that no Service names.
    pub(super) default_mtls: MtlsMode,
    /// Trust domain whose identities callers must have.
    pub(super) trust_domain: String,
    /// How long to wait for the first bytes of a plaintext client; server-first protocols pass after it.
    pub(super) detection_timeout: Duration,
    /// Logs.
    pub(super) access_log: Vec<AccessLog>,
    /// Filters of Istio's own that the proxy knows.
    pub(super) istio_extensions: bool,
}

/// The ports of a workload that Services name, with whom each takes.
pub(super) fn of_workload(catalog: &Catalog, scope: &Scope) -> (Vec<InboundPort>, InboundSettings) {
    let mesh = catalog.mesh();
    let settings = InboundSettings {
        default_mtls: catalog.default_mtls_mode(&scope.namespace, &scope.labels),
        trust_domain: mesh.trust_domain.clone(),
        detection_timeout: mesh.detection_timeout.max(LEAST_DETECTION),
        access_log: mesh.access_log.clone(),
        istio_extensions: scope.istio_extensions,
    };
    let Some(workload) = catalog.workload_of(scope) else { return (vec![], settings) };
    let mut ports = BTreeMap::new();
    for service in catalog.services_of(workload) {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let Some(number) = port.on(workload) else { continue };
            // The oldest Service decides what a port speaks that several name.
            ports.entry(number).or_insert(InboundPort {
                port: number,
                protocol: port.protocol,
                mtls: catalog.mtls_mode(workload, number),
                service: Some(stands_for(&service)),
            });
        }
    }
    // A policy for a port that no Service names must hold too.
    for port in &workload.ports {
        let mtls = catalog.mtls_mode(workload, port.number);
        if mtls != settings.default_mtls {
            let protocol = Protocol::Sniffed;
            let unnamed = InboundPort { port: port.number, protocol, mtls, service: None };
            ports.entry(port.number).or_insert(unnamed);
        }
    }
    (ports.into_values().collect(), settings)
}

/// The `virtualInbound` listener.
pub(super) fn listener(ports: &[InboundPort], settings: &InboundSettings) -> Listener {
    let mut chains = vec![blackhole()];
    for port in ports {
        chains.extend(port_chains(port, settings));
    }
    chains.extend(catch_all(settings));
    Listener {
        name: name::VIRTUAL_INBOUND.into(),
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, CAPTURE_PORT)),
        bind_to_port: true,
        direction: Direction::Inbound,
        use_original_destination: false,
        inspect: Inspect {
            original_destination: true,
            tls: true,
            http: true,
            timeout: Some(settings.detection_timeout),
            continue_on_timeout: true,
        },
        chains,
        default_chain: None,
    }
}

/// The clusters that lead to the application's ports, and to ports that no Service names.
pub(super) fn clusters(ports: &[InboundPort], connect_timeout: Duration) -> Vec<Cluster> {
    let named = ports.iter().map(|port| Cluster {
        service: port.service.clone(),
        ..application_cluster(ClusterName::Inbound { port: port.port }.to_string(), connect_timeout)
    });
    let unnamed = application_cluster(name::INBOUND_PASSTHROUGH_CLUSTER.into(), connect_timeout);
    named.chain([unnamed]).collect()
}

fn application_cluster(name: String, connect_timeout: Duration) -> Cluster {
    Cluster {
        connect_timeout,
        balancer: api::model::cluster::Balancer::Provided,
        http: api::model::cluster::UpstreamHttp::SameAsClient,
        limits: api::model::cluster::Limits::UNLIMITED,
        bind: Some(name::INBOUND_SOURCE),
        ..Cluster::new(name, Discovery::OriginalDestination)
    }
}

/// How the first bytes of a connection select a chain.
struct Variant {
    suffix: &'static str,
    mtls: bool,
    transport: Option<Transport>,
    alpn: &'static [&'static str],
    http: bool,
}

const fn variant(
    suffix: &'static str,
    mtls: bool,
    transport: Option<Transport>,
    alpn: &'static [&'static str],
    http: bool,
) -> Variant {
    Variant { suffix, mtls, transport, alpn, http }
}

const RAW: Option<Transport> = Some(Transport::Raw);
const TLS: Option<Transport> = Some(Transport::Tls);

/// The chains of a port, as first bytes tell them apart.
fn variants(protocol: Protocol, mode: MtlsMode) -> Vec<Variant> {
    let all = mesh_tls::MESH_ALPN;
    let (http, tcp, plain_http) = (mesh_tls::MESH_HTTP_ALPN, mesh_tls::MESH_TCP_ALPN, mesh_tls::PLAIN_HTTP);
    match (mode, protocol) {
        (MtlsMode::Permissive, Protocol::Sniffed) => vec![
            variant("-mtls-http", true, TLS, http, true),
            variant("-http", false, RAW, plain_http, true),
            variant("-mtls", true, TLS, tcp, false),
            variant("", false, RAW, &[], false),
            variant("-tls", false, TLS, &[], false),
        ],
        (MtlsMode::Permissive, p) if p.is_http() => {
            vec![variant("-mtls", true, TLS, all, true), variant("", false, RAW, &[], true)]
        }
        (MtlsMode::Permissive, _) => vec![
            variant("-mtls", true, TLS, all, false),
            variant("-tls", false, TLS, &[], false),
            variant("", false, RAW, &[], false),
        ],
        (MtlsMode::Strict, Protocol::Sniffed) => {
            vec![variant("-mtls-http", true, TLS, http, true), variant("-mtls", true, TLS, &[], false)]
        }
        (MtlsMode::Strict, p) => vec![variant("-mtls", true, TLS, &[], p.is_http())],
        (MtlsMode::Disable, Protocol::Sniffed) => {
            vec![variant("-http", false, RAW, plain_http, true), variant("", false, None, &[], false)]
        }
        (MtlsMode::Disable, p) => vec![variant("", false, None, &[], p.is_http())],
    }
}

fn port_chains(port: &InboundPort, settings: &InboundSettings) -> Vec<FilterChain> {
    let cluster = ClusterName::Inbound { port: port.port }.to_string();
    let target = Target { port: Some(port.port), protocol: port.protocol, cluster };
    variants(port.protocol, port.mtls)
        .iter()
        .map(|v| chain(format!("0.0.0.0_{}{}", port.port, v.suffix), &target, v, settings))
        .collect()
}

fn catch_all(settings: &InboundSettings) -> Vec<FilterChain> {
    let cluster = name::INBOUND_PASSTHROUGH_CLUSTER.to_owned();
    let target = Target { port: None, protocol: Protocol::Sniffed, cluster };
    variants(Protocol::Sniffed, settings.default_mtls)
        .iter()
        .map(|v| {
            let base = if v.http { "virtualInbound-catchall-http" } else { name::VIRTUAL_INBOUND };
            chain(format!("{base}{}", v.suffix), &target, v, settings)
        })
        .collect()
}

struct Target {
    port: Option<u16>,
    protocol: Protocol,
    cluster: String,
}

fn chain(name: String, target: &Target, variant: &Variant, settings: &InboundSettings) -> FilterChain {
    FilterChain {
        name,
        criteria: ChainMatch {
            destination_port: target.port,
            transport: variant.transport,
            application_protocols: variant.alpn.iter().map(|a| (*a).to_owned()).collect(),
            ..ChainMatch::default()
        },
        tls: variant.mtls.then(|| mesh_tls::server(&settings.trust_domain, variant.http)),
        authorization: vec![],
        protocol: if variant.http { http(target, settings) } else { tcp(&target.cluster, settings) },
    }
}

fn tcp(cluster: &str, settings: &InboundSettings) -> ChainProtocol {
    ChainProtocol::Tcp(TcpProxy {
        stat_prefix: cluster.to_owned(),
        clusters: ClusterChoice::Single(cluster.to_owned()),
        idle_timeout: Some(TCP_IDLE),
        max_connect_attempts: 1,
        access_log: settings.access_log.clone(),
    })
}

fn http(target: &Target, settings: &InboundSettings) -> ChainProtocol {
    let label = target.port.map_or_else(|| "*".to_owned(), |p| p.to_string());
    let route = Route {
        name: "default".into(),
        criteria: RouteMatch::any(),
        action: RouteAction::Forward(Box::new(Forward {
            retry: (target.protocol != Protocol::Grpc).then(application_retry),
            ..Forward::to(&target.cluster)
        })),
        request_headers: api::model::matcher::HeaderMutations::default(),
        response_headers: api::model::matcher::HeaderMutations::default(),
        fault: None,
        authorization: None,
        origin: None,
    };
    let routes = RouteConfiguration {
        name: target.cluster.clone(),
        virtual_hosts: vec![VirtualHost {
            name: format!("inbound|http|{label}"),
            domains: vec!["*".into()],
            routes: vec![route],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    ChainProtocol::Http(Box::new(HttpConnection {
        filters: filters(settings.istio_extensions),
        server_name: Some("istio-envoy".into()),
        client_certificate: ForwardClientCertificate {
            mode: ForwardMode::AppendForward,
            subject: true,
            uri: true,
            dns: true,
            ..ForwardClientCertificate::default()
        },
        normalize_path: true,
        upgrades: vec!["websocket".into()],
        stream_idle_timeout: None,
        access_log: settings.access_log.clone(),
        ..HttpConnection::new(format!("inbound_0.0.0.0_{label}"), RouteSource::Inline(routes))
    }))
}

fn filters(istio_extensions: bool) -> Vec<HttpFilter> {
    let own = [HttpFilter::PeerMetadata, HttpFilter::Stats];
    let mut filters: Vec<HttpFilter> = if istio_extensions { own.into() } else { vec![] };
    filters.extend([
        HttpFilter::Fault(api::model::route::Fault::default()),
        HttpFilter::Cors,
        HttpFilter::Router,
    ]);
    filters
}

/// Repeats only what the application cannot have seen.
fn application_retry() -> RetryPolicy {
    RetryPolicy {
        on: vec![RetryOn::ResetBeforeRequest],
        status_codes: vec![],
        attempts: 2,
        per_try_timeout: None,
        back_off: BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
        avoid_previous_hosts: 0,
        headers: vec![],
        request_headers: vec![],
    }
}

/// Connections to the capture port itself would loop: they end here.
fn blackhole() -> FilterChain {
    FilterChain {
        name: "virtualInbound-blackhole".into(),
        criteria: ChainMatch { destination_port: Some(CAPTURE_PORT), ..ChainMatch::default() },
        tls: None,
        authorization: vec![],
        protocol: ChainProtocol::Tcp(TcpProxy {
            stat_prefix: name::BLACK_HOLE_CLUSTER.into(),
            clusters: ClusterChoice::Single(name::BLACK_HOLE_CLUSTER.into()),
            idle_timeout: Some(TCP_IDLE),
            max_connect_attempts: 1,
            access_log: vec![],
        }),
    }
}

/// Callers of the mesh speak at once, but on a busy machine "at once" may take a while: taking a late TLS hello for
/// plaintext would break the call, while a plaintext client that waits for the server only loses this long.
const LEAST_DETECTION: Duration = Duration::from_secs(1);
/// Istio's and Envoy's default for idle TCP connections.
pub(super) const TCP_IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> InboundSettings {
        InboundSettings {
            default_mtls: MtlsMode::Permissive,
            trust_domain: "cluster.local".into(),
            detection_timeout: Duration::from_secs(1),
            access_log: vec![],
            istio_extensions: true,
        }
    }

    /// Chains of port 9080 as `suffix mtls|plain http|tcp`.
    fn chains(protocol: Protocol, mtls: MtlsMode) -> Vec<String> {
        listener(&[InboundPort { port: 9080, protocol, mtls, service: None }], &settings())
            .chains
            .iter()
            .filter(|c| c.criteria.destination_port == Some(9080))
            .map(|c| {
                let security = if c.tls.is_some() { "mtls" } else { "plain" };
                let kind = if matches!(c.protocol, ChainProtocol::Http(_)) { "http" } else { "tcp" };
                format!("{}:{security}:{kind}", c.name)
            })
            .collect()
    }

    #[test]
    fn a_permissive_sniffed_port_has_istios_five_chains() {
        assert_eq!(
            chains(Protocol::Sniffed, MtlsMode::Permissive),
            [
                "0.0.0.0_9080-mtls-http:mtls:http",
                "0.0.0.0_9080-http:plain:http",
                "0.0.0.0_9080-mtls:mtls:tcp",
                "0.0.0.0_9080:plain:tcp",
                "0.0.0.0_9080-tls:plain:tcp",
            ]
        );
    }

    #[test]
    fn a_strict_port_has_no_chain_without_mtls() {
        for protocol in [Protocol::Http, Protocol::Grpc, Protocol::Tcp, Protocol::Tls, Protocol::Sniffed] {
            let found = chains(protocol, MtlsMode::Strict);
            assert!(
                !found.is_empty() && found.iter().all(|c| c.contains(":mtls:")),
                "{protocol:?}: {found:?}"
            );
        }
    }

    #[test]
    fn a_strict_default_closes_undeclared_ports_to_plaintext() {
        let strict = InboundSettings { default_mtls: MtlsMode::Strict, ..settings() };
        let open = listener(&[], &strict)
            .chains
            .into_iter()
            .filter(|c| c.tls.is_none() && c.name != "virtualInbound-blackhole")
            .count();
        assert_eq!(open, 0);
    }

    #[test]
    fn a_disabled_port_takes_no_mtls() {
        for protocol in [Protocol::Http, Protocol::Tcp, Protocol::Sniffed] {
            assert!(chains(protocol, MtlsMode::Disable).iter().all(|c| c.contains(":plain:")));
        }
    }

    #[test]
    fn every_port_has_a_cluster_that_leaves_from_the_loop_breaking_address() {
        let mtls = MtlsMode::Permissive;
        let port = InboundPort { port: 9080, protocol: Protocol::Http, mtls, service: None };
        let clusters = clusters(&[port], Duration::from_secs(10));
        assert_eq!(clusters[0].name, "inbound|9080||");
        assert!(clusters.iter().all(|c| c.bind == Some(name::INBOUND_SOURCE)));
    }

    #[test]
    fn a_cluster_to_the_application_names_the_service_that_requests_are_counted_for() {
        let service =
            ClusterService { host: "web.shop.svc.cluster.local".into(), ..ClusterService::default() };
        let (protocol, mtls) = (Protocol::Http, MtlsMode::Permissive);
        let port = InboundPort { port: 9080, protocol, mtls, service: Some(service.clone()) };
        let services: Vec<_> = clusters(&[port], Duration::ZERO).into_iter().map(|c| c.service).collect();
        assert_eq!(services, [Some(service), None]);
    }
}
