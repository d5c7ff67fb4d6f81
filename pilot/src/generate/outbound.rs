//! Pure. Listeners for what a sidecar's application calls, with their route tables.
//!
//! Captured connections reach `virtualOutbound`, which hands them to the listener of their original destination:
//! a service's address and port, else any address with that port, else itself (unknown destinations).

use super::http_route::{self, Place};
use super::mesh_tls::PLAIN_HTTP;
use super::{View, route};
use crate::catalog::service::{Resolution, Service, ServicePort};
use crate::catalog::virtual_service::{GatewayRef, SourceMatch, TcpDestination};
use crate::catalog::visibility::selects;
use crate::flow::Protocol;
use api::model::listener::{
    ChainMatch, Direction, FilterChain, HttpConnection, HttpFilter, Inspect, Listener,
    Protocol as ChainProtocol, RouteSource, TcpProxy, Transport,
};
use api::model::matcher::HeaderMutations;
use api::model::route::{ClusterChoice, Fault, RouteConfiguration, WeightedCluster};
use api::name;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Port that captured outbound connections are redirected to.
pub(super) const CAPTURE_PORT: u16 = 15001;

/// All outbound listeners, and the route tables they name.
pub(super) fn listeners_and_routes(view: &View) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    let mut plan = Plan::default();
    for service in view.services() {
        for port in &service.ports {
            plan.add(view, service, port);
        }
    }
    let mut routes: Vec<_> = plan.http.iter().map(|(port, on)| route::of_port(view, *port, on)).collect();
    let mut listeners: Vec<_> =
        plan.http.keys().map(|port| http_listener(view, *port, &mut plan.opaque)).collect();
    for ((address, port), chains) in plan.opaque {
        listeners.push(opaque_listener(view, address, port, chains));
    }
    for (service, port) in plan.sniffed {
        routes.push(route::of_service(view, service, port.number));
    }
    listeners.push(capture(view));
    (listeners, routes)
}

/// What has to be listened to, by address and port.
#[derive(Default)]
struct Plan<'a> {
    /// Services on a port whose requests are told apart by host, at any address.
    http: BTreeMap<u16, Vec<(&'a Service, &'a ServicePort)>>,
    /// Chains of other ports, by address (unspecified for any) and port.
    opaque: BTreeMap<(IpAddr, u16), Opaque>,
    /// Services with a route table of their own.
    sniffed: Vec<(&'a Service, &'a ServicePort)>,
}

/// Chains of one address and port.
#[derive(Default)]
struct Opaque {
    chains: Vec<FilterChain>,
    default: Option<FilterChain>,
    /// Whether first bytes are needed to tell chains apart.
    sniff_http: bool,
    sniff_tls: bool,
}

impl<'a> Plan<'a> {
    fn add(&mut self, view: &View, service: &'a Service, port: &'a ServicePort) {
        let addresses = addresses(service);
        match port.protocol {
            Protocol::Udp => {}
            p if p.is_http() || (p == Protocol::Sniffed && addresses.is_empty()) => {
                self.http.entry(port.number).or_default().push((service, port));
            }
            Protocol::Sniffed => {
                for address in addresses {
                    let opaque = self.opaque.entry((address, port.number)).or_default();
                    opaque.sniff_http = true;
                    opaque.chains.insert(0, sniffed_chain(view, service, port.number));
                    opaque.default.get_or_insert_with(|| default_chain(view, service, port.number, address));
                }
                self.sniffed.push((service, port));
            }
            p if p.is_tls() && addresses.is_empty() => {
                let opaque = self.opaque.entry((ANY, port.number)).or_default();
                opaque.sniff_tls = true;
                opaque.chains.extend(tls_chains(view, service, port.number));
                opaque.default.get_or_insert_with(|| unknown_chain(view));
            }
            _ => self.add_tcp(view, service, port, addresses),
        }
    }

    fn add_tcp(
        &mut self,
        view: &View,
        service: &'a Service,
        port: &'a ServicePort,
        mut addresses: Vec<IpAddr>,
    ) {
        if service.headless {
            addresses = pod_addresses(view, service);
        } else if addresses.is_empty() && service.resolution != Resolution::Endpoints {
            addresses.push(ANY);
        }
        for address in addresses {
            let opaque = self.opaque.entry((address, port.number)).or_default();
            if port.protocol.is_tls() {
                let routed = tls_chains(view, service, port.number);
                opaque.sniff_tls |= routed.iter().any(|c| !c.criteria.server_names.is_empty());
                opaque.chains.extend(routed);
            }
            opaque.chains.extend(subnet_chains(view, service, port.number));
            // Of several services at one address and port the first decides.
            opaque.default.get_or_insert_with(|| default_chain(view, service, port.number, address));
        }
    }
}

/// The virtual addresses of a service; none when it is headless or has no address.
fn addresses(service: &Service) -> Vec<IpAddr> {
    let single = service.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len());
    single.map(IpNet::addr).collect()
}

