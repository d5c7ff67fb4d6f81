//! Pure. Generates the inbound side of a sidecar: the `virtualInbound` listener with its filter chains per port, and
//! the clusters of the local application.
//!
//! Istio's rules: a PERMISSIVE port accepts mTLS (recognized by Istio's ALPN values), plaintext, and, where HTTP is not
//! declared, other TLS, which is passed through. A STRICT port accepts mTLS only. Connections to undeclared ports match
//! a catch-all chain with the same rules, so STRICT applies to them too.

use super::filters::{self, Side};
use super::view::stands_for;
use super::{http_connection, mesh_tls};
use crate::catalog::Catalog;
use crate::catalog::policy::PathNormalization;
use crate::flow::{MtlsMode, Protocol, Scope};
use api::model::Resource;
use api::model::access_log::AccessLog;
use api::model::cluster::{Cluster, ClusterService, Discovery};
use api::model::listener::{
    ChainMatch, Direction, FilterChain, ForwardClientCertificate, ForwardMode, HttpConnection, Inspect,
    Listener, Protocol as ChainProtocol, RouteSource, TcpProxy, Transport,
};
use api::model::matcher::BackOff;
use api::model::port_set::PortSet;
use api::model::route::{
    ClusterChoice, Forward, RetryOn, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch,
    VirtualHost,
};
use api::name::{self, ClusterName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The port that captured inbound connections are redirected to.
pub(super) const CAPTURE_PORT: u16 = 15006;

/// A port of the workload that a Service or a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InboundPort {
    /// The workload's port.
    pub(super) port: u16,
    /// The corresponding port of the Service; absent if only a policy names the port.
    pub(super) service_port: Option<u16>,
    /// The protocol of the application.
    pub(super) protocol: Protocol,
    /// The mTLS mode.
    pub(super) mtls: MtlsMode,
    /// The Service, for metrics; absent if only a policy names the port.
    pub(super) service: Option<ClusterService>,
}

/// The settings that all ports share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InboundSettings {
    /// Connect timeout to the application.
    pub(super) connect_timeout: Duration,
    /// The mTLS mode of undeclared ports.
    pub(super) default_mtls: MtlsMode,
    /// The trust domain that client identities must belong to.
    pub(super) trust_domain: String,
    /// How long protocol detection waits for the first bytes of a plaintext client. After it, server-first protocols
    /// proceed.
    pub(super) detection_timeout: Duration,
    /// How paths are normalized before routing and authorization.
    pub(super) paths: PathNormalization,
    /// Whether HTTP/1.0 is accepted.
    pub(super) http_10: bool,
    /// Access logs.
    pub(super) access_log: Vec<AccessLog>,
    /// Whether the proxy supports Istio's own filters.
    pub(super) istio_extensions: bool,
}

/// Everything that the inbound side of a sidecar is generated from. Equal values give equal resources.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// `None` for a gateway, which has no application.
    sidecar: Option<(Vec<InboundPort>, InboundSettings)>,
}

impl Inbound {
    /// Returns the inputs for a proxy.
    pub fn of(catalog: &Catalog, scope: &Scope) -> Self {
        Self { sidecar: (!scope.gateway).then(|| of_workload(catalog, scope)) }
    }

    /// Generates the listener and clusters.
    pub fn resources(&self) -> Vec<Resource> {
        let Some((ports, settings)) = &self.sidecar else { return vec![] };
        let clusters = clusters(ports, settings.connect_timeout).into_iter();
        let clusters = clusters.map(|cluster| Resource::Cluster(Box::new(cluster)));
        clusters.chain([Resource::Listener(listener(ports, settings))]).collect()
    }
}

