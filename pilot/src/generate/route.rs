//! Pure. Generates the route tables of a sidecar: one for each port where services are distinguished by host, named by
//! the port number, and one for each service port without a declared protocol, named `<host>:<port>`.

use super::http_route::{self, Place};
use super::spelling;
use super::view::View;
use crate::catalog::host;
use crate::catalog::route::{GatewayRef, RouteSet};
use crate::catalog::service::Service;
use crate::flow::Protocol;
use api::model::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use api::name;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The route tables of these ports, with a virtual host for each service that has the port, whatever its protocol
/// there.
pub(super) fn of_ports(view: &View, ports: &BTreeSet<u16>, services: &[&Service]) -> Vec<RouteConfiguration> {
    let mut on: BTreeMap<u16, Vec<&Service>> = ports.iter().map(|port| (*port, vec![])).collect();
    for service in services {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            if let Some(services) = on.get_mut(&port.number) {
                services.push(service);
            }
        }
    }
    on.into_iter().map(|(port, services)| of_port(view, port, &services)).collect()
}

/// The table of one port. Hosts declared only by VirtualServices come first, because their names are explicit; but no
/// short name of a service can take the full name of another.
fn of_port(view: &View, port: u16, services: &[&Service]) -> RouteConfiguration {
    let full = services.iter().map(|s| s.host.as_str()).collect();
    let mut hosts = Hosts { full, ..Hosts::default() };
    for host in aliases(view, port, services) {
        hosts.add(host, "");
    }
    for host in written_hosts(view, port, services) {
        hosts.add(host, "");
    }
    for service in services {
        let domains = spelling::domains(view, service);
        hosts.add(service_host(view, service, port, domains), &service.host);
    }
    hosts.add(rest(view), "");
    table(port.to_string(), hosts.list)
}

/// The table of a service port whose protocol is detected.
pub(super) fn of_service(view: &View, service: &Service, port: u16) -> RouteConfiguration {
    table(sniffed_name(service, port), vec![service_host(view, service, port, vec!["*".into()])])
}

/// The name of the table of a service port without a declared protocol.
pub(super) fn sniffed_name(service: &Service, port: u16) -> String {
    format!("{}:{port}", service.host)
}

fn table(name: String, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration { name, virtual_hosts, ignore_port_in_host: true, ..RouteConfiguration::default() }
}

/// The virtual hosts of a table, without duplicate domains: Envoy refuses a table that has any.
#[derive(Default)]
struct Hosts<'a> {
    list: Vec<VirtualHost>,
    taken: HashSet<String>,
    /// The full names of services, which no other virtual host may have.
    full: HashSet<&'a str>,
}

impl Hosts<'_> {
    /// Adds a virtual host; `own` is the full name that it may have.
    fn add(&mut self, mut host: VirtualHost, own: &str) {
        host.domains.retain(|domain| {
            let anothers = domain != own && self.full.contains(domain.as_str());
            !anothers && self.taken.insert(domain.clone())
        });
        if !host.domains.is_empty() {
            self.list.push(host);
        }
    }
}

fn service_host(view: &View, service: &Service, port: u16, domains: Vec<String>) -> VirtualHost {
    let routed = view.route_set(&service.host).map(|set| http_route::routes(view, set, &place(port)));
    // If the VirtualService has no route for this port, the service keeps its default route.
    let routes = match routed {
        Some(routes) if !routes.is_empty() => routes,
        _ => vec![http_route::default_route(view, &service.host, port)],
    };
    virtual_host(&service.host, port, domains, routes)
}

/// ExternalName Services that declare the port and have a VirtualService. Its routes take precedence over those of the
/// service behind.
fn aliases(view: &View, port: u16, services: &[&Service]) -> Vec<VirtualHost> {
    let aliases = services.iter().flat_map(|service| view.aliases(service));
    let declared = aliases.filter(|alias| alias.port(port).is_some());
    let routed = declared.filter_map(|alias| {
        let set = view.route_set(&alias.host)?;
        let routes = http_route::routes(view, set, &place(port));
        Some(virtual_host(&alias.host, port, spelling::own_names(view, alias), routes))
    });
    routed.filter(|host| !host.routes.is_empty()).collect()
}

/// Hosts of VirtualServices that no service on this port has. Istio serves them on port 80, and on other ports if the
/// VirtualService also has the host of a service there.
fn written_hosts(view: &View, port: u16, services: &[&Service]) -> Vec<VirtualHost> {
    let known: HashSet<&str> = services.iter().map(|s| s.host.as_str()).collect();
    let covers = |pattern: &str| {
        if pattern.starts_with('*') {
            services.iter().any(|s| host::covers(pattern, &s.host))
        } else {
            known.contains(pattern)
        }
    };
    let here = |set: &RouteSet| port == DEFAULT_HTTP_PORT || set.hosts.iter().any(|pattern| covers(pattern));
    let unknown = view.owners().iter().filter(|(host, set)| *host != "*" && !covers(host) && here(set));
    unknown
        .map(|(host, set)| {
            let routes = http_route::routes(view, set, &place(port));
            virtual_host(host, port, vec![spelling::domain(host)], routes)
        })
        .filter(|host| !host.routes.is_empty())
        .collect()
}

fn place(port: u16) -> Place<'static> {
    Place { port, encrypted: false, gateways: &[GatewayRef::Mesh] }
}

fn virtual_host(name: &str, port: u16, domains: Vec<String>, routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: format!("{name}:{port}"),
        domains,
        routes,
        attempt_count: true,
        ..VirtualHost::default()
    }
}

/// The virtual host for unknown hosts.
fn rest(view: &View) -> VirtualHost {
    let (name, action) = if view.registry_only() {
        ("block_all", RouteAction::Direct { status: 502, body: String::new() })
    } else {
        ("allow_any", RouteAction::Forward(Box::new(Forward::to(name::PASSTHROUGH_CLUSTER))))
    };
    let route = Route {
        name: name.into(),
        criteria: RouteMatch::any(),
        action,
        request_headers: api::model::matcher::HeaderMutations::default(),
        response_headers: api::model::matcher::HeaderMutations::default(),
        filters: vec![],
        origin: None,
    };
    VirtualHost {
        name: name.into(),
        domains: vec!["*".into()],
        routes: vec![route],
        attempt_count: true,
        ..VirtualHost::default()
    }
}

const DEFAULT_HTTP_PORT: u16 = 80;
