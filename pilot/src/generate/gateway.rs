//! Pure. Generates the listeners and route tables of a gateway, from the Gateway objects that select it and the
//! VirtualServices bound to them.

use super::filters::{self, Side};
use super::http_route::{self, Place};
use super::opaque::{choice, server_names, tcp};
use super::view::View;
use super::{cluster, spelling};
use crate::catalog::gateway::{ClientVerification, Server, ServerCertificate, ServerProtocol, ServerTls};
use crate::catalog::gateway_port::{GatewayPort, GatewayPorts, OpaqueRoute, PortServer};
use crate::catalog::host;
use crate::catalog::route::GatewayRef;
use api::model::listener::{
    ChainMatch, Direction, FilterChain, ForwardClientCertificate, ForwardMode, HttpConnection, Inspect,
    Listener, Protocol as ChainProtocol, RouteSource, Transport,
};
use api::model::matcher::{HeaderMutations, StringMatch};
use api::model::route::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use api::model::tls::{CertificateSource, DownstreamTls, RootSource, SanMatch, TlsParameters, Validation};
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// All listeners of a gateway and the route tables that they refer to.
pub(super) fn listeners_and_routes(view: &View) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    let scope = &view.scope;
    let ports =
        view.gateway_view().map(|gateways| gateways.ports(&scope.namespace, &scope.targets, &scope.labels));
    let GatewayPorts { ports, .. } = ports.unwrap_or_default();
    let mut listeners = vec![];
    let mut routes = vec![];
    for (number, port) in &ports {
        let (chains, tables) = chains(view, *number, port, &routes);
        // A port without any filter chain gets no listener.
        if !chains.is_empty() {
            listeners.push(listener(*number, chains));
        }
        routes.extend(tables);
    }
    (listeners, routes)
}

fn listener(port: u16, chains: Vec<FilterChain>) -> Listener {
    let tls = chains.iter().any(|c| c.criteria.transport == Some(Transport::Tls));
    Listener {
        name: format!("0.0.0.0_{port}"),
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        bind_to_port: true,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect { tls: tls.into(), timeout: None, ..Inspect::default() },
        chains,
        default_chain: None,
    }
}

/// The filter chains of a port and the route tables that they refer to; `known` are the tables made for other ports.
fn chains(
    view: &View,
    number: u16,
    port: &GatewayPort,
    known: &[RouteConfiguration],
) -> (Vec<FilterChain>, Vec<RouteConfiguration>) {
    let Some(first) = port.servers.first() else { return (vec![], vec![]) };
    if first.server().protocol == ServerProtocol::Http {
        let name = format!("http.{number}");
        let servers: Vec<&PortServer> = port.servers.iter().collect();
        let hosts = virtual_hosts(view, &servers, |_, _| true);
        let table = table(name.clone(), first.server().port, hosts);
        let mut chain = http_chain(view, name, number, None, vec![]);
        if let ChainProtocol::Http(http) = &mut chain.protocol {
            let grpc_web = servers.iter().any(|server| server.server().grpc_web);
            http.filters = filters::of(Side::Gateway, view.scope.istio_extensions, grpc_web);
        }
        return (vec![chain], vec![table]);
    }
    let mut chains = vec![];
    let mut tables = vec![];
    for server in &port.servers {
        let tls = downstream_tls(server.server());
        if let (ServerProtocol::Https, Some(tls)) = (server.server().protocol, tls) {
            let name = table_name(server, number, known);
            let hosts = virtual_hosts(view, &[server], |server, name| port.serves(server, name));
            let hosts = with_misdirected(port, server, hosts);
            tables.push(table(name.clone(), server.server().port, hosts));
            let any = server.hosts.contains("*");
            let sni = if any { vec![] } else { server.hosts.iter().cloned().collect() };
            chains.push(http_chain(view, name, number, Some(tls), sni));
        } else {
            chains.extend(server.opaque.iter().filter_map(|route| opaque(view, server.server(), route)));
        }
    }
    (chains, tables)
}

/// Istio's name of an HTTPS server's route table, or a distinct name if the server is on a second port.
fn table_name(server: &PortServer, number: u16, known: &[RouteConfiguration]) -> String {
    let (name, namespace) = match &server.gateway.reference {
        GatewayRef::Named { namespace, name } => (name.as_str(), namespace.as_str()),
        GatewayRef::Mesh => ("mesh", ""),
    };
    let Server { port, port_name, .. } = server.server();
    let name = format!("https.{port}.{port_name}.{name}.{namespace}");
    if known.iter().any(|table| table.name == name) { format!("{name}.{number}") } else { name }
}

