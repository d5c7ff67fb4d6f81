//! Pure. Joins a VirtualService's routes with those of the VirtualServices they delegate to.

use super::route::{HttpAction, HttpMatch, HttpRoute, RouteSet, SourceMatch};
use super::visibility::ExportTo;
use api::model::route::PathMatch;
use std::sync::Arc;

/// Returns the VirtualServices that have hosts, with every delegating route replaced by the delegate's routes. If the
/// delegate is missing or not exported to the root's namespace, the route is dropped.
pub(super) fn resolve(all: &[Arc<RouteSet>]) -> Vec<Arc<RouteSet>> {
    let roots = all.iter().filter(|set| !set.hosts.is_empty());
    roots
        .map(|root| if root.http.iter().any(delegates) { Arc::new(joined(root, all)) } else { root.clone() })
        .collect()
}

fn delegates(route: &HttpRoute) -> bool {
    matches!(route.action, HttpAction::Delegate { .. })
}

fn joined(root: &RouteSet, all: &[Arc<RouteSet>]) -> RouteSet {
    let mut http = vec![];
    for route in &root.http {
        let HttpAction::Delegate { namespace, name } = &route.action else {
            http.push(route.clone());
            continue;
        };
        let found = all.iter().find(|set| {
            set.hosts.is_empty() && set.origin.namespace == *namespace && set.origin.name == *name
        });
        let seen = found.filter(|set| {
            set.export_to.reaches(&set.origin.namespace, &root.origin.namespace, &ExportTo::All)
        });
        // Delegates do not nest.
        let routes = seen.iter().flat_map(|set| &set.http).filter(|r| !delegates(r));
        http.extend(routes.filter_map(|r| join(route, r)));
    }
    RouteSet { http, ..root.clone() }
}

/// Joins a delegate's route with the root's. Returns `None` if one of the delegate's matches lies within none of the
/// root's.
pub(super) fn join(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let matches = join_matches(&root.matches, &delegate.matches)?;
    let mut route = delegate.clone();
    route.matches = matches;
    route.name = match (root.name.as_str(), delegate.name.as_str()) {
        ("", name) | (name, "") => name.to_owned(),
        (root, name) => format!("{root}-{name}"),
    };
    if route.rewrite_uri.is_none() && route.rewrite_authority.is_none() && route.rewrite_regex.is_none() {
        route.rewrite_uri.clone_from(&root.rewrite_uri);
        route.rewrite_authority.clone_from(&root.rewrite_authority);
        route.rewrite_regex.clone_from(&root.rewrite_regex);
    }
    route.timeout = route.timeout.or(root.timeout);
    route.retries = route.retries.or_else(|| root.retries.clone());
    for setting in &root.filters {
        if !route.filters.iter().any(|own| own.name == setting.name) {
            route.filters.push(setting.clone());
        }
    }
    route.filters.sort_by(|a, b| a.name.cmp(&b.name));
    if route.mirrors.is_empty() {
        route.mirrors.clone_from(&root.mirrors);
    }
    if route.request_headers.is_empty() && route.response_headers.is_empty() {
        route.request_headers.clone_from(&root.request_headers);
        route.response_headers.clone_from(&root.response_headers);
    }
    Some(route)
}

fn join_matches(roots: &[HttpMatch], delegates: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if roots.is_empty() || delegates.is_empty() {
        return Some(if roots.is_empty() { delegates.to_vec() } else { roots.to_vec() });
    }
    let mut joined = vec![];
    for delegate in delegates {
        let before = joined.len();
        joined.extend(roots.iter().filter_map(|root| join_match(root, delegate)));
        // As in Istio, the whole route is dropped when one of its matches lies within none of the root's.
        if joined.len() == before {
            return None;
        }
    }
    Some(joined)
}

fn join_match(root: &HttpMatch, delegate: &HttpMatch) -> Option<HttpMatch> {
    if root.path.is_some() && delegate.path.is_some() && root.ignore_case != delegate.ignore_case {
        return None;
    }
    let path = match (&root.path, &delegate.path) {
        (None, path) | (path, None) => path.clone(),
        (Some(root), Some(delegate)) => Some(within(root, delegate)?),
    };
    let name = match (root.name.as_str(), delegate.name.as_str()) {
        ("", name) | (name, "") => name.to_owned(),
        (root, name) => format!("{root}-{name}"),
    };
    Some(HttpMatch {
        name,
        path,
        ignore_case: root.ignore_case || delegate.ignore_case,
        headers: [root.headers.clone(), delegate.headers.clone()].concat(),
        query: [root.query.clone(), delegate.query.clone()].concat(),
        source: join_source(&root.source, &delegate.source)?,
    })
}

/// Returns the delegate's path if the root's path matches everything that it matches.
fn within(root: &PathMatch, delegate: &PathMatch) -> Option<PathMatch> {
    let inside = match (root, delegate) {
        (PathMatch::Exact(r), PathMatch::Exact(d)) => r == d,
        (PathMatch::Prefix(r), PathMatch::Exact(d) | PathMatch::Prefix(d)) => d.starts_with(r.as_str()),
        _ => false,
    };
    inside.then(|| delegate.clone())
}

fn join_source(root: &SourceMatch, delegate: &SourceMatch) -> Option<SourceMatch> {
    let same = |a: Option<u16>, b: Option<u16>| a.is_none() || b.is_none() || a == b;
    let namespaces =
        root.namespace.is_none() || delegate.namespace.is_none() || root.namespace == delegate.namespace;
    if !same(root.port, delegate.port) || !namespaces {
        return None;
    }
    let mut labels = root.labels.clone();
    for (name, value) in &delegate.labels {
        if labels.insert(name.clone(), value.clone()).is_some_and(|before| before != *value) {
            return None;
        }
    }
    Some(SourceMatch {
        port: root.port.or(delegate.port),
        labels,
        namespace: root.namespace.clone().or_else(|| delegate.namespace.clone()),
        gateways: root.gateways.clone(),
    })
}