/// The ports of a workload that Services or policies name, with their mTLS modes, and the shared settings.
pub(super) fn of_workload(catalog: &Catalog, scope: &Scope) -> (Vec<InboundPort>, InboundSettings) {
    let mesh = catalog.mesh();
    let workload = catalog.workload_of(scope);
    let labels = workload.map_or(&scope.labels, |w| &w.labels);
    let mode = |port: Option<u16>| catalog.peer_mode(&scope.namespace, labels, port);
    let settings = InboundSettings {
        connect_timeout: mesh.connect_timeout,
        default_mtls: mode(None),
        trust_domain: mesh.trust_domain.clone(),
        detection_timeout: mesh.detection_timeout.max(LEAST_DETECTION),
        paths: mesh.paths,
        http_10: scope.http_10,
        access_log: mesh.access_log.clone(),
        istio_extensions: scope.istio_extensions,
    };
    let mut ports = BTreeMap::new();
    for target in workload.map(|w| catalog.targets_of(w)).unwrap_or_default() {
        let protocol = target.port().protocol;
        // If several Services name a port, the oldest decides its protocol.
        if protocol != Protocol::Udp {
            ports.entry(target.number).or_insert_with(|| InboundPort {
                port: target.number,
                service_port: Some(target.port().number),
                protocol,
                mtls: mode(Some(target.number)),
                service: Some(stands_for(&target.service)),
            });
        }
    }
    // A policy for a port applies even if no Service names the port and no container declares it.
    for (port, mtls) in catalog.policy_ports(&scope.namespace, labels) {
        if mtls != settings.default_mtls && port != CAPTURE_PORT {
            let unnamed =
                InboundPort { port, service_port: None, protocol: Protocol::Sniffed, mtls, service: None };
            ports.entry(port).or_insert(unnamed);
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
            original_destination: true.into(),
            tls: inspected(&chains, |criteria| criteria.transport == Some(Transport::Tls)),
            http: inspected(&chains, |criteria| {
                criteria.application_protocols.iter().any(|p| is_plain_http(p))
            }),
            timeout: Some(settings.detection_timeout),
            continue_on_timeout: true,
        },
        chains,
        default_chain: None,
    }
}

/// The ports whose first bytes have to be inspected: all but those with chains of their own, none of which needs it.
/// Where a server sends first, an inspection would hold up the connection.
fn inspected(chains: &[FilterChain], needs: impl Fn(&ChainMatch) -> bool) -> PortSet {
    let of = |needed: bool| {
        let criteria =
            chains.iter().map(|chain| &chain.criteria).filter(|criteria| needs(criteria) == needed);
        criteria.filter_map(|criteria| criteria.destination_port).collect::<PortSet>()
    };
    of(false).intersection(&of(true).complement()).complement()
}

fn is_plain_http(protocol: &str) -> bool {
    mesh_tls::plain_http(true).contains(&protocol)
}

/// The clusters of the application's ports, and those for undeclared ports.
pub(super) fn clusters(ports: &[InboundPort], connect_timeout: Duration) -> Vec<Cluster> {
    let named = ports.iter().filter(|port| port.service.is_some()).map(|port| Cluster {
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
        ..Cluster::new(name, Discovery::OriginalDestination { port: None })
    }
}

/// The criteria by which the first bytes of a connection select a chain.
struct Variant {
    mtls: bool,
    transport: Option<Transport>,
    alpn: &'static [&'static str],
    http: bool,
}

const fn variant(
    mtls: bool,
    transport: Option<Transport>,
    alpn: &'static [&'static str],
    http: bool,
) -> Variant {
    Variant { mtls, transport, alpn, http }
}

const RAW: Option<Transport> = Some(Transport::Raw);
const TLS: Option<Transport> = Some(Transport::Tls);

/// The filter chain variants of a port, by protocol and mTLS mode.
fn variants(protocol: Protocol, mode: MtlsMode, http_10: bool) -> Vec<Variant> {
    let all = mesh_tls::MESH_ALPN;
    let (http, tcp) = (mesh_tls::MESH_HTTP_ALPN, mesh_tls::MESH_TCP_ALPN);
    let plain_http = mesh_tls::plain_http(http_10);
    match (mode, protocol) {
        (MtlsMode::Permissive, Protocol::Sniffed) => vec![
            variant(true, TLS, http, true),
            variant(false, RAW, plain_http, true),
            variant(true, TLS, tcp, false),
            variant(false, RAW, &[], false),
            variant(false, TLS, &[], false),
        ],
        (MtlsMode::Permissive, p) if p.is_http() => {
            vec![variant(true, TLS, all, true), variant(false, RAW, &[], true)]
        }
        (MtlsMode::Permissive, _) => vec![
            variant(true, TLS, all, false),
            variant(false, TLS, &[], false),
            variant(false, RAW, &[], false),
        ],
        (MtlsMode::Strict, Protocol::Sniffed) => {
            vec![variant(true, TLS, http, true), variant(true, TLS, &[], false)]
        }
        (MtlsMode::Strict, p) => vec![variant(true, TLS, &[], p.is_http())],
        // If one chain matches on the transport, Envoy never selects a chain without a transport. So opaque bytes and
        // TLS each get a chain with one.
        (MtlsMode::Disable, Protocol::Sniffed) => vec![
            variant(false, RAW, plain_http, true),
            variant(false, RAW, &[], false),
            variant(false, TLS, &[], false),
        ],
        (MtlsMode::Disable, p) => vec![variant(false, None, &[], p.is_http())],
    }
}

