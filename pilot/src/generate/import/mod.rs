//! Pure. What a proxy's Sidecar lets it see: services, and VirtualServices by the hosts that they route.
//!
//! Istio's rules: a service is imported by its namespace and host. A VirtualService is imported by its own namespace
//! and those of its hosts that the Sidecar names, and it brings the services that it leads to, wherever they are, so
//! that its routes work. Other than in Istio, its other hosts are left alone.

use crate::catalog::policy::Sidecar;
use crate::catalog::route::{GatewayRef, RouteSet};
use crate::catalog::service::Service;
use crate::catalog::{Catalog, host};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is seen.
pub(super) struct Imports {
    /// One service for each host, sorted by host.
    pub(super) services: Vec<Arc<Service>>,
    /// Hosts (patterns too) of VirtualServices for sidecars, each with what routes it.
    pub(super) owners: BTreeMap<String, Arc<RouteSet>>,
}

impl Imports {
    /// What a proxy in `namespace` sees; `sidecar` is absent where nothing limits it.
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
        // What stands for another service is nothing without it.
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

/// What routes each host: the first VirtualService that has it, with what the others add.
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

/// The VirtualServices of one host as one: HTTP is routed by the first of `own` that has routes for a port, other bytes
/// by the first route that matches of all that cover the host.
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