/// Clients of a headless service call its pods: each gets a listener. The proxy's own address is left out, because
/// connections to it come back through the inbound side.
fn pod_addresses(view: &View, service: &Service) -> Vec<IpAddr> {
    let pods = view.catalog.pods_of(service).filter(|p| !p.finished);
    pods.flat_map(|p| p.addresses.iter().copied()).collect()
}

/// HTTP on a port at any address. Anything else that comes to this port goes where it wanted, or to the opaque
/// service that has no address of its own.
fn http_listener(view: &View, port: u16, opaque: &mut BTreeMap<(IpAddr, u16), Opaque>) -> Listener {
    let shared = opaque.remove(&(ANY, port)).unwrap_or_default();
    let mut chains = vec![http_chain(view, RouteSource::Rds(port.to_string()), "0.0.0.0", port)];
    chains.extend(shared.chains);
    Listener {
        inspect: Inspect {
            original_destination: false,
            tls: true,
            http: true,
            // A client of declared HTTP speaks first. One that is late must not fall through to another chain.
            timeout: Some(view.mesh().detection_timeout.max(DECLARED_DETECTION)),
            continue_on_timeout: true,
        },
        chains,
        default_chain: Some(shared.default.unwrap_or_else(|| unknown_chain(view))),
        ..listener(format!("0.0.0.0_{port}"), ANY, port)
    }
}

fn opaque_listener(view: &View, address: IpAddr, port: u16, opaque: Opaque) -> Listener {
    let sniffs = opaque.sniff_http || opaque.sniff_tls;
    Listener {
        inspect: Inspect {
            original_destination: false,
            tls: sniffs,
            http: opaque.sniff_http,
            timeout: sniffs.then_some(view.mesh().detection_timeout),
            continue_on_timeout: true,
        },
        chains: opaque.chains,
        default_chain: opaque.default,
        ..listener(format!("{address}_{port}"), address, port)
    }
}

fn listener(name: String, address: IpAddr, port: u16) -> Listener {
    Listener {
        name,
        address: SocketAddr::new(address, port),
        bind_to_port: false,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect::default(),
        chains: vec![],
        default_chain: None,
    }
}

/// The socket that captured connections arrive at; what no other listener takes is an unknown destination.
fn capture(view: &View) -> Listener {
    let loop_end = FilterChain {
        name: "virtualOutbound-blackhole".into(),
        criteria: ChainMatch { destination_port: Some(CAPTURE_PORT), ..ChainMatch::default() },
        tls: None,
        authorization: vec![],
        protocol: tcp(view, ClusterChoice::Single(name::BLACK_HOLE_CLUSTER.into())),
    };
    let unknown = FilterChain { name: "virtualOutbound-catchall-tcp".into(), ..unknown_chain(view) };
    Listener {
        bind_to_port: true,
        use_original_destination: true,
        inspect: Inspect { original_destination: true, ..Inspect::default() },
        chains: vec![loop_end, unknown],
        ..listener(name::VIRTUAL_OUTBOUND.into(), ANY, CAPTURE_PORT)
    }
}

fn sniffed_chain(view: &View, service: &Service, port: u16) -> FilterChain {
    let routes = RouteSource::Rds(route::sniffed_name(service, port));
    http_chain(view, routes, &service.host, port)
}

fn http_chain(view: &View, routes: RouteSource, address: &str, port: u16) -> FilterChain {
    FilterChain {
        name: format!("{address}_{port}-http"),
        criteria: ChainMatch {
            transport: Some(Transport::Raw),
            application_protocols: PLAIN_HTTP.iter().map(|a| (*a).to_owned()).collect(),
            ..ChainMatch::default()
        },
        tls: None,
        authorization: vec![],
        protocol: ChainProtocol::Http(Box::new(HttpConnection {
            filters: filters(view.scope.istio_extensions),
            normalize_path: true,
            upgrades: vec!["websocket".into()],
            stream_idle_timeout: None,
            access_log: view.mesh().access_log.clone(),
            ..HttpConnection::new(format!("outbound_{address}_{port}"), routes)
        })),
    }
}

/// The filters of outbound HTTP, in Istio's order.
pub(super) fn filters(istio_extensions: bool) -> Vec<HttpFilter> {
    let own = |filter| if istio_extensions { vec![filter] } else { vec![] };
    [
        own(HttpFilter::PeerMetadata),
        own(HttpFilter::Alpn),
        vec![HttpFilter::Fault(Fault::default()), HttpFilter::Cors],
        own(HttpFilter::Stats),
        vec![HttpFilter::Router],
    ]
    .concat()
}

