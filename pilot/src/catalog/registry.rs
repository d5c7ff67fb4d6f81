//! Pure. Builds the services by host: Kubernetes Services with their static endpoints, and ServiceEntries. Entries with
//! the same host and namespace merge into one service. An entry that declares no address gets an allocated one.

use super::allocation::{self, Claim};
use super::kind::Item;
use super::service::{Registry, Resolution, Service, StaticEndpoint, WrittenEndpoints};
use super::shared_map::{SharedLists, SharedMap};
use crate::flow::Protocol;
use api::resource::document::Key;
use api::resource::kind::Kind;
use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Namespace and name.
pub(super) type Id = (String, String);

/// The accepted objects.
pub(super) type Items = SharedMap<Key, Item>;

/// Services that share a host, the oldest first.
pub(super) type ByHost = SharedMap<String, Vec<Arc<Service>>>;

/// The objects that list endpoints, by their Service, sorted.
pub(super) type EndpointObjects = SharedLists<Id, Key>;

/// Returns all services. An unchanged service is the same allocation as in `last`, so that pointers can be compared.
pub(super) fn services(items: &Items, given: &EndpointObjects, last: &ByHost) -> ByHost {
    let written = items.values().filter_map(|item| match item {
        Item::Service(service) => Some(kubernetes(items, given, service)),
        _ => None,
    });
    let mut by_host: BTreeMap<String, Vec<Arc<Service>>> = BTreeMap::new();
    for service in written.chain(entries(items)) {
        let known = last.get(service.host.as_str()).map(Vec::as_slice).unwrap_or_default();
        let service = kept(service, known);
        by_host.entry(service.host.clone()).or_default().push(service);
    }
    by_host.into_iter().collect()
}

/// Returns the equal one of the known services, or else this one.
pub(super) fn kept(service: Arc<Service>, known: &[Arc<Service>]) -> Arc<Service> {
    let same = known.iter().find(|known| Arc::ptr_eq(known, &service) || ***known == *service);
    same.cloned().unwrap_or(service)
}

/// A Kubernetes Service with the endpoints that other objects list for it.
pub(super) fn kubernetes(items: &Items, given: &EndpointObjects, service: &Arc<Service>) -> Arc<Service> {
    let id = (service.namespace.clone(), service.name.clone());
    let mut endpoints = Given::default();
    for key in given.list(&id) {
        if let Some(Item::Endpoints { selected, endpoints: list, .. }) = items.get(key) {
            endpoints.lists.push((key.kind, list));
            endpoints.selected |= *selected;
        }
    }
    if endpoints.lists.is_empty() || service.resolution != Resolution::Endpoints {
        return service.clone();
    }
    Arc::new(Service { endpoints: endpoints.of(service), ..Service::clone(service) })
}

/// Limits an endpoint to the service ports that its object lists, as Kubernetes does. Returns `None` if it lists none
/// of them. An endpoint without listed ports serves all of them.
fn serving(service: &Service, endpoint: StaticEndpoint) -> Option<StaticEndpoint> {
    if endpoint.ports.is_empty() {
        return Some(endpoint);
    }
    let captured = service.ports.iter().filter(|p| p.protocol != Protocol::Udp);
    let serves: Vec<u16> =
        captured.filter(|p| endpoint.ports.contains_key(&p.name)).map(|p| p.number).collect();
    (!serves.is_empty()).then_some(StaticEndpoint { serves, ..endpoint })
}

/// The endpoints that Endpoints and EndpointSlices give to one service.
#[derive(Default)]
struct Given<'a> {
    lists: Vec<(Kind, &'a [StaticEndpoint])>,
    /// Whether a cluster's controller lists the selected pods among them.
    selected: bool,
}

impl Given<'_> {
    /// The endpoints of the service that they are given to.
    fn of(&self, service: &Service) -> WrittenEndpoints {
        // Kubernetes itself maintains the Endpoints object of a Service with a selector.
        let counts = |kind: Kind| kind == Kind::EndpointSlice || service.selector.is_none();
        let all = self.lists.iter().filter(|(kind, _)| counts(*kind)).flat_map(|(_, list)| *list);
        // Kubernetes often mirrors Endpoints into an EndpointSlice with the same addresses, and may list an endpoint in
        // two slices while it moves.
        let mut seen = HashSet::new();
        let once = all.filter(|e| seen.insert((&e.host, &e.ports)));
        let all: Vec<StaticEndpoint> = once.filter_map(|e| serving(service, e.clone())).collect();
        if !self.selected {
            return all.into();
        }
        // A pod with addresses of both families is listed once in each.
        let is_ipv4 = |e: &StaticEndpoint| e.host.parse::<Ipv4Addr>().is_ok();
        let ipv4 = all.iter().any(is_ipv4);
        let all = all.into_iter().filter(|e| !ipv4 || e.pod.is_none() || is_ipv4(e)).collect();
        WrittenEndpoints::of_selected_pods(all)
    }
}

