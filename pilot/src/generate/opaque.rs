//! Pure. Generates filter chains for connections forwarded as opaque bytes: TLS by server name (SNI), TCP by address.
//! The routes of a VirtualService apply if it has some for the port.

use super::http_route::{self, Place};
use super::spelling;
use super::view::View;
use crate::catalog::route::{Destination, GatewayRef, RouteSet, SourceMatch, TcpDestination};
use crate::catalog::service::Service;
use crate::catalog::visibility::selects;
use api::model::listener::{ChainMatch, FilterChain, Protocol as ChainProtocol, TcpProxy, Transport};
use api::model::matcher::HeaderMutations;
use api::model::route::{ClusterChoice, WeightedCluster};
use api::name;
use ipnet::IpNet;

/// The criteria that identify a service's connections at a listener; empty if all connections there belong to it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Destination address ranges.
    pub(super) ranges: Vec<IpNet>,
    /// Whether the SNI must name the service.
    pub(super) by_name: bool,
}

/// Chains for TLS passed through: the routes of the service's VirtualService for this port, else the service itself.
pub(super) fn tls_chains(
    view: &View,
    service: &Service,
    port: u16,
    condition: &Condition,
) -> Vec<FilterChain> {
    let routes = view.route_set(&service.host).map(|set| set.tls.as_slice()).unwrap_or_default();
    let mut chains = vec![];
    for route in routes {
        for matched in route.matches.iter().filter(|m| applies(view, &m.source, port)) {
            let own = &matched.destination_subnets;
            let Some(names) = server_names(&matched.sni_hosts) else { continue };
            let destination = truncated(if own.is_empty() { &condition.ranges } else { own });
            chains.push(FilterChain {
                criteria: ChainMatch { destination, ..by_server_name(names) },
                ..chain(view, port, &route.destinations)
            });
        }
    }
    if chains.is_empty() {
        let names = if condition.by_name {
            let Some(names) = server_names(&spelling::names(view, service)) else { return chains };
            by_server_name(names)
        } else {
            ChainMatch::default()
        };
        let criteria = ChainMatch { destination: condition.ranges.clone(), ..names };
        chains.push(FilterChain { criteria, ..itself(view, service, port) });
    }
    chains
}

/// The SNI criteria for a list of hosts: empty (any) if one is `*`; `None` if no SNI can match. Only wildcards of whole
/// labels count, since Envoy refuses a listener with any other.
pub(super) fn server_names(hosts: &[String]) -> Option<Vec<String>> {
    if hosts.iter().any(|host| host == "*") {
        return Some(vec![]);
    }
    let whole = |host: &&String| !host.starts_with('*') || host.starts_with("*.");
    let names: Vec<String> = hosts.iter().filter(whole).cloned().collect();
    (!names.is_empty()).then_some(names)
}

/// Matches TLS with one of these server names, or any TLS. The SNI is only read from TLS, so with server names a
/// transport criterion is redundant.
fn by_server_name(server_names: Vec<String>) -> ChainMatch {
    let transport = server_names.is_empty().then_some(Transport::Tls);
    ChainMatch { transport, server_names, ..ChainMatch::default() }
}

/// Chains for other connections: the routes of the service's VirtualService for this port, and the service itself for
/// connections that no route matches.
pub(super) fn tcp_chains(
    view: &View,
    service: &Service,
    port: u16,
    condition: &Condition,
) -> Vec<FilterChain> {
    let set = view.route_set(&service.host);
    let (mut chains, complete) = set.map(|set| tcp_routes(view, set, port)).unwrap_or_default();
    if !complete {
        chains.push(itself(view, service, port));
    }
    for chain in &mut chains {
        if chain.criteria.destination.is_empty() {
            chain.criteria.destination.clone_from(&condition.ranges);
        }
    }
    chains
}

/// The TCP routes of a VirtualService, and whether they match every connection.
fn tcp_routes(view: &View, set: &RouteSet, port: u16) -> (Vec<FilterChain>, bool) {
    let mut chains = vec![];
    for route in &set.tcp {
        let to = chain(view, port, &route.destinations);
        let here: Vec<_> = route.matches.iter().filter(|m| applies(view, &m.source, port)).collect();
        if route.matches.is_empty() || here.iter().any(|m| m.destination_subnets.is_empty()) {
            chains.push(to);
            return (chains, true);
        }
        let subnets: Vec<IpNet> = here.iter().flat_map(|m| m.destination_subnets.iter().copied()).collect();
        if !subnets.is_empty() {
            let criteria = ChainMatch { destination: truncated(&subnets), ..ChainMatch::default() };
            chains.push(FilterChain { criteria, ..to });
        }
    }
    (chains, false)
}

/// Clears the host bits and removes duplicates, since Envoy compares networks that way.
fn truncated(nets: &[IpNet]) -> Vec<IpNet> {
    let mut found = vec![];
    for net in nets.iter().map(IpNet::trunc) {
        if !found.contains(&net) {
            found.push(net);
        }
    }
    found
}

fn itself(view: &View, service: &Service, port: u16) -> FilterChain {
    let destination = Destination { host: service.host.clone(), subset: String::new(), port: Some(port) };
    chain(view, port, &[TcpDestination { destination, weight: 1 }])
}

fn chain(view: &View, port: u16, destinations: &[TcpDestination]) -> FilterChain {
    FilterChain {
        name: String::new(),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: tcp(view, choice(view, destinations, port)),
    }
}

/// The chain for connections to unknown destinations: forwarded or rejected, as the mesh's policy says.
pub(super) fn unknown_chain(view: &View) -> FilterChain {
    let cluster = if view.registry_only() { name::BLACK_HOLE_CLUSTER } else { name::PASSTHROUGH_CLUSTER };
    FilterChain {
        name: "PassthroughFilterChain".into(),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: tcp(view, ClusterChoice::Single(cluster.into())),
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

/// Whether the conditions of a TCP or TLS match hold. All must hold together, including gateways.
fn applies(view: &View, source: &SourceMatch, port: u16) -> bool {
    let place = Place { port, encrypted: false, gateways: &[GatewayRef::Mesh] };
    source.port.is_none_or(|p| p == place.port)
        && (source.gateways.is_empty() || source.gateways.iter().any(|g| place.gateways.contains(g)))
        && selects(&source.labels, &view.scope.labels)
        && source.namespace.as_ref().is_none_or(|n| *n == view.scope.namespace)
}

/// A TCP proxy to these clusters.
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
