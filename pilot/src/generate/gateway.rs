//! Pure. Listeners and route tables of a gateway, from the Gateway objects that select it and the VirtualServices
//! that are bound to them.

use super::http_route::{self, Place};
use super::opaque::{choice, tcp};
use super::{View, cluster};
use crate::catalog::gateway::{
    ClientVerification, Gateway, Server, ServerCertificate, ServerHost, ServerProtocol, ServerTls,
};
use crate::catalog::host;
use crate::catalog::virtual_service::{GatewayRef, VirtualService};
use api::model::listener::{
    ChainMatch, Direction, FilterChain, ForwardClientCertificate, ForwardMode, HttpConnection, HttpFilter,
    Inspect, Listener, Protocol as ChainProtocol, RouteSource, Transport,
};
use api::model::matcher::StringMatch;
use api::model::route::{Fault, Route, RouteConfiguration, VirtualHost};
use api::model::tls::{CertificateSource, DownstreamTls, RootSource, SanMatch, TlsParameters, Validation};
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A server of a Gateway object, with the port its listener binds.
struct Bound<'a> {
    gateway: &'a Gateway,
    server: &'a Server,
}

/// All listeners of a gateway, and the route tables they name.
pub(super) fn listeners_and_routes(view: &View) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    let gateways = view.catalog.gateways_for(&view.scope.labels);
    let mut ports: BTreeMap<u16, Vec<Bound>> = BTreeMap::new();
    for gateway in &gateways {
        for server in &gateway.servers {
            let port = target_port(view, server.port);
            let on_port = ports.entry(port).or_default();
            // Plain HTTP servers of a port merge, and so do those with TLS; the first decides which it is.
            if on_port.first().is_none_or(|first| first.server.listens_as(server)) {
                on_port.push(Bound { gateway, server });
            }
        }
    }
    let mut listeners = vec![];
    let mut routes = vec![];
    for (port, servers) in &ports {
        let (listener, tables) = port_listener(view, *port, servers);
        listeners.push(listener);
        routes.extend(tables);
    }
    (listeners, routes)
}

/// A server's port is one of the gateway's Service; the gateway itself listens to that port's target.
fn target_port(view: &View, number: u16) -> u16 {
    let Some(own) = view.catalog.workload_of(view.scope) else { return number };
    let services = view.catalog.services_of(own);
    let ports = services.iter().filter_map(|s| s.port(number)?.on(own));
    ports.into_iter().next().unwrap_or(number)
}

fn port_listener(view: &View, port: u16, servers: &[Bound]) -> (Listener, Vec<RouteConfiguration>) {
    let plain_http = servers.iter().all(|b| b.server.protocol == ServerProtocol::Http);
    let (chains, tables) = if plain_http {
        let name = format!("http.{port}");
        let table = RouteConfiguration {
            name: name.clone(),
            virtual_hosts: virtual_hosts(view, servers),
            ignore_port_in_host: true,
            ..RouteConfiguration::default()
        };
        (vec![http_chain(view, name, port, None, vec![])], vec![table])
    } else {
        secured(view, port, servers)
    };
    let tls = chains.iter().any(|c| c.criteria.transport == Some(Transport::Tls));
    let listener = Listener {
        name: format!("0.0.0.0_{port}"),
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        bind_to_port: true,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect { tls, timeout: None, ..Inspect::default() },
        chains,
        default_chain: None,
    };
    (listener, tables)
}

/// Chains of servers with TLS (terminated or passed through) and of TCP servers.
fn secured(view: &View, port: u16, servers: &[Bound]) -> (Vec<FilterChain>, Vec<RouteConfiguration>) {
    let mut chains: Vec<FilterChain> = vec![];
    let mut tables = vec![];
    let mut names = BTreeSet::new();
    for bound in servers {
        // Of two servers with one SNI host the later is skipped.
        let mut hosts: Vec<String> = bound.server.hosts.iter().map(|h| h.host.clone()).collect();
        hosts.retain(|h| names.insert(h.clone()) || bound.server.tls.is_none());
        if hosts.is_empty() {
            continue;
        }
        let sni = if hosts.iter().any(|h| h == "*") { vec![] } else { hosts };
        match (&bound.server.protocol, &bound.server.tls) {
            (ServerProtocol::Https, Some(ServerTls::Terminate { .. })) => {
                let origin = &bound.gateway.origin;
                let server = bound.server;
                let name = format!(
                    "https.{}.{}.{}.{}",
                    server.port, server.port_name, origin.name, origin.namespace
                );
                tables.push(RouteConfiguration {
                    name: name.clone(),
                    virtual_hosts: virtual_hosts(view, std::slice::from_ref(bound)),
                    ignore_port_in_host: true,
                    ..RouteConfiguration::default()
                });
                chains.push(http_chain(view, name, port, downstream_tls(server), sni));
            }
            _ => chains.extend(opaque_chains(view, bound, &sni)),
        }
    }
    (chains, tables)
}

