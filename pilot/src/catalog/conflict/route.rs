//! Pure. Finds VirtualServices of sidecars that route the same host. The first with HTTP routes for the port routes
//! HTTP; the first route without conditions routes TCP; the first route for a server name routes TLS.

use super::found::{Conflicts, in_namespaces, viewers, winner};
use crate::catalog::route::{GatewayRef, RouteSet, SourceMatch, TcpRoute, TlsMatch};
use crate::catalog::{Catalog, lookup};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NEXT: &str = "merge the two objects, or delete one";

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let mut by_host: BTreeMap<&str, Vec<&Arc<RouteSet>>> = BTreeMap::new();
    let of_sidecars = catalog.index.route_sets.iter().filter(|set| set.gateways.contains(&GatewayRef::Mesh));
    for set in of_sidecars {
        for host in &set.hosts {
            by_host.entry(host).or_default().push(set);
        }
    }
    let default = &catalog.mesh().default_virtual_service_export;
    for (host, all) in by_host.iter().filter(|(_, all)| all.len() > 1) {
        let namespaces = viewers(all.iter().map(|set| (&set.origin, &set.export_to)));
        let order = |viewer: &&'_ str| -> Vec<&RouteSet> {
            let mut seen: Vec<_> =
                all.iter().filter_map(|set| Some((lookup::rank(set, viewer, default)?, set))).collect();
            seen.sort_by_key(|(rank, set)| (*rank, &set.origin));
            seen.into_iter().map(|(_, set)| set.as_ref()).collect()
        };
        let orders: Vec<(&str, Vec<&RouteSet>)> =
            namespaces.iter().map(|viewer| (*viewer, order(viewer))).collect();
        for later in all {
            compare(host, later, &orders, found);
        }
    }
}

/// Finds the routes of `later` to a host that earlier VirtualServices take, and for which clients.
fn compare(host: &str, later: &RouteSet, orders: &[(&str, Vec<&RouteSet>)], found: &mut Conflicts) {
    let place = |set: &&RouteSet| std::ptr::eq(*set, later);
    let seen: BTreeSet<&str> =
        orders.iter().filter(|(_, order)| order.iter().any(place)).map(|(viewer, _)| *viewer).collect();
    let mut overridden: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for (viewer, order) in orders {
        let first = order.iter().take_while(|set| !place(set));
        if !seen.contains(viewer) {
            continue;
        }
        for first in first {
            let who = winner(&first.origin, &later.origin);
            for (path, what) in taken(first, later) {
                let reason = format!("{who} routes {what} of {host}");
                overridden.entry((path, reason)).or_default().insert(viewer);
            }
        }
    }
    for ((path, reason), viewers) in overridden {
        let place = in_namespaces(&viewers, &seen);
        found.add(&later.origin, path, format!("{reason}; this has no effect{place}"), NEXT);
    }
}

/// Fields of `later` that have no effect when `first` precedes it, with what `first` takes.
fn taken(first: &RouteSet, later: &RouteSet) -> Vec<(String, String)> {
    let mut taken = vec![];
    if let Some(what) = http(first, later) {
        taken.push(("spec.http".to_owned(), what));
    }
    for (i, route) in later.tcp.iter().enumerate() {
        let ports = ports(route.matches.iter().map(|m| &m.source), route.matches.is_empty());
        let whole = first.tcp.iter().filter(|r| takes_all(r)).find(|r| covers(&tcp_ports(r), &ports));
        if whole.is_some() {
            taken.push((format!("spec.tcp[{i}]"), "these connections".to_owned()));
        }
    }
    for (i, route) in later.tls.iter().enumerate() {
        for (m, wanted) in route.matches.iter().enumerate() {
            if first.tls.iter().flat_map(|r| &r.matches).any(|m| same_names(m, wanted)) {
                let names = wanted.sni_hosts.join(", ");
                taken.push((format!("spec.tls[{i}].match[{m}]"), format!("server name {names}")));
            }
        }
    }
    taken
}

/// The ports on which both VirtualServices have HTTP routes.
fn http(first: &RouteSet, later: &RouteSet) -> Option<String> {
    let of = |set: &RouteSet| {
        let routes = set
            .http
            .iter()
            .map(|route| ports(route.matches.iter().map(|m| &m.source), route.matches.is_empty()));
        routes.reduce(join)
    };
    match (of(first)?, of(later)?) {
        (Ports::All, _) => Some("all requests".to_owned()),
        (Ports::These(taken), Ports::All) => (!taken.is_empty()).then(|| listed(&taken)),
        (Ports::These(taken), Ports::These(wanted)) => {
            let both: BTreeSet<u16> = taken.intersection(&wanted).copied().collect();
            (!both.is_empty()).then(|| listed(&both))
        }
    }
}

fn listed(ports: &BTreeSet<u16>) -> String {
    let numbers: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!("requests to port {}", numbers.join(", "))
}

/// Ports that have routes for every client.
#[derive(Debug, PartialEq)]
enum Ports {
    All,
    These(BTreeSet<u16>),
}

fn ports<'a>(matches: impl Iterator<Item = &'a SourceMatch>, any: bool) -> Ports {
    if any {
        return Ports::All;
    }
    let everybody = |m: &&SourceMatch| {
        let mesh = m.gateways.is_empty() || m.gateways.contains(&GatewayRef::Mesh);
        mesh && m.labels.is_empty() && m.namespace.is_none()
    };
    matches.filter(everybody).fold(Ports::These(BTreeSet::new()), |all, m| {
        join(all, m.port.map_or(Ports::All, |port| Ports::These(BTreeSet::from([port]))))
    })
}

fn join(one: Ports, other: Ports) -> Ports {
    match (one, other) {
        (Ports::These(mut one), Ports::These(other)) => {
            one.extend(other);
            Ports::These(one)
        }
        _ => Ports::All,
    }
}

fn covers(taken: &Ports, wanted: &Ports) -> bool {
    match (taken, wanted) {
        (Ports::All, _) => true,
        (Ports::These(_), Ports::All) => false,
        (Ports::These(taken), Ports::These(wanted)) => !wanted.is_empty() && wanted.is_subset(taken),
    }
}

fn tcp_ports(route: &TcpRoute) -> Ports {
    let whole = route.matches.iter().filter(|m| m.destination_subnets.is_empty());
    ports(whole.map(|m| &m.source), route.matches.is_empty())
}

fn takes_all(route: &TcpRoute) -> bool {
    route.matches.is_empty() || route.matches.iter().any(|m| m.destination_subnets.is_empty())
}

fn same_names(first: &TlsMatch, later: &TlsMatch) -> bool {
    first.sni_hosts == later.sni_hosts
        && first.destination_subnets == later.destination_subnets
        && (first.source == later.source || first.source == SourceMatch::default())
}
