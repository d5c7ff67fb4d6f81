//! Pure. Converts the Ingresses that gateways serve to Gateways and route sets, as Istio does: a Gateway for each Ingress,
//! and a route set for each host, which joins the rules of all Ingresses for that host.
//!
//! Unlike in Istio, a route set applies at the Gateways of all Ingresses that it joins rather than at the first one's, so
//! that the certificate of each is served with the host's routes, and `defaultBackend` is routed.

use super::gateway::{
    ClientVerification, Gateway, Server, ServerCertificate, ServerHost, ServerProtocol, ServerTls,
};
use super::host;
use super::ingress::{self, Backend, BackendPort, Certificate, Class, Ingress, IngressClass};
use super::policy::{IngressMode, Mesh};
use super::route::{
    Destination, GatewayRef, HttpAction, HttpDestination, HttpMatch, HttpRoute, Part, RouteSet,
};
use super::service::Service;
use super::visibility::{ExportTo, Origin};
use api::model::matcher::HeaderMutations;
use api::model::route::PathMatch;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the served Ingresses are converted to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Converted {
    pub(super) gateways: Vec<Arc<Gateway>>,
    pub(super) route_sets: Vec<Arc<RouteSet>>,
}

/// Converts the Ingresses that gateways serve. `all` is sorted by age; `service` finds a Service by namespace and name.
/// Unchanged results are the same allocations as in `last`, so that pointers can be compared.
pub(super) fn convert<'s>(
    all: &[Arc<Ingress>],
    classes: &[Arc<IngressClass>],
    mesh: &Mesh,
    service: impl Fn(&str, &str) -> Option<&'s Service>,
    last: &Converted,
) -> Converted {
    let served: Vec<&Arc<Ingress>> = all.iter().filter(|one| is_served(one, classes, mesh)).collect();
    let mut hosts: BTreeMap<&str, Vec<Routed>> = BTreeMap::new();
    for ingress in &served {
        for (host, routed) in routes(ingress, mesh, &service) {
            hosts.entry(host).or_default().push(routed);
        }
    }
    let known = |made: &RouteSet| last.route_sets.iter().find(|known| ***known == *made).cloned();
    let sets = hosts.into_iter().map(|(host, routes)| route_set(host, routes, mesh));
    let known_gateway = |made: &Gateway| last.gateways.iter().find(|known| ***known == *made).cloned();
    let gateways = served.iter().map(|ingress| gateway(ingress, mesh));
    Converted {
        gateways: gateways.map(|made| known_gateway(&made).unwrap_or_else(|| Arc::new(made))).collect(),
        route_sets: sets.map(|made| known(&made).unwrap_or_else(|| Arc::new(made))).collect(),
    }
}

/// Whether the mesh's gateways serve an Ingress.
pub(super) fn is_served(ingress: &Ingress, classes: &[Arc<IngressClass>], mesh: &Mesh) -> bool {
    let settings = &mesh.ingress;
    match (&ingress.class, settings.mode) {
        (_, IngressMode::Off) => false,
        (Class::Annotated(class), _) => *class == settings.class,
        (Class::Named(name), _) => {
            classes.iter().any(|class| class.name == *name && class.controller == CONTROLLER)
        }
        (Class::Unnamed, mode) => mode == IngressMode::Default,
    }
}

fn gateway(ingress: &Ingress, mesh: &Mesh) -> Gateway {
    let origin = &ingress.origin;
    let server = |tls: Option<&Certificate>| Server {
        name: String::new(),
        port: if tls.is_some() { 443 } else { 80 },
        port_name: match tls {
            Some(tls) => format!("https-443-ingress-{}-{}-{}", origin.name, origin.namespace, tls.index),
            None => format!("http-80-ingress-{}-{}", origin.name, origin.namespace),
        },
        field: tls.map_or_else(|| "spec".to_owned(), |tls| format!("spec.tls[{}]", tls.index)),
        protocol: if tls.is_some() { ServerProtocol::Https } else { ServerProtocol::Http },
        grpc_web: false,
        hosts: tls
            .map_or_else(|| vec!["*".to_owned()], |tls| tls.hosts.clone())
            .into_iter()
            .map(|host| ServerHost { namespace: None, host })
            .collect(),
        redirect_to_https: false,
        tls: tls.map(|tls| ServerTls::Terminate {
            certificate: ServerCertificate::Secret(tls.secret.clone()),
            client: ClientVerification::None,
            min: None,
            max: None,
        }),
    };
    let encrypted = ingress.certificates.iter().map(|tls| server(Some(tls)));
    Gateway {
        origin: origin.clone(),
        reference: reference(origin, mesh),
        selector: mesh.ingress.selector.clone(),
        services: None,
        servers: encrypted.chain([server(None)]).collect(),
    }
}

/// Istio's name of the Gateway that an Ingress is converted to.
fn reference(origin: &Origin, mesh: &Mesh) -> GatewayRef {
    GatewayRef::Named {
        namespace: mesh.root_namespace.clone(),
        name: format!("{}-{GENERATED}-{}", origin.name, origin.namespace),
    }
}