/// A route table. Without hosts, it gets a catch-all virtual host without routes, which responds 404.
fn table(name: String, port: u16, mut hosts: Vec<VirtualHost>) -> RouteConfiguration {
    if hosts.is_empty() {
        hosts.push(VirtualHost { domains: vec!["*".into()], ..virtual_host("blackhole", port) });
    }
    RouteConfiguration {
        name,
        virtual_hosts: hosts,
        ignore_port_in_host: true,
        ..RouteConfiguration::default()
    }
}

/// A chain for opaque bytes: TLS passed through or terminated, or plain TCP.
fn opaque(view: &View, server: &Server, route: &OpaqueRoute) -> Option<FilterChain> {
    let criteria = match server.tls {
        Some(_) => ChainMatch {
            transport: Some(Transport::Tls),
            server_names: if route.names.is_empty() { vec![] } else { server_names(&route.names)? },
            ..ChainMatch::default()
        },
        None => ChainMatch::default(),
    };
    Some(FilterChain {
        name: String::new(),
        criteria,
        tls: downstream_tls(server),
        authorization: vec![],
        protocol: tcp(view, choice(view, &route.destinations, server.port)),
    })
}

/// The virtual hosts of HTTP servers, with the routes of all VirtualServices for a host; catch-all routes come last.
fn virtual_hosts(
    view: &View,
    servers: &[&PortServer],
    serves: impl Fn(&PortServer, &str) -> bool,
) -> Vec<VirtualHost> {
    let mut hosts: BTreeMap<String, VirtualHost> = BTreeMap::new();
    let mut joined = HashSet::new();
    for server in servers {
        let port = server.server().port;
        let gateways = [server.reference()];
        let encrypted = server.server().tls.is_some();
        let place = Place { port, encrypted, gateways: &gateways };
        let sets = view.gateway_view().map(|all| all.route_sets(&view.scope.namespace, &gateways[0]));
        for set in sets.unwrap_or_default() {
            let routes = http_route::routes(view, &set, &place);
            let common = server.common_hosts(&set);
            for name in common.iter().filter(|name| !routes.is_empty() && serves(server, name)) {
                let host = hosts.entry(name.clone()).or_insert_with(|| virtual_host(name, port));
                // The set of Ingresses for one host applies at the server of each of them.
                if set.generated.is_none() || joined.insert((name.clone(), Arc::as_ptr(&set))) {
                    host.routes.extend(routes.iter().cloned());
                }
                host.require_tls |= server.server().redirect_to_https;
            }
        }
        for name in server.hosts.iter().filter(|_| server.server().redirect_to_https) {
            hosts.entry(name.clone()).or_insert_with(|| virtual_host(name, port)).require_tls = true;
        }
    }
    hosts.into_values().map(sorted).collect()
}

/// Adds a virtual host for the hosts that other servers with TLS on this port serve: requests for them get a 421 (RFC
/// 9110, section 15.5.20), so that the client opens a new connection, which the other server's TLS settings then apply
/// to. Clients send such requests when one certificate covers both hosts, or to bypass the other server's TLS settings.
fn with_misdirected(port: &GatewayPort, server: &PortServer, hosts: Vec<VirtualHost>) -> Vec<VirtualHost> {
    let number = server.server().port;
    let mut hosts = hosts;
    let others: Vec<&str> = port.others(server).collect();
    if others.is_empty() {
        return hosts;
    }
    let own: BTreeSet<String> = hosts.iter().flat_map(|h| h.domains.clone()).collect();
    // Hosts without routes are added too, since a wider host of another server would cover them.
    hosts.extend(server.hosts.iter().filter(|h| !own.contains(*h)).map(|h| virtual_host(h, number)));
    let mut domains: Vec<String> = others.iter().map(|other| (*other).to_owned()).collect();
    if port.names() > MOST_NAMES {
        let near = |other: &&str| server.hosts.iter().any(|own| host::overlap(own, other));
        let (near, far): (Vec<&str>, Vec<&str>) = others.into_iter().partition(near);
        let wide = |host: &str| parent(host).unwrap_or_else(|| host.to_owned());
        let parents: BTreeSet<String> = far.into_iter().map(wide).collect();
        let parents = parents.into_iter().filter(|p| !own.contains(p) && !near.contains(&p.as_str()));
        domains = near.iter().map(|other| (*other).to_owned()).chain(parents.take(MOST_PARENTS)).collect();
    }
    let route = Route {
        name: "misdirected".into(),
        criteria: RouteMatch::any(),
        action: RouteAction::Direct { status: 421, body: String::new() },
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        filters: vec![],
        origin: None,
    };
    hosts.push(VirtualHost { domains, routes: vec![route], ..virtual_host("misdirected", number) });
    hosts
}

