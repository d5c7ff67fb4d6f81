//! Pure. Generates the HTTP routes of a VirtualService, or of a service without one, for an audience of proxies.
//!
//! Conditions that pilot can evaluate for a proxy (labels, namespace, gateways, the listener's port) are evaluated
//! here; those that depend on the request become conditions of the route.

use super::view::View;
use crate::catalog::policy::Mesh;
use crate::catalog::route::{
    Destination, GatewayRef, HttpAction, HttpDestination, HttpMatch, HttpRoute, Retries, RouteSet,
    SourceMatch,
};
use crate::catalog::visibility;
use api::model::matcher::{BackOff, HeaderMutations};
use api::model::route::{
    ClusterChoice, Forward, HashKey, HostRewrite, Mirror, PathMatch, Redirect, RetryOn, RetryPolicy, Route,
    RouteAction, RouteMatch, WeightedCluster,
};
use api::name::ClusterName;
use std::time::Duration;

/// The listener that routes are generated for.
pub(super) struct Place<'a> {
    /// Port of the listener (of the service, or of the gateway's server).
    pub(super) port: u16,
    /// Whether clients connect to it with TLS.
    pub(super) encrypted: bool,
    /// The Gateway objects that a gateway serves on this port; for a sidecar, `mesh`.
    pub(super) gateways: &'a [GatewayRef],
}

/// The routes of a VirtualService at this place.
pub(super) fn routes(view: &View, set: &RouteSet, place: &Place) -> Vec<Route> {
    let origin = set.path();
    let mut routes = vec![];
    for route in &set.http {
        let Some(action) = action(view, route, place) else { continue };
        let made = |criteria: RouteMatch, name: &str| Route {
            name: route_name(&route.name, name),
            criteria,
            action: action.clone(),
            request_headers: request_headers(route),
            response_headers: response_headers(route),
            filters: route.filters.clone(),
            origin: Some(origin.clone()),
        };
        if route.matches.is_empty() {
            routes.push(made(RouteMatch::any(), ""));
            break;
        }
        let here = route.matches.iter().filter(|m| applies(view, &m.source, set, place));
        routes.extend(here.map(|m| made(criteria(m), &m.name)));
        // No request reaches a route behind a catch-all.
        if routes.last().is_some_and(|r| takes_everything(&r.criteria)) {
            break;
        }
    }
    match &set.otherwise {
        Some(other) if routes.is_empty() => self::routes(view, other, place),
        _ => routes,
    }
}

/// The route of a service without a VirtualService.
pub(super) fn default_route(view: &View, host: &str, port: u16) -> Route {
    let destination = Destination { host: host.to_owned(), subset: String::new(), port: Some(port) };
    Route {
        name: "default".into(),
        criteria: RouteMatch::any(),
        action: RouteAction::Forward(Box::new(Forward {
            retry: retry(view.mesh(), None),
            hash: hash(view, &destination, port).into_iter().collect(),
            ..Forward::to(cluster(view, &destination, port))
        })),
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        filters: vec![],
        origin: None,
    }
}

/// The cluster name of a destination. For an ExternalName Service, that of the service behind it.
pub(super) fn cluster(view: &View, destination: &Destination, listener_port: u16) -> String {
    let port = destination_port(view, destination, listener_port);
    ClusterName::outbound(view.target(&destination.host), port, &destination.subset).to_string()
}

/// The port of a destination; if absent, the service's only port, else the listener's.
fn destination_port(view: &View, destination: &Destination, listener_port: u16) -> u16 {
    let service = || view.service(view.target(&destination.host));
    destination.port.unwrap_or_else(|| match service().map(|s| s.ports.as_slice()) {
        Some([only]) => only.number,
        _ => listener_port,
    })
}

fn applies(view: &View, source: &SourceMatch, set: &RouteSet, place: &Place) -> bool {
    if source.port.is_some_and(|p| p != place.port) {
        return false;
    }
    // Istio ignores the source conditions of a match that names gateways.
    if !source.gateways.is_empty() {
        return source.gateways.iter().any(|g| place.gateways.contains(g));
    }
    set.gateways.iter().any(|g| place.gateways.contains(g))
        && visibility::selects(&source.labels, &view.scope.labels)
        && source.namespace.as_ref().is_none_or(|n| *n == view.scope.namespace)
}

fn criteria(from: &HttpMatch) -> RouteMatch {
    RouteMatch {
        path: from.path.clone().unwrap_or_else(|| PathMatch::Prefix("/".into())),
        ignore_case: from.ignore_case,
        headers: from.headers.clone(),
        query: from.query.clone(),
        grpc: false,
        fraction: None,
    }
}

fn takes_everything(criteria: &RouteMatch) -> bool {
    let any_path = match &criteria.path {
        PathMatch::Prefix(p) => p == "/",
        PathMatch::Regex(r) => r == ".*",
        _ => false,
    };
    any_path && criteria.headers.is_empty() && criteria.query.is_empty()
}

/// The name of a route. A route without a written name has none, as in Istio; `default` is the name of the route of a
/// service without a VirtualService.
fn route_name(route: &str, matched: &str) -> String {
    match (route, matched) {
        (name, "") | ("", name) => name.into(),
        (route, matched) => format!("{route}.{matched}"),
    }
}

fn action(view: &View, route: &HttpRoute, place: &Place) -> Option<RouteAction> {
    match &route.action {
        HttpAction::Forward(destinations) => {
            Some(RouteAction::Forward(Box::new(forward(view, route, destinations, place))))
        }
        HttpAction::Redirect { to, request_port } => {
            Some(RouteAction::Redirect(redirect(to, *request_port, place)))
        }
        HttpAction::Direct { status, body } => {
            Some(RouteAction::Direct { status: *status, body: body.clone() })
        }
        // The catalog resolves delegates. A remaining one has no target.
        HttpAction::Delegate { .. } => None,
    }
}