/// The filter chains of a port. As in Istio they share a name; those of a port without a Service have the name of the
/// catch-all chains.
fn port_chains(port: &InboundPort, settings: &InboundSettings) -> Vec<FilterChain> {
    let named = port.service.is_some();
    let cluster = if named {
        ClusterName::Inbound { port: port.port }.to_string()
    } else {
        name::INBOUND_PASSTHROUGH_CLUSTER.to_owned()
    };
    let InboundPort { service_port, protocol, .. } = *port;
    let target = Target { port: Some(port.port), service_port, protocol, cluster };
    variants(protocol, port.mtls, settings.http_10)
        .iter()
        .map(|v| {
            let name = if named { format!("0.0.0.0_{}", port.port) } else { catch_all_name(v).to_owned() };
            chain(name, &target, v, settings)
        })
        .collect()
}

fn catch_all(settings: &InboundSettings) -> Vec<FilterChain> {
    let cluster = name::INBOUND_PASSTHROUGH_CLUSTER.to_owned();
    let target = Target { port: None, service_port: None, protocol: Protocol::Sniffed, cluster };
    variants(Protocol::Sniffed, settings.default_mtls, settings.http_10)
        .iter()
        .map(|v| chain(catch_all_name(v).to_owned(), &target, v, settings))
        .collect()
}

fn catch_all_name(variant: &Variant) -> &'static str {
    if variant.http { CATCH_ALL_HTTP } else { name::VIRTUAL_INBOUND }
}

