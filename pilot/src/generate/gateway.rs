//! Pure. Listeners and route tables of a gateway, from the Gateway objects that select it and the VirtualServices
//! that are bound to them.

use super::filters::{self, Side};
use super::http_route::{self, Place};
use super::opaque::{choice, server_names, tcp};
use super::{View, cluster, spelling};
use crate::catalog::gateway::{ClientVerification, Server, ServerCertificate, ServerProtocol, ServerTls};
use crate::catalog::gateway_port::{GatewayPort, GatewayPorts, OpaqueRoute, PortServer};
use crate::catalog::host;
use api::model::listener::{
    ChainMatch, Direction, FilterChain, ForwardClientCertificate, ForwardMode, HttpConnection, Inspect,
    Listener, Protocol as ChainProtocol, RouteSource, Transport,
};
use api::model::matcher::{HeaderMutations, StringMatch};
use api::model::route::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use api::model::tls::{CertificateSource, DownstreamTls, RootSource, SanMatch, TlsParameters, Validation};
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// All listeners of a gateway, and the route tables they name.
pub(super) fn listeners_and_routes(view: &View) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    let scope = &view.scope;
    let ports = view.gates().map(|gates| gates.ports(&scope.namespace, &scope.targets, &scope.labels));
    let GatewayPorts { ports, .. } = ports.unwrap_or_default();
    let mut listeners = vec![];
    let mut routes = vec![];
    for (number, port) in &ports {
        let (chains, tables) = chains(view, *number, port, &routes);
        // A port to which nothing leads is closed.
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
        inspect: Inspect { tls, timeout: None, ..Inspect::default() },
        chains,
        default_chain: None,
    }
}

/// The chains of a port, and the tables that they name, of which some may be there already.
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

/// Istio's name of the table of an HTTPS server, and another one where its server is on a second port.
fn table_name(server: &PortServer, number: u16, known: &[RouteConfiguration]) -> String {
    let origin = &server.gateway.origin;
    let Server { port, port_name, .. } = server.server();
    let name = format!("https.{port}.{port_name}.{}.{}", origin.name, origin.namespace);
    if known.iter().any(|table| table.name == name) { format!("{name}.{number}") } else { name }
}

/// A table; one without hosts says that it has no routes.
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

/// Opaque bytes: TLS that is passed through or ended here, or a plain connection.
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

/// The virtual hosts of HTTP servers: routes of all VirtualServices of a host, catch-alls last.
fn virtual_hosts(
    view: &View,
    servers: &[&PortServer],
    serves: impl Fn(&PortServer, &str) -> bool,
) -> Vec<VirtualHost> {
    let mut hosts: BTreeMap<String, VirtualHost> = BTreeMap::new();
    for server in servers {
        let port = server.server().port;
        let gateways = [server.reference()];
        let encrypted = server.server().tls.is_some();
        let place = Place { port, encrypted, gateways: &gateways };
        let sets = view.gates().map(|gates| gates.route_sets(&view.scope.namespace, &gateways[0]));
        for set in sets.unwrap_or_default() {
            let routes = http_route::routes(view, &set, &place);
            let common = server.common_hosts(&set);
            for name in common.iter().filter(|name| !routes.is_empty() && serves(server, name)) {
                let host = hosts.entry(name.clone()).or_insert_with(|| virtual_host(name, port));
                host.routes.extend(routes.iter().cloned());
                host.require_tls |= server.server().redirect_to_https;
            }
        }
        for name in server.hosts.iter().filter(|_| server.server().redirect_to_https) {
            hosts.entry(name.clone()).or_insert_with(|| virtual_host(name, port)).require_tls = true;
        }
    }
    hosts.into_values().map(sorted).collect()
}

/// The hosts of a server, and those for which another server of its port answers: a request for one of them on a
/// connection to this server is sent back (RFC 9110, 15.5.20), so that it comes by a connection of its own, as the other
/// server's TLS wants it. A client may have come here because one certificate covers both, or to get round the other's.
fn with_misdirected(port: &GatewayPort, server: &PortServer, hosts: Vec<VirtualHost>) -> Vec<VirtualHost> {
    let number = server.server().port;
    let mut hosts = hosts;
    let others: Vec<&str> = port.others(server).collect();
    if others.is_empty() {
        return hosts;
    }
    let own: BTreeSet<String> = hosts.iter().flat_map(|h| h.domains.clone()).collect();
    // Without routes, where a wider host of another server would cover it.
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

/// The pattern of a host's siblings, which one name of a certificate may cover; `None`: none covers these.
fn parent(host: &str) -> Option<String> {
    let (_, parent) = host.split_once('.').filter(|(_, parent)| parent.contains('.'))?;
    Some(format!("*.{parent}"))
}

/// Catch-alls go last, so that an older object's does not hide a younger's routes.
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

/// Names of other servers' hosts in all tables of a port: each table has those of all others. Of more, a table names
/// those near its own hosts one by one, and others by their parent domain: a client comes with them to a connection that
/// was made to this server only where one certificate covers both.
const MOST_NAMES: usize = 1 << 18;
/// Parent domains, and hosts without one, that a table then has; a request for any other of them is a 404.
const MOST_PARENTS: usize = 256;