/// A redirect. To another host it contains the port unless it is the scheme's default; to the same host it keeps the
/// authority as the client wrote it, unless a port is set.
fn redirect(to: &Redirect, request_port: bool, place: &Place) -> Redirect {
    if to.host.is_none() {
        return to.clone();
    }
    let port = if request_port { Some(place.port) } else { to.port };
    let encrypted = to.scheme.as_ref().map_or(place.encrypted, |scheme| scheme == "https");
    let usual = if encrypted { 443 } else { 80 };
    Redirect { port: port.filter(|port| *port != usual), ..to.clone() }
}

fn forward(view: &View, route: &HttpRoute, destinations: &[HttpDestination], place: &Place) -> Forward {
    let port = place.port;
    let clusters = match destinations {
        [only] => ClusterChoice::Single(cluster(view, &only.destination, port)),
        several => ClusterChoice::Weighted(several.iter().map(|d| weighted(view, d, port)).collect()),
    };
    let own_host = || match destinations {
        [only] => only.rewrite_authority.clone(),
        _ => None,
    };
    let mirrors = route
        .mirrors
        .iter()
        .map(|m| Mirror {
            cluster: cluster(view, &m.destination, port),
            fraction: m.fraction,
            keep_host: true,
        })
        .collect();
    let hash: Vec<HashKey> = destinations.iter().filter_map(|d| hash(view, &d.destination, port)).collect();
    let mut retry = retry(view.mesh(), route.retries.as_ref());
    // A different host would defeat consistent hashing, so retries stay on the host that the hash selects unless
    // configured otherwise.
    let configured = route.retries.as_ref().and_then(|r| r.ignore_previous_hosts);
    if let Some(policy) =
        retry.as_mut().filter(|_| configured == Some(false) || (configured.is_none() && !hash.is_empty()))
    {
        policy.avoid_previous_hosts = 0;
    }
    Forward {
        timeout: route.timeout.filter(|t| !t.is_zero()),
        retry,
        prefix_rewrite: route.rewrite_uri.clone(),
        regex_rewrite: route.rewrite_regex.clone(),
        host_rewrite: route.rewrite_authority.clone().or_else(own_host).map(HostRewrite::Literal),
        mirrors,
        hash: hash.into_iter().take(1).collect(),
        clusters,
        ..Forward::to(String::new())
    }
}

fn weighted(view: &View, from: &HttpDestination, port: u16) -> WeightedCluster {
    WeightedCluster {
        name: cluster(view, &from.destination, port),
        weight: from.weight,
        request_headers: from.request_headers.clone(),
        response_headers: from.response_headers.clone(),
        host_rewrite: from.rewrite_authority.clone(),
    }
}

/// Header changes of the route, and of its destination if there is only one. With several, each weighted cluster
/// carries its own.
fn request_headers(route: &HttpRoute) -> HeaderMutations {
    joined(&route.request_headers, single(route).map(|d| &d.request_headers))
}

fn response_headers(route: &HttpRoute) -> HeaderMutations {
    joined(&route.response_headers, single(route).map(|d| &d.response_headers))
}

fn single(route: &HttpRoute) -> Option<&HttpDestination> {
    match &route.action {
        HttpAction::Forward(destinations) if destinations.len() == 1 => destinations.first(),
        _ => None,
    }
}

fn joined(first: &HeaderMutations, second: Option<&HeaderMutations>) -> HeaderMutations {
    let mut all = first.clone();
    if let Some(more) = second {
        all.remove.extend(more.remove.iter().cloned());
        all.write.extend(more.write.iter().cloned());
    }
    all
}

fn hash(view: &View, destination: &Destination, listener_port: u16) -> Option<HashKey> {
    let port = destination_port(view, destination, listener_port);
    let rule = view.destination_rule(view.target(&destination.host))?;
    rule.effective(port, &destination.subset).load_balancer?.hash
}

/// The retry policy: the route's own, else the mesh's, else Istio's default of two retries on failures where the
/// upstream cannot have processed the request.
fn retry(mesh: &Mesh, own: Option<&Retries>) -> Option<RetryPolicy> {
    let wanted = own.or(mesh.default_retries.as_ref());
    let attempts = wanted.map_or(DEFAULT_ATTEMPTS, |r| r.attempts);
    if attempts == 0 {
        return None;
    }
    let mut on = wanted.and_then(|r| r.on.clone()).unwrap_or_else(|| DEFAULT_RETRY_ON.to_vec());
    let status_codes = wanted.map(|r| r.status_codes.clone()).unwrap_or_default();
    if !status_codes.is_empty() && !on.contains(&RetryOn::RetriableStatusCodes) {
        on.push(RetryOn::RetriableStatusCodes);
    }
    let base = wanted.and_then(|r| r.backoff).unwrap_or(DEFAULT_BACK_OFF);
    Some(RetryPolicy {
        on,
        status_codes,
        attempts,
        per_try_timeout: wanted.and_then(|r| r.per_try_timeout).filter(|t| !t.is_zero()),
        back_off: BackOff { base, max: base * 10 },
        avoid_previous_hosts: 5,
        headers: vec![],
        request_headers: vec![],
    })
}

const DEFAULT_ATTEMPTS: u32 = 2;
const DEFAULT_BACK_OFF: Duration = Duration::from_millis(25);
const DEFAULT_RETRY_ON: [RetryOn; 5] = [
    RetryOn::ConnectFailure,
    RetryOn::RefusedStream,
    RetryOn::GrpcUnavailable,
    RetryOn::GrpcCancelled,
    RetryOn::RetriableStatusCodes,
];
