//! Pure. What a proxy's Sidecar imports: services, and VirtualServices by the hosts that they route.
//!
//! Istio's rules: a service is imported by its namespace and host. A VirtualService is imported by its own namespace
//! and by those of its hosts that the Sidecar names; it also imports its destination services, in whatever namespace,
//! so that its routes work. Unlike Istio, its other hosts are not imported.

use crate::catalog::kind::sidecar::Sidecar;
use crate::catalog::route::{GatewayRef, RouteSet};
use crate::catalog::service::Service;
use crate::catalog::{Catalog, host};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The services and routes that a proxy sees.
pub(super) struct Imports {
    /// One service for each host, sorted by host.
    pub(super) services: Vec<Arc<Service>>,
    /// The hosts and host patterns of VirtualServices for sidecars, each with the routes that apply to it.
    pub(super) owners: BTreeMap<String, Arc<RouteSet>>,
}

impl Imports {
    /// Computes what a proxy in `namespace` sees; `sidecar` is `None` if nothing limits it.
    pub(super) fn new(catalog: &Catalog, namespace: &str, sidecar: Option<&Sidecar>) -> Self {
        let seen = |s: &Service| sidecar.is_none_or(|c| c.imports(namespace, &s.namespace, &s.host));
        let mut services: BTreeMap<String, Arc<Service>> = catalog
            .visible_services(namespace, seen)
            .into_iter()
            .map(|service| (service.host.clone(), service))
            .collect();
        let routes = |set: &RouteSet, host: &str| {
            sidecar.is_none_or(|c| c.imports_route(namespace, &set.origin.namespace, host))
        };
        let all = catalog.route_sets(namespace, &GatewayRef::Mesh);
        let imported: Vec<(Arc<RouteSet>, Vec<String>)> = all
            .into_iter()
            .map(|set| {
                let hosts = set.hosts.iter().filter(|host| routes(&set, host)).cloned().collect();
                (set, hosts)
            })
            .filter(|(_, hosts): &(_, Vec<String>)| !hosts.is_empty())
            .collect();
        if sidecar.is_some() {
            for destination in imported.iter().flat_map(|(set, _)| set.destinations_for(namespace)) {
                if !services.contains_key(&destination.host)
                    && let Some(service) = catalog.service(namespace, &destination.host)
                {
                    services.insert(service.host.clone(), service.clone());
                }
            }
        }
        // An ExternalName Service has no effect without the service behind it.
        let aliases: Vec<Arc<Service>> =
            services.values().filter(|s| s.alias_of.is_some()).cloned().collect();
        for alias in aliases {
            let find = |host: &str| catalog.service(namespace, host).map(AsRef::as_ref);
            let behind = alias.behind(find).and_then(|s| catalog.service(namespace, &s.host));
            if let Some(behind) = behind {
                services.entry(behind.host.clone()).or_insert_with(|| behind.clone());
            }
        }
        Self { services: services.into_values().collect(), owners: owners(&imported) }
    }
}

/// Returns the routes of each host: those of the first VirtualService with that host, extended by those of the others.
fn owners(imported: &[(Arc<RouteSet>, Vec<String>)]) -> BTreeMap<String, Arc<RouteSet>> {
    let mut by_host: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (_, hosts)) in imported.iter().enumerate() {
        for host in hosts {
            by_host.entry(host).or_default().push(at);
        }
    }
    let patterns: Vec<&str> = by_host.keys().filter(|h| h.starts_with('*')).copied().collect();
    let owner = |host: &str, own: &[usize]| {
        let wider = patterns.iter().filter(|p| **p != host && host::covers(p, host));
        let mut covering: Vec<usize> = wider.flat_map(|p| &by_host[p]).chain(own).copied().collect();
        covering.sort_unstable();
        covering.dedup();
        joined(imported, own, &covering)
    };
    by_host.iter().map(|(host, own)| ((*host).to_owned(), owner(host, own))).collect()
}

/// Joins the VirtualServices of one host. HTTP is routed by the first of `own` that has routes for the port, other
/// protocols by the first matching route of all VirtualServices whose hosts cover the host.
fn joined(imported: &[(Arc<RouteSet>, Vec<String>)], own: &[usize], covering: &[usize]) -> Arc<RouteSet> {
    let set = |at: &usize| &imported[*at].0;
    let others = covering.iter().filter(|at| **at != own[0]).map(set);
    let opaque = others.clone().any(|other| !other.tls.is_empty() || !other.tcp.is_empty());
    let otherwise = own[1..]
        .iter()
        .rev()
        .fold(None, |rest, at| Some(Arc::new(RouteSet { otherwise: rest, ..RouteSet::clone(set(at)) })));
    if !opaque && otherwise.is_none() {
        return set(&own[0]).clone();
    }
    Arc::new(RouteSet {
        tls: covering.iter().flat_map(|at| set(at).tls.iter().cloned()).collect(),
        tcp: covering.iter().flat_map(|at| set(at).tcp.iter().cloned()).collect(),
        otherwise,
        ..RouteSet::clone(set(&own[0]))
    })
}

#[cfg(test)]
mod tests;
