//! Pure. Route tables of a sidecar: one for each port on which some service speaks HTTP, by the port's number, and
//! one for each service whose port is not declared, as `<host>:<port>`.

use super::http_route::{self, Place};
use super::{View, cluster};
use crate::catalog::service::{Service, ServicePort};
use crate::catalog::virtual_service::GatewayRef;
use api::model::route::{Forward, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use api::name;
use std::collections::BTreeSet;

/// The table of a port, with a virtual host for each service on it.
pub(super) fn of_port(view: &View, port: u16, services: &[(&Service, &ServicePort)]) -> RouteConfiguration {
    let mut hosts = Hosts::default();
    for (service, _) in services {
        hosts.add(service_host(view, service, port));
    }
    if port == DEFAULT_HTTP_PORT {
        for host in unknown_hosts(view) {
            hosts.add(host);
        }
    }
    hosts.add(rest(view));
    table(port.to_string(), hosts)
}

/// The table of one port of one service whose protocol is found out from its bytes.
pub(super) fn of_service(view: &View, service: &Service, port: u16) -> RouteConfiguration {
    let mut hosts = Hosts::default();
    hosts.add(service_host(view, service, port));
    hosts.add(rest(view));
    table(sniffed_name(service, port), hosts)
}

/// Name of the table of a service whose protocol is not declared.
pub(super) fn sniffed_name(service: &Service, port: u16) -> String {
    format!("{}:{port}", service.host)
}

fn table(name: String, hosts: Hosts) -> RouteConfiguration {
    RouteConfiguration {
        name,
        virtual_hosts: hosts.list,
        ignore_port_in_host: true,
        ..RouteConfiguration::default()
    }
}

/// Virtual hosts without a domain twice: Envoy refuses a table with one.
#[derive(Default)]
struct Hosts {
    list: Vec<VirtualHost>,
    taken: BTreeSet<String>,
}

impl Hosts {
    fn add(&mut self, mut host: VirtualHost) {
        host.domains.retain(|d| self.taken.insert(d.clone()));
        if !host.domains.is_empty() {
            self.list.push(host);
        }
    }
}

fn service_host(view: &View, service: &Service, port: u16) -> VirtualHost {
    let place = Place { port, gateways: &[GatewayRef::Mesh] };
    let routed = view.virtual_service(&service.host).map(|vs| http_route::routes(view, vs, &place));
    // A VirtualService without a route for this port leaves the service to its default.
    let routes = match routed {
        Some(routes) if !routes.is_empty() => routes,
        _ => vec![http_route::default_route(view, &service.host, port)],
    };
    VirtualHost {
        name: format!("{}:{port}", service.host),
        domains: domains(view, service),
        routes,
        attempt_count: true,
        ..VirtualHost::default()
    }
}

/// The names by which clients in the proxy's namespace may call a service, and its addresses.
fn domains(view: &View, service: &Service) -> Vec<String> {
    let mut domains = vec![service.host.clone()];
    if cluster::is_kubernetes(service) {
        if service.namespace == view.scope.namespace {
            domains.push(service.name.clone());
        }
        let base = format!("{}.{}", service.name, service.namespace);
        domains.extend([format!("{base}.svc"), base]);
    }
    if service.headless {
        domains.push(format!("*.{}", service.host));
    }
    let single = service.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len());
    domains.extend(single.map(|net| match net.addr() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }));
    domains
}

/// Hosts of VirtualServices that no service has: Istio serves them on port 80 alone.
fn unknown_hosts(view: &View) -> Vec<VirtualHost> {
    let place = Place { port: DEFAULT_HTTP_PORT, gateways: &[GatewayRef::Mesh] };
    let unknown = view.owners().iter().filter(|(host, _)| view.service(host).is_none() && *host != "*");
    unknown
        .map(|(host, vs)| VirtualHost {
            name: format!("{host}:{DEFAULT_HTTP_PORT}"),
            domains: vec![host.clone()],
            routes: http_route::routes(view, vs, &place),
            attempt_count: true,
            ..VirtualHost::default()
        })
        .filter(|host| !host.routes.is_empty())
        .collect()
}

/// Where requests for unknown hosts go.
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
        fault: None,
        authorization: None,
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