/// Chains of TLS that is passed through or terminated to opaque bytes, and of plain TCP.
fn opaque_chains(view: &View, bound: &Bound, sni: &[String]) -> Vec<FilterChain> {
    let server = bound.server;
    let passes = matches!(server.tls, Some(ServerTls::Passthrough));
    let own = reference(bound.gateway);
    let mut chains = vec![];
    for service in bound_services(view, &own) {
        if passes {
            for route in &service.tls {
                let here = |m: &&crate::catalog::virtual_service::TlsMatch| {
                    m.source.port.is_none_or(|p| p == server.port)
                        && m.sni_hosts.iter().any(|h| server_covers(server, &service, h))
                };
                for matched in route.matches.iter().filter(here) {
                    chains.push(FilterChain {
                        criteria: ChainMatch {
                            transport: Some(Transport::Tls),
                            server_names: matched.sni_hosts.iter().filter(|h| *h != "*").cloned().collect(),
                            ..ChainMatch::default()
                        },
                        ..opaque(view, server, choice(view, &route.destinations, server.port))
                    });
                }
            }
        } else if let Some(route) = service.tcp.iter().find(|r| {
            r.matches.is_empty() || r.matches.iter().any(|m| m.source.port.is_none_or(|p| p == server.port))
        }) {
            let mut chain = opaque(view, server, choice(view, &route.destinations, server.port));
            chain.tls = downstream_tls(server);
            if chain.tls.is_some() {
                chain.criteria = ChainMatch {
                    transport: Some(Transport::Tls),
                    server_names: sni.to_vec(),
                    ..ChainMatch::default()
                };
            }
            chains.push(chain);
        }
    }
    chains
}

fn opaque(view: &View, server: &Server, clusters: api::model::route::ClusterChoice) -> FilterChain {
    FilterChain {
        name: format!("0.0.0.0_{}", server.port),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: tcp(view, clusters),
    }
}

fn reference(gateway: &Gateway) -> GatewayRef {
    GatewayRef::Named { namespace: gateway.origin.namespace.clone(), name: gateway.origin.name.clone() }
}

fn bound_services(view: &View, gateway: &GatewayRef) -> Vec<Arc<VirtualService>> {
    view.catalog.virtual_services(&view.scope.namespace, gateway)
}

fn server_covers(server: &Server, service: &VirtualService, wanted: &str) -> bool {
    server.hosts.iter().any(|h| from_namespace(h, service) && host::covers(&h.host, wanted))
}

fn from_namespace(server_host: &ServerHost, service: &VirtualService) -> bool {
    server_host.namespace.as_ref().is_none_or(|n| *n == service.origin.namespace)
}

/// The virtual hosts of HTTP servers: routes of all VirtualServices of a host, catch-alls last.
fn virtual_hosts(view: &View, servers: &[Bound]) -> Vec<VirtualHost> {
    let mut hosts: BTreeMap<String, VirtualHost> = BTreeMap::new();
    for Bound { gateway, server } in servers {
        let gateways = [reference(gateway)];
        let place = Place { port: server.port, gateways: &gateways };
        if server.redirect_to_https {
            for h in &server.hosts {
                hosts.entry(h.host.clone()).or_insert_with(|| VirtualHost {
                    require_tls: true,
                    ..virtual_host(&h.host, server.port)
                });
            }
            continue;
        }
        for service in bound_services(view, &gateways[0]) {
            let routes = http_route::routes(view, &service, &place);
            for name in common_hosts(server, &service) {
                let made = hosts.entry(name.clone()).or_insert_with(|| virtual_host(&name, server.port));
                made.routes.extend(routes.iter().cloned());
            }
        }
    }
    hosts.into_values().map(sorted).filter(|h| h.require_tls || !h.routes.is_empty()).collect()
}

/// Catch-alls go last, so that an older object's does not hide a younger's routes.
fn sorted(mut host: VirtualHost) -> VirtualHost {
    let catches_all = |r: &Route| r.criteria == api::model::route::RouteMatch::any();
    host.routes.sort_by_key(|r| catches_all(r));
    host
}

fn virtual_host(name: &str, port: u16) -> VirtualHost {
    VirtualHost {
        name: format!("{name}:{port}"),
        domains: vec![name.to_owned()],
        attempt_count: true,
        ..VirtualHost::default()
    }
}

/// Hosts that a server and a VirtualService have in common: the narrower of each overlapping pair.
fn common_hosts(server: &Server, service: &VirtualService) -> BTreeSet<String> {
    let mut common = BTreeSet::new();
    for server_host in server.hosts.iter().filter(|h| from_namespace(h, service)) {
        for wanted in &service.hosts {
            if host::covers(&server_host.host, wanted) {
                common.insert(wanted.clone());
            } else if host::covers(wanted, &server_host.host) {
                common.insert(server_host.host.clone());
            }
        }
    }
    common
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
        name: if tls.is_some() { routes.clone() } else { format!("0.0.0.0_{port}") },
        criteria,
        tls,
        authorization: vec![],
        protocol: ChainProtocol::Http(Box::new(HttpConnection {
            filters: filters(view.scope.istio_extensions),
            server_name: Some("istio-envoy".into()),
            use_remote_address: true,
            client_certificate: ForwardClientCertificate {
                mode: ForwardMode::SanitizeSet,
                subject: true,
                uri: true,
                dns: true,
                ..ForwardClientCertificate::default()
            },
            normalize_path: true,
            upgrades: vec!["websocket".into()],
            stream_idle_timeout: None,
            access_log: view.mesh().access_log.clone(),
            ..HttpConnection::new(format!("outbound_0.0.0.0_{port}"), RouteSource::Rds(routes))
        })),
    }
}

fn filters(istio_extensions: bool) -> Vec<HttpFilter> {
    let own = |filter| if istio_extensions { vec![filter] } else { vec![] };
    [
        own(HttpFilter::Alpn),
        vec![HttpFilter::Fault(Fault::default()), HttpFilter::Cors],
        own(HttpFilter::Stats),
        vec![HttpFilter::Router],
    ]
    .concat()
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