struct Target {
    port: Option<u16>,
    service_port: Option<u16>,
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
    // Istio's route name has the Service's port number; 0 without a Service.
    let number = target.service_port.unwrap_or_default();
    let route = Route {
        name: "default".into(),
        criteria: RouteMatch::any(),
        action: RouteAction::Forward(Box::new(Forward {
            retry: (!matches!(target.protocol, Protocol::Grpc | Protocol::GrpcWeb)).then(application_retry),
            ..Forward::to(&target.cluster)
        })),
        request_headers: api::model::matcher::HeaderMutations::default(),
        response_headers: api::model::matcher::HeaderMutations::default(),
        filters: vec![],
        origin: None,
    };
    let routes = RouteConfiguration {
        name: target.cluster.clone(),
        virtual_hosts: vec![VirtualHost {
            name: format!("inbound|http|{number}"),
            domains: vec!["*".into()],
            routes: vec![route],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    ChainProtocol::Http(Box::new(HttpConnection {
        filters: filters::of(Side::Inbound, settings.istio_extensions, target.protocol == Protocol::GrpcWeb),
        accept_http_10: settings.http_10,
        server_name: Some("istio-envoy".into()),
        client_certificate: ForwardClientCertificate {
            mode: ForwardMode::AppendForward,
            subject: true,
            uri: true,
            dns: true,
            ..ForwardClientCertificate::default()
        },
        ..http_connection::common(
            settings.paths,
            &settings.access_log,
            format!("inbound_0.0.0.0_{label}"),
            RouteSource::Inline(routes),
        )
    }))
}

/// Retries only requests that the application cannot have seen.
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

/// A chain that closes connections to the capture port itself, which would loop otherwise.
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

/// Minimum detection timeout. Mesh clients send their first bytes at once, but on a busy machine they can arrive late.
/// Mistaking a late TLS ClientHello for plaintext would break the connection, while a plaintext client that waits for
/// the server loses only this time.
const LEAST_DETECTION: Duration = Duration::from_secs(1);
const CATCH_ALL_HTTP: &str = "virtualInbound-catchall-http";
/// The default idle timeout of TCP connections in Istio and Envoy.
pub(super) const TCP_IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> InboundSettings {
        InboundSettings {
            connect_timeout: Duration::from_secs(10),
            default_mtls: MtlsMode::Permissive,
            trust_domain: "cluster.local".into(),
            detection_timeout: Duration::from_secs(1),
            paths: PathNormalization::Base,
            http_10: false,
            access_log: vec![],
            istio_extensions: true,
        }
    }

    fn service() -> ClusterService {
        ClusterService { host: "web.shop.svc.cluster.local".into(), ..ClusterService::default() }
    }

    fn of_service(port: u16, protocol: Protocol, mtls: MtlsMode) -> InboundPort {
        InboundPort { port, service_port: Some(port), protocol, mtls, service: Some(service()) }
    }

    fn only_policy(port: u16, mtls: MtlsMode) -> InboundPort {
        InboundPort { port, service_port: None, protocol: Protocol::Sniffed, mtls, service: None }
    }

    /// Chains of port 9080 as `mtls|plain http|tcp`.
    fn chains(protocol: Protocol, mtls: MtlsMode) -> Vec<String> {
        listener(&[of_service(9080, protocol, mtls)], &settings())
            .chains
            .iter()
            .filter(|c| c.criteria.destination_port == Some(9080))
            .map(|c| {
                assert_eq!(c.name, "0.0.0.0_9080");
                let security = if c.tls.is_some() { "mtls" } else { "plain" };
                let kind = if matches!(c.protocol, ChainProtocol::Http(_)) { "http" } else { "tcp" };
                format!("{security}:{kind}")
            })
            .collect()
    }

    #[test]
    fn a_permissive_sniffed_port_has_istios_five_chains() {
        assert_eq!(
            chains(Protocol::Sniffed, MtlsMode::Permissive),
            ["mtls:http", "plain:http", "mtls:tcp", "plain:tcp", "plain:tcp"]
        );
    }

    /// Chains and virtual hosts of a port, as `chain host`.
    fn names(listener: &Listener, port: Option<u16>) -> Vec<String> {
        let chains = listener.chains.iter().filter(|c| c.criteria.destination_port == port);
        let http = chains.filter_map(|c| match &c.protocol {
            ChainProtocol::Http(http) => Some((c.name.as_str(), &http.routes)),
            ChainProtocol::Tcp(_) => None,
        });
        http.map(|(chain, routes)| {
            let RouteSource::Inline(routes) = routes else { panic!("no inline routes") };
            format!("{chain} {}", routes.virtual_hosts[0].name)
        })
        .collect()
    }

    #[test]
    fn names_are_istios() {
        let mtls = MtlsMode::Strict;
        let web = InboundPort { service_port: Some(80), ..of_service(8080, Protocol::Http, mtls) };
        let strict = InboundSettings { default_mtls: mtls, ..settings() };
        let listener = listener(&[web, only_policy(9000, mtls)], &strict);
        let catch_all = ["virtualInbound-catchall-http inbound|http|0"];
        assert_eq!(names(&listener, Some(8080)), ["0.0.0.0_8080 inbound|http|80"]);
        assert_eq!(names(&listener, Some(9000)), catch_all);
        assert_eq!(names(&listener, None), catch_all);
    }

    #[test]
    fn a_strict_port_has_no_chain_without_mtls() {
        for protocol in [
            Protocol::Http,
            Protocol::Grpc,
            Protocol::GrpcWeb,
            Protocol::Tcp,
            Protocol::Tls,
            Protocol::Sniffed,
        ] {
            let found = chains(protocol, MtlsMode::Strict);
            assert!(
                !found.is_empty() && found.iter().all(|c| c.starts_with("mtls:")),
                "{protocol:?}: {found:?}"
            );
        }
    }

    /// The outcome of a connection. Chains are selected as in Envoy, by port, transport, then protocol, without
    /// backtracking. Returns `refused`, or `mtls|plain http|tcp cluster`.
    fn call(listener: &Listener, port: u16, transport: Transport, alpn: &[&str]) -> String {
        // Without an inspector, every connection is opaque bytes.
        let transport = if listener.inspect.tls.contains(port) { transport } else { Transport::Raw };
        let inspector =
            if transport == Transport::Tls { &listener.inspect.tls } else { &listener.inspect.http };
        let alpn = if inspector.contains(port) { alpn } else { &[] };
        let mut left: Vec<&FilterChain> = listener.chains.iter().collect();
        let mut narrow = |specific: &dyn Fn(&ChainMatch) -> Option<bool>| {
            let any = left.iter().any(|c| specific(&c.criteria) == Some(true));
            left.retain(|c| specific(&c.criteria) == if any { Some(true) } else { None });
        };
        narrow(&|c| c.destination_port.map(|p| p == port));
        narrow(&|c| c.transport.map(|t| t == transport));
        // The client's order of preference counts.
        let names = |c: &ChainMatch, protocol: &str| c.application_protocols.iter().any(|w| w == protocol);
        let negotiated = alpn.iter().find(|a| left.iter().any(|c| names(&c.criteria, a))).copied();
        left.retain(|c| match negotiated {
            Some(protocol) => names(&c.criteria, protocol),
            None => c.criteria.application_protocols.is_empty(),
        });
        let [chain] = left[..] else { return if left.is_empty() { "refused" } else { "ambiguous" }.into() };
        let (kind, cluster) = match &chain.protocol {
            ChainProtocol::Http(http) => {
                let RouteSource::Inline(routes) = &http.routes else { panic!("no inline routes") };
                ("http", routes.name.clone())
            }
            ChainProtocol::Tcp(tcp) => ("tcp", tcp.stat_prefix.clone()),
        };
        format!("{} {kind} {cluster}", if chain.tls.is_some() { "mtls" } else { "plain" })
    }

    /// Istio's table of inbound calls: every kind of client on every kind of port, in all three modes.
    #[test]
    fn inbound_requests_are_handled_as_in_istio() {
        const PLAIN: (Transport, &[&str]) = (Transport::Raw, &[]);
        const HTTP: (Transport, &[&str]) = (Transport::Raw, &["http/1.1"]);
        const TLS: (Transport, &[&str]) = (Transport::Tls, &[]);
        const HTTPS: (Transport, &[&str]) = (Transport::Tls, &["h2", "http/1.1"]);
        const MESH_TCP: (Transport, &[&str]) = (Transport::Tls, &["istio"]);
        const MESH_HTTP: (Transport, &[&str]) = (Transport::Tls, &["istio-http/1.1", "istio", "http/1.1"]);
        let (tcp, http, auto, none) = (70, 80, 81, 82);
        // Port, client, and the outcome under DISABLE, PERMISSIVE and STRICT.
        let table = [
            (tcp, PLAIN, ["plain tcp", "plain tcp", "refused"]),
            (tcp, HTTP, ["plain tcp", "plain tcp", "refused"]),
            (tcp, TLS, ["plain tcp", "plain tcp", "mtls tcp"]),
            (tcp, HTTPS, ["plain tcp", "plain tcp", "mtls tcp"]),
            (tcp, MESH_TCP, ["plain tcp", "mtls tcp", "mtls tcp"]),
            (tcp, MESH_HTTP, ["plain tcp", "mtls tcp", "mtls tcp"]),
            (http, PLAIN, ["plain http", "plain http", "refused"]),
            (http, HTTP, ["plain http", "plain http", "refused"]),
            (http, TLS, ["plain http", "refused", "mtls http"]),
            (http, HTTPS, ["plain http", "refused", "mtls http"]),
            (http, MESH_HTTP, ["plain http", "mtls http", "mtls http"]),
            (auto, PLAIN, ["plain tcp", "plain tcp", "refused"]),
            (auto, HTTP, ["plain http", "plain http", "refused"]),
            (auto, TLS, ["plain tcp", "plain tcp", "mtls tcp"]),
            (auto, HTTPS, ["plain tcp", "plain tcp", "mtls tcp"]),
            (auto, MESH_TCP, ["plain tcp", "mtls tcp", "mtls tcp"]),
            (auto, MESH_HTTP, ["plain tcp", "mtls http", "mtls http"]),
            (none, PLAIN, ["plain tcp", "plain tcp", "refused"]),
            (none, HTTP, ["plain http", "plain http", "refused"]),
            (none, TLS, ["plain tcp", "plain tcp", "mtls tcp"]),
            (none, HTTPS, ["plain tcp", "plain tcp", "mtls tcp"]),
            (none, MESH_TCP, ["plain tcp", "mtls tcp", "mtls tcp"]),
            (none, MESH_HTTP, ["plain tcp", "mtls http", "mtls http"]),
        ];
        let modes = [MtlsMode::Disable, MtlsMode::Permissive, MtlsMode::Strict];
        for (at, mtls) in modes.into_iter().enumerate() {
            let ports = [
                of_service(tcp, Protocol::Tcp, mtls),
                of_service(http, Protocol::Http, mtls),
                of_service(auto, Protocol::Sniffed, mtls),
            ];
            let listener = listener(&ports, &InboundSettings { default_mtls: mtls, ..settings() });
            for (port, (transport, alpn), expected) in table {
                let cluster = if port == none {
                    name::INBOUND_PASSTHROUGH_CLUSTER.into()
                } else {
                    format!("inbound|{port}||")
                };
                let wanted = match expected[at] {
                    "refused" => "refused".into(),
                    transport => format!("{transport} {cluster}"),
                };
                assert_eq!(
                    call(&listener, port, transport, alpn),
                    wanted,
                    "{mtls:?} {port} {transport:?} {alpn:?}"
                );
            }
        }
    }

    #[test]
    fn a_policy_for_a_port_without_a_service_applies_inbound_and_outbound() {
        let modes = [MtlsMode::Disable, MtlsMode::Permissive, MtlsMode::Strict];
        for (default_mtls, mtls) in modes.into_iter().flat_map(|a| modes.map(|b| (a, b))) {
            let port = only_policy(9000, mtls);
            let listener = listener(&[port], &InboundSettings { default_mtls, ..settings() });
            for (number, mode) in [(9000, mtls), (9001, default_mtls)] {
                let plain = call(&listener, number, Transport::Raw, &[]);
                let mesh = call(&listener, number, Transport::Tls, &["istio"]);
                let cluster = name::INBOUND_PASSTHROUGH_CLUSTER;
                let open =
                    if mode == MtlsMode::Strict { "refused".into() } else { format!("plain tcp {cluster}") };
                let transport = if mode == MtlsMode::Disable { "plain" } else { "mtls" };
                assert_eq!(
                    (plain, mesh),
                    (open, format!("{transport} tcp {cluster}")),
                    "{default_mtls:?} {mtls:?}"
                );
            }
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
            assert!(chains(protocol, MtlsMode::Disable).iter().all(|c| c.starts_with("plain:")));
        }
    }

    #[test]
    fn bytes_are_inspected_only_where_they_decide() {
        let all = |protocol, mtls| {
            let ports = [of_service(70, protocol, mtls)];
            let inspect = listener(&ports, &settings()).inspect;
            assert!(inspect.tls.contains(1) && inspect.http.contains(1), "undeclared ports are inspected");
            (inspect.tls.contains(70), inspect.http.contains(70))
        };
        for (protocol, mtls, expected) in [
            (Protocol::Tcp, MtlsMode::Disable, (false, false)),
            (Protocol::Http, MtlsMode::Disable, (false, false)),
            (Protocol::Sniffed, MtlsMode::Disable, (true, true)),
            (Protocol::Tcp, MtlsMode::Permissive, (true, false)),
            (Protocol::Http, MtlsMode::Permissive, (true, false)),
            (Protocol::Sniffed, MtlsMode::Permissive, (true, true)),
            (Protocol::Tcp, MtlsMode::Strict, (true, false)),
            (Protocol::Sniffed, MtlsMode::Strict, (true, false)),
        ] {
            assert_eq!(all(protocol, mtls), expected, "{protocol:?} {mtls:?}");
        }
    }

    #[test]
    fn every_inbound_cluster_connects_from_the_passthrough_address() {
        let mtls = MtlsMode::Permissive;
        let ports = [of_service(9080, Protocol::Http, mtls), only_policy(9000, mtls)];
        let clusters = clusters(&ports, Duration::from_secs(10));
        let names: Vec<&str> = clusters.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["inbound|9080||", name::INBOUND_PASSTHROUGH_CLUSTER]);
        assert!(clusters.iter().all(|c| c.bind == Some(name::INBOUND_SOURCE)));
    }

    #[test]
    fn an_inbound_cluster_names_the_service_for_metrics() {
        let port = of_service(9080, Protocol::Http, MtlsMode::Permissive);
        let services: Vec<_> = clusters(&[port], Duration::ZERO).into_iter().map(|c| c.service).collect();
        assert_eq!(services, [Some(service()), None]);
    }
}