/// The wildcard for a host's siblings, which one certificate name may cover; `None` if no certificate name could.
fn parent(host: &str) -> Option<String> {
    let (_, parent) = host.split_once('.').filter(|(_, parent)| parent.contains('.'))?;
    Some(format!("*.{parent}"))
}

/// Sorts a virtual host's routes: catch-alls come last, so that those of an older object do not hide a younger object's
/// routes.
fn sorted(mut host: VirtualHost) -> VirtualHost {
    let catches_all = |r: &Route| r.criteria == RouteMatch::any();
    host.routes.sort_by_key(|r| catches_all(r));
    host
}

fn virtual_host(name: &str, port: u16) -> VirtualHost {
    VirtualHost {
        name: format!("{name}:{port}"),
        domains: vec![spelling::domain(name)],
        attempt_count: true,
        ..VirtualHost::default()
    }
}

fn http_chain(
    view: &View,
    routes: String,
    port: u16,
    tls: Option<DownstreamTls>,
    sni: Vec<String>,
) -> FilterChain {
    let criteria = match tls {
        Some(_) => ChainMatch { transport: Some(Transport::Tls), server_names: sni, ..ChainMatch::default() },
        None => ChainMatch::default(),
    };
    FilterChain {
        name: String::new(),
        criteria,
        tls,
        authorization: vec![],
        protocol: ChainProtocol::Http(Box::new(HttpConnection {
            filters: filters::of(Side::Gateway, view.scope.istio_extensions, false),
            server_name: Some("istio-envoy".into()),
            use_remote_address: true,
            client_certificate: ForwardClientCertificate {
                mode: ForwardMode::SanitizeSet,
                subject: true,
                uri: true,
                dns: true,
                ..ForwardClientCertificate::default()
            },
            ..view.http_connection(format!("outbound_0.0.0.0_{port}"), RouteSource::Rds(routes))
        })),
    }
}

fn downstream_tls(server: &Server) -> Option<DownstreamTls> {
    let Some(ServerTls::Terminate { certificate, client, min, max }) = &server.tls else { return None };
    let (source, own_roots) = match certificate {
        ServerCertificate::Secret(name) => {
            let name = cluster::secret_name(name);
            (CertificateSource::Sds(name.clone()), RootSource::Sds(format!("{name}-cacert")))
        }
        ServerCertificate::Files { chain, key } => {
            (CertificateSource::Files { certificate: chain.clone(), key: key.clone() }, RootSource::None)
        }
        ServerCertificate::Mesh => {
            (CertificateSource::Sds(WORKLOAD_CERTIFICATE.into()), RootSource::Sds(WORKLOAD_ROOTS.into()))
        }
    };
    let validation = match client {
        ClientVerification::None => None,
        ClientVerification::Required { roots_file, subject_alt_names } => Some(Validation {
            roots: roots_file.clone().map_or(own_roots, RootSource::File),
            subject_alt_names: subject_alt_names
                .iter()
                .map(|n| SanMatch { kind: None, value: StringMatch::exact(n.clone()) })
                .collect(),
        }),
        ClientVerification::Mesh => {
            Some(Validation { roots: RootSource::Sds(WORKLOAD_ROOTS.into()), subject_alt_names: vec![] })
        }
    };
    let http = server.protocol == ServerProtocol::Https;
    Some(DownstreamTls {
        require_client_certificate: validation.is_some(),
        common: TlsParameters {
            min: *min,
            max: *max,
            alpn: if http { vec!["h2".into(), "http/1.1".into()] } else { vec![] },
            certificates: vec![source],
            validation,
        },
    })
}

/// Limits the number of misdirected host names in all tables of a port, since each table lists the hosts of all other
/// servers. Above it, a table lists hosts that overlap with its own individually, and the others by their parent
/// domain: clients send requests for them on this server's connections only if one certificate covers both.
const MOST_NAMES: usize = 1 << 18;
/// Limits the number of such parent domains, and of hosts without one, in a table. Requests for further hosts get a
/// 404.
const MOST_PARENTS: usize = 256;