/// The services of ServiceEntries, with allocated addresses.
fn entries(items: &Items) -> impl Iterator<Item = Arc<Service>> {
    let mut all: Vec<&Arc<Service>> = items
        .values()
        .filter_map(|item| match item {
            Item::ServiceEntry(services) => Some(services),
            _ => None,
        })
        .flatten()
        .collect();
    all.sort_by(|a, b| (&a.origin, &a.host).cmp(&(&b.origin, &b.host)));
    let mut merged: BTreeMap<(&str, &str), Vec<Merged>> = BTreeMap::new();
    for service in &all {
        let of_host = merged.entry((&service.namespace, &service.host)).or_default();
        match of_host.iter_mut().find(|m| m.takes(service)) {
            Some(first) => first.add(service),
            None => of_host.push(Merged { service: Arc::clone(service), entries: 1 }),
        }
    }
    let mut claims: Vec<(Claim, &mut Arc<Service>)> = merged
        .values_mut()
        .flatten()
        .filter(|m| wants_address(&m.service))
        .map(|m| (Claim::new(&m.service.namespace, &m.service.host, m.entries), &mut m.service))
        .collect();
    claims.sort_by(|(_, a), (_, b)| (&a.origin, &a.host).cmp(&(&b.origin, &b.host)));
    let addresses = allocation::allocate(claims.iter().map(|(claim, _)| claim));
    for ((_, service), addresses) in claims.into_iter().zip(addresses) {
        Arc::make_mut(service).allocated = addresses;
    }
    merged.into_values().flatten().map(|m| m.service).collect::<Vec<_>>().into_iter()
}

/// ServiceEntries with the same host, merged into one service.
struct Merged {
    service: Arc<Service>,
    entries: usize,
}

impl Merged {
    /// Whether another entry merges into this one: they differ only in ports, addresses and endpoints. Other entries
    /// stay separate services, and clients see the oldest.
    fn takes(&self, other: &Service) -> bool {
        let same = &self.service;
        same.resolution == other.resolution
            && same.mesh_external == other.mesh_external
            && same.selector == other.selector
            && same.export_to == other.export_to
    }

    fn add(&mut self, other: &Service) {
        self.entries += 1;
        let first = self.service.clone();
        let service = Arc::make_mut(&mut self.service);
        let only = |endpoints: &[StaticEndpoint], of: &Service| {
            let numbers: Vec<u16> = of.ports.iter().map(|p| p.number).collect();
            let limited = |e: &StaticEndpoint| {
                let serves = if e.serves.is_empty() { numbers.clone() } else { e.serves.clone() };
                StaticEndpoint { serves, ..e.clone() }
            };
            endpoints.iter().map(limited).collect::<Vec<_>>()
        };
        let own = only(service.endpoints.list(), &first).into_iter();
        let all: Vec<StaticEndpoint> = own.chain(only(other.endpoints.list(), other)).collect();
        service.endpoints = all.into();
        let added = other.ports.iter().filter(|p| first.port(p.number).is_none());
        service.ports.extend(added.cloned());
        let added = other.addresses.iter().filter(|a| !first.addresses.contains(a));
        service.addresses.extend(added.copied());
        let added = other.subject_alt_names.iter().filter(|n| !first.subject_alt_names.contains(n));
        service.subject_alt_names.extend(added.cloned());
        service.unallocated |= other.unallocated;
    }
}

/// Whether a service needs an allocated address: it has a plain host name and declares no address, and without one its
/// name would not resolve or its connections could not be distinguished from those of others.
fn wants_address(service: &Service) -> bool {
    let resolves = service.resolution != Resolution::Endpoints && service.endpoints.list().is_empty();
    let told_apart = service.ports.iter().all(|p| p.protocol.is_http());
    service.registry == Registry::External
        && service.addresses.is_empty()
        && service.resolution != Resolution::Passthrough
        && !service.is_wildcard()
        && !service.unallocated
        && !(resolves && told_apart)
}