/// Chains by SNI: the routes of a VirtualService, else the service's own host.
fn tls_chains(view: &View, service: &Service, port: u16) -> Vec<FilterChain> {
    let routes = view.virtual_service(&service.host).map(|vs| vs.tls.as_slice()).unwrap_or_default();
    let mut chains = vec![];
    for route in routes {
        for matched in route.matches.iter().filter(|m| applies(view, &m.source, port)) {
            chains.push(FilterChain {
                criteria: ChainMatch {
                    transport: Some(Transport::Tls),
                    server_names: matched.sni_hosts.clone(),
                    destination: matched.destination_subnets.clone(),
                    ..ChainMatch::default()
                },
                ..chain(view, service, port, &route.destinations)
            });
        }
    }
    if chains.is_empty() && service.addresses.is_empty() {
        let whole = default_chain(view, service, port, ANY);
        chains.push(FilterChain {
            criteria: ChainMatch {
                transport: Some(Transport::Tls),
                server_names: vec![service.host.clone()],
                ..ChainMatch::default()
            },
            ..whole
        });
    }
    chains
}

/// Chains by the address called, from the TCP routes of a VirtualService that look at it.
fn subnet_chains(view: &View, service: &Service, port: u16) -> Vec<FilterChain> {
    let routes = view.virtual_service(&service.host).map(|vs| vs.tcp.as_slice()).unwrap_or_default();
    let matches = routes.iter().flat_map(|r| r.matches.iter().map(move |m| (r, m)));
    matches
        .filter(|(_, m)| !m.destination_subnets.is_empty() && applies(view, &m.source, port))
        .map(|(route, matched)| FilterChain {
            criteria: ChainMatch {
                destination: matched.destination_subnets.clone(),
                ..ChainMatch::default()
            },
            ..chain(view, service, port, &route.destinations)
        })
        .collect()
}

/// Where connections to a service go that no condition tells apart: its first TCP route without a subnet, or itself.
fn default_chain(view: &View, service: &Service, port: u16, address: IpAddr) -> FilterChain {
    let routes = view.virtual_service(&service.host).map(|vs| vs.tcp.as_slice()).unwrap_or_default();
    let whole = |m: &crate::catalog::virtual_service::TcpMatch| {
        m.destination_subnets.is_empty() && applies(view, &m.source, port)
    };
    let routed = routes.iter().find(|r| r.matches.is_empty() || r.matches.iter().any(whole));
    let name = format!("{address}_{port}");
    match routed {
        Some(route) => FilterChain { name, ..chain(view, service, port, &route.destinations) },
        None => {
            let itself = crate::catalog::virtual_service::Destination {
                host: service.host.clone(),
                subset: String::new(),
                port: Some(port),
            };
            let destination = TcpDestination { destination: itself, weight: 1 };
            FilterChain { name, ..chain(view, service, port, &[destination]) }
        }
    }
}

fn chain(view: &View, service: &Service, port: u16, destinations: &[TcpDestination]) -> FilterChain {
    FilterChain {
        name: format!("{}_{port}", service.host),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: tcp(view, choice(view, destinations, port)),
    }
}

/// The clusters of TCP destinations.
pub(super) fn choice(view: &View, destinations: &[TcpDestination], port: u16) -> ClusterChoice {
    match destinations {
        [only] => ClusterChoice::Single(http_route::cluster(view, &only.destination, port)),
        several => ClusterChoice::Weighted(
            several
                .iter()
                .map(|d| WeightedCluster {
                    name: http_route::cluster(view, &d.destination, port),
                    weight: d.weight,
                    request_headers: HeaderMutations::default(),
                    response_headers: HeaderMutations::default(),
                    host_rewrite: None,
                })
                .collect(),
        ),
    }
}

/// Conditions of TCP and TLS routes all hold together, gateways included.
fn applies(view: &View, source: &SourceMatch, port: u16) -> bool {
    let place = Place { port, gateways: &[GatewayRef::Mesh] };
    source.port.is_none_or(|p| p == place.port)
        && (source.gateways.is_empty() || source.gateways.iter().any(|g| place.gateways.contains(g)))
        && selects(&source.labels, &view.scope.labels)
        && source.namespace.as_ref().is_none_or(|n| *n == view.scope.namespace)
}

fn unknown_chain(view: &View) -> FilterChain {
    let cluster = if view.registry_only() { name::BLACK_HOLE_CLUSTER } else { name::PASSTHROUGH_CLUSTER };
    FilterChain {
        name: "PassthroughFilterChain".into(),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: tcp(view, ClusterChoice::Single(cluster.into())),
    }
}

/// Opaque bytes to these clusters.
pub(super) fn tcp(view: &View, clusters: ClusterChoice) -> ChainProtocol {
    let stat_prefix = clusters.names().first().map_or_else(String::new, |n| (*n).to_owned());
    ChainProtocol::Tcp(TcpProxy {
        stat_prefix,
        clusters,
        idle_timeout: Some(super::inbound::TCP_IDLE),
        max_connect_attempts: 1,
        access_log: view.mesh().access_log.clone(),
    })
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const DECLARED_DETECTION: Duration = Duration::from_secs(5);