/// A route of an Ingress.
struct Routed<'a> {
    origin: &'a Origin,
    /// Its field in the Ingress.
    field: String,
    /// Its order among the routes of a host.
    order: Order,
    route: HttpRoute,
}

/// The precedence of a route: the longest path, exact paths first, then every path, then default backends. Equal ones
/// keep the order of their Ingresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    is_default: bool,
    length: Reverse<Option<usize>>,
    is_prefix: bool,
}

impl Order {
    fn of(matched: Option<&PathMatch>) -> Self {
        let (length, is_prefix) = match matched {
            Some(PathMatch::Exact(path)) => (Some(path.len()), false),
            Some(PathMatch::Prefix(path) | PathMatch::Segments(path) | PathMatch::Regex(path)) => {
                (Some(path.len()), true)
            }
            None => (None, true),
        };
        Self { is_default: false, length: Reverse(length), is_prefix }
    }
}

/// The routes of an Ingress with their hosts. Its default backend takes the requests for the rules' hosts whose path no
/// rule matches, and those for hosts without rules.
fn routes<'a, 's>(
    ingress: &'a Ingress,
    mesh: &Mesh,
    service: &impl Fn(&str, &str) -> Option<&'s Service>,
) -> Vec<(&'a str, Routed<'a>)> {
    let mut all = vec![];
    let mut hosts: Vec<&str> = vec!["*"];
    for (r, rule) in ingress.rules.iter().enumerate() {
        if !hosts.contains(&rule.host.as_str()) {
            hosts.push(&rule.host);
        }
        for (p, path) in rule.paths.iter().enumerate() {
            let routed = Routed {
                origin: &ingress.origin,
                field: ingress::path_field(r, p),
                order: Order::of(path.matched.as_ref()),
                route: route(path.matched.clone(), action(ingress, &path.backend, mesh, service)),
            };
            all.push((rule.host.as_str(), routed));
        }
    }
    if let Some(backend) = &ingress.default_backend {
        all.extend(hosts.iter().map(|host| {
            let routed = Routed {
                origin: &ingress.origin,
                field: ingress::DEFAULT_BACKEND.to_owned(),
                order: Order { is_default: true, ..Order::of(None) },
                route: route(None, action(ingress, backend, mesh, service)),
            };
            (*host, routed)
        }));
    }
    all
}

fn route(path: Option<PathMatch>, action: HttpAction) -> HttpRoute {
    let matches = path.map(|path| HttpMatch { path: Some(path), ..HttpMatch::default() });
    HttpRoute {
        name: String::new(),
        matches: matches.into_iter().collect(),
        action,
        rewrite_uri: None,
        rewrite_authority: None,
        rewrite_regex: None,
        timeout: None,
        retries: None,
        filters: vec![],
        mirrors: vec![],
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
    }
}

/// Forwards to a backend. If it is no Service, or its port has a name that the Service does not have, the response is 503:
/// another route of the host must not take the requests.
fn action<'s>(
    ingress: &Ingress,
    backend: &Backend,
    mesh: &Mesh,
    service: &impl Fn(&str, &str) -> Option<&'s Service>,
) -> HttpAction {
    let namespace = &ingress.origin.namespace;
    let found = match backend {
        Backend::Service { name, port: BackendPort::Number(number) } => Some((name, *number)),
        Backend::Service { name, port: BackendPort::Name(wanted) } => service(namespace, name)
            .and_then(|service| service.ports.iter().find(|port| port.name == *wanted))
            .map(|port| (name, port.number)),
        Backend::Resource => None,
    };
    let Some((name, port)) = found else { return HttpAction::Direct { status: 503, body: String::new() } };
    HttpAction::Forward(vec![HttpDestination {
        index: 0,
        destination: Destination {
            host: host::service_host(name, namespace, &mesh.domain),
            subset: String::new(),
            port: Some(port),
        },
        weight: 1,
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        rewrite_authority: None,
    }])
}

/// The route set of a host. The oldest Ingress gives its name and age.
fn route_set(host: &str, mut routes: Vec<Routed>, mesh: &Mesh) -> RouteSet {
    let origin = routes.first().expect("a host has a route").origin.clone();
    let mut gateways: Vec<GatewayRef> = vec![];
    for routed in &routes {
        let gateway = reference(routed.origin, mesh);
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
        }
    }
    routes.sort_by_key(|routed| routed.order);
    let parts =
        routes.iter().map(|routed| Part { origin: routed.origin.clone(), field: routed.field.clone() });
    let generated = format!("{}-{}-{GENERATED}", host.replace('.', "-"), origin.name);
    RouteSet {
        parts: parts.collect(),
        generated: Some(generated),
        origin,
        hosts: vec![host.to_owned()],
        gateways,
        http: routes.into_iter().map(|routed| routed.route).collect(),
        tls: vec![],
        tcp: vec![],
        // Ingresses have no `exportTo`, and the mesh's default must not hide them from the gateways.
        export_to: ExportTo::All,
        otherwise: None,
    }
}

/// The controller of Istio's IngressClasses.
pub(super) const CONTROLLER: &str = "istio.io/ingress-controller";
/// A part of Istio's names of generated objects.
const GENERATED: &str = "istio-autogenerated-k8s-ingress";
