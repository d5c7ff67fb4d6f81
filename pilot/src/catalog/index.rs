//! Pure. The tables that a catalog's look-ups read. A table is rebuilt when objects of its kinds change.

use super::changed::Changed;
use super::destination_rule::DestinationRule;
use super::ingress::{Ingress, IngressClass};
use super::ingress_route::{self, Converted};
use super::kind::{Item, Listed};
use super::list::List;
use super::node::{Distribution, Node};
use super::policy::{Mesh, TlsSecret};
use super::registry::{ByHost, EndpointObjects, Id, Items};
use super::route::RouteSet;
use super::rule::Rules;
use super::service::{Registry, Service};
use super::shared_map::{SharedLists, SharedMap};
use super::visibility::{Labels, Origin};
use super::workload::Workload;
use super::{delegate, registry};
use api::resource::document::Key;
use api::resource::kind::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Index {
    /// The settings pilot started with; a MeshConfig in the catalog replaces them.
    base: Arc<Mesh>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) services: Arc<ByHost>,
    endpoint_objects: EndpointObjects,
    pub(super) workloads: Arc<SharedMap<Id, Arc<Workload>>>,
    /// Sorted by name. The last one has the address.
    workloads_by_ip: SharedLists<IpAddr, Arc<Workload>>,
    /// Sorted by name.
    workloads_by_label: SharedLists<u64, Arc<Workload>>,
    services_by_label: SharedLists<u64, Arc<Service>>,
    /// By the IP addresses of their static endpoints.
    pub(super) services_by_address: SharedLists<IpAddr, Arc<Service>>,
    /// By name.
    pub(super) nodes: Arc<BTreeMap<String, Arc<Node>>>,
    pub(super) namespaces: Arc<BTreeMap<String, Labels>>,
    pub(super) route_sets: Arc<Vec<Arc<RouteSet>>>,
    pub(super) destination_rules: Arc<BTreeMap<String, Rules>>,
    pub(super) secrets: Arc<BTreeMap<Id, Arc<TlsSecret>>>,
    /// The labels by which objects select proxies, as values by name.
    selected: Arc<BTreeMap<String, BTreeSet<String>>>,
    pub(super) preferences: Preferences,
    /// What the served Ingresses are converted to; also in `route_sets` and in the list of Gateways.
    converted: Arc<Converted>,
    /// The objects of every kind that has no other table, the oldest first.
    lists: BTreeMap<Kind, Arc<Vec<Item>>>,
}

/// What the choice of endpoints depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    pub(super) localities: bool,
    pub(super) nodes: bool,
}

/// The table in which an object is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Services,
    Workloads,
    Nodes,
    Namespaces,
    Secrets,
    Mesh,
    RouteSets,
    DestinationRules,
    List(Kind),
    None,
}

/// Returns the table of an object of a kind.
pub(super) fn table_of(kind: Kind, item: &Item) -> Table {
    match item {
        Item::Service(_) | Item::ServiceEntry(_) | Item::Endpoints { .. } => Table::Services,
        Item::Workload(_) => Table::Workloads,
        Item::Node(_) => Table::Nodes,
        Item::Namespace(_) => Table::Namespaces,
        Item::Secret(_) => Table::Secrets,
        Item::Mesh(_) => Table::Mesh,
        Item::Routes(_) => Table::RouteSets,
        Item::DestinationRule(_) => Table::DestinationRules,
        Item::Other => Table::None,
        _ => Table::List(kind),
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Index {
    pub(super) fn new(mesh: Arc<Mesh>) -> Self {
        Self {
            base: mesh.clone(),
            mesh,
            services: Arc::default(),
            endpoint_objects: SharedMap::default(),
            workloads: Arc::default(),
            workloads_by_ip: SharedMap::default(),
            workloads_by_label: SharedMap::default(),
            services_by_label: SharedMap::default(),
            services_by_address: SharedMap::default(),
            selected: Arc::default(),
            nodes: Arc::default(),
            namespaces: Arc::default(),
            route_sets: Arc::default(),
            destination_rules: Arc::default(),
            secrets: Arc::default(),
            preferences: Preferences::default(),
            converted: Arc::default(),
            lists: BTreeMap::new(),
        }
    }

    /// Indexes the objects that decide which other objects are known: namespaces and the mesh's settings.
    pub(super) fn index_settings(&mut self, items: &Items, changed: &[Changed]) {
        let tables = tables(changed);
        if tables.contains(&Table::Namespaces) {
            self.namespaces = Arc::new(namespaces(items));
        }
        if tables.contains(&Table::Mesh) {
            self.mesh = mesh(items).unwrap_or_else(|| self.base.clone());
        }
    }

    /// Indexes all other objects.
    pub(super) fn index_objects(&mut self, items: &Items, changed: &[Changed]) {
        let tables = tables(changed);
        for table in &tables {
            match table {
                Table::Services => self.index_services(items, changed),
                Table::Workloads => self.index_workloads(changed),
                Table::Nodes => self.nodes = Arc::new(nodes(items)),
                Table::Secrets => self.secrets = Arc::new(secrets(items)),
                Table::DestinationRules => self.destination_rules = Arc::new(destination_rules(items)),
                // Below, together with those of Ingresses, or above.
                Table::RouteSets
                | Table::List(Kind::IstioGateway)
                | Table::Namespaces
                | Table::Mesh
                | Table::None => {}
                Table::List(kind) => self.list_kind(items, *kind),
            }
        }
        // Ports of Services may have other names, which Ingresses refer to.
        let services = changed.iter().any(|one| one.key.kind == Kind::Service);
        self.index_gateways(items, &tables, services);
        if tables.contains(&Table::Services) || tables.contains(&Table::DestinationRules) {
            self.preferences = self.preferences();
        }
        let selects = |table: &Table| matches!(table, Table::RouteSets | Table::List(_) | Table::Mesh);
        if tables.iter().any(selects) {
            self.selected = Arc::new(self.selected(items));
        }
    }

    /// Whether an object selects proxies by this label.
    pub(super) fn selects_by(&self, name: &str, value: &str) -> bool {
        self.selected.get(name).is_some_and(|values| values.contains(value))
    }

    fn selected(&self, items: &Items) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let written = items.values().flat_map(Item::selectors);
        // Ingresses select gateways by the Gateways that they are converted to.
        let generated = self.converted.gateways.iter().map(|gateway| &gateway.selector);
        for (name, value) in written.chain(generated).flatten() {
            found.entry(name.clone()).or_default().insert(value.clone());
        }
        found
    }

    fn preferences(&self) -> Preferences {
        let any = |wanted: &[Distribution]| {
            self.services.values().flatten().any(|service| wanted.contains(&service.distribution))
        };
        let ejects =
            || self.destination_rules.values().flat_map(Rules::all).any(|rule| rule.detects_outliers());
        Preferences {
            localities: any(&[Distribution::SameZone, Distribution::SameNode]) || ejects(),
            nodes: any(&[Distribution::SameNode]),
        }
    }

    fn list_kind(&mut self, items: &Items, kind: Kind) {
        let list = of_kind(items, kind).cloned().collect();
        self.lists.insert(kind, Arc::new(oldest_first(list, Item::origin)));
    }

    /// Lists the Gateways and the route sets, those that users write and those of Ingresses. `services`: whether Services have
    /// changed, and not only their endpoints.
    fn index_gateways(&mut self, items: &Items, changed: &BTreeSet<Table>, services: bool) {
        let has = |tables: &[Table]| tables.iter().any(|table| changed.contains(table));
        let converts = [Table::List(Kind::Ingress), Table::List(Kind::IngressClass), Table::Mesh];
        let before = self.converted.clone();
        if services || has(&converts) {
            self.convert_ingresses(items);
        }
        let is_new = *before != *self.converted;
        if is_new || has(&[Table::List(Kind::IstioGateway)]) {
            let generated = self.converted.gateways.iter().cloned().map(Item::Gateway);
            let list = of_kind(items, Kind::IstioGateway).cloned().chain(generated).collect();
            self.lists.insert(Kind::IstioGateway, Arc::new(oldest_first(list, Item::origin)));
        }
        if is_new || has(&[Table::RouteSets]) {
            self.route_sets = Arc::new(route_sets(items, &self.converted.route_sets));
        }
    }

    fn convert_ingresses(&mut self, items: &Items) {
        let ingresses: Vec<Arc<Ingress>> = self.all().cloned().collect();
        if ingresses.is_empty() && self.converted.gateways.is_empty() {
            return;
        }
        let classes: Vec<Arc<IngressClass>> = self.all().cloned().collect();
        let service = |namespace: &str, name: &str| match items.get(&Key::new(Kind::Service, namespace, name))
        {
            Some(Item::Service(service)) => Some(service.as_ref()),
            _ => None,
        };
        let next = ingress_route::convert(&ingresses, &classes, &self.mesh, service, &self.converted);
        self.converted = Arc::new(next);
    }

    /// The objects of a kind, the oldest first.
    pub(super) fn list<T: Listed>(&self) -> List<T> {
        List::new(self.lists.get(&T::KIND).cloned().unwrap_or_default())
    }

    /// The objects of a kind, the oldest first.
    pub(super) fn all<T: Listed + 'static>(&self) -> impl Iterator<Item = &Arc<T>> + Clone {
        self.lists.get(&T::KIND).into_iter().flat_map(|list| list.iter()).filter_map(T::of)
    }

    /// The objects of all lists.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Item> {
        self.lists.values().flat_map(|list| list.iter())
    }

    /// Whether a list is the same as that of another index.
    pub(super) fn has_list_of(&self, other: &Self, kind: Kind) -> bool {
        match (self.lists.get(&kind), other.lists.get(&kind)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Whether all tables are the same as those of another index, except for Secrets and namespace labels.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let Self {
            base: _,
            mesh,
            services,
            // Derived from the services.
            services_by_label: _,
            services_by_address: _,
            workloads,
            // Derived from the workloads.
            workloads_by_ip: _,
            workloads_by_label: _,
            // Part of the services.
            endpoint_objects: _,
            // Derived from lists and route sets.
            selected: _,
            nodes,
            namespaces: _,
            route_sets,
            destination_rules,
            secrets: _,
            // Part of the route sets and of a list.
            converted: _,
            // Derived from services and rules.
            preferences: _,
            lists,
        } = self;
        Arc::ptr_eq(mesh, &other.mesh)
            && Arc::ptr_eq(services, &other.services)
            && Arc::ptr_eq(workloads, &other.workloads)
            && Arc::ptr_eq(nodes, &other.nodes)
            && Arc::ptr_eq(route_sets, &other.route_sets)
            && Arc::ptr_eq(destination_rules, &other.destination_rules)
            && lists.keys().chain(other.lists.keys()).all(|kind| self.has_list_of(other, *kind))
    }

    /// Pods with this label. May contain others with the same hash, so look-ups compare again.
    pub(super) fn labelled(&self, namespace: &str, name: &str, value: &str) -> &[Arc<Workload>] {
        self.workloads_by_label.list(&label(namespace, name, value))
    }

    /// Services whose selector may select a pod with these labels; look-ups compare again.
    pub(super) fn candidates(&self, namespace: &str, labels: &Labels) -> impl Iterator<Item = &Arc<Service>> {
        let keys = labels.iter().map(move |(n, v)| label(namespace, n, v)).chain([any_label(namespace)]);
        keys.flat_map(|key| self.services_by_label.list(&key))
    }

    /// The pod that has this address. Pods on the host network have none of their own.
    pub(super) fn workload_at(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        self.workloads_by_ip.list(&address).last()
    }

    /// Indexes the services that have changed, or whose endpoints have.
    fn index_services(&mut self, items: &Items, changed: &[Changed]) {
        self.list_endpoint_objects(changed);
        // Entries merge, and addresses are allocated among all of them.
        let is_entry = |item: &Item| matches!(item, Item::ServiceEntry(_));
        if changed.iter().flat_map(Changed::items).any(is_entry) {
            let next = registry::services(items, &self.endpoint_objects, &self.services);
            let hosts: BTreeSet<String> = self.services.keys().chain(next.keys()).cloned().collect();
            for host in hosts {
                self.replace_host(&host, next.get(&host).cloned().unwrap_or_default());
            }
            return;
        }
        for (host, ids) in changed_services(items, changed) {
            let known = self.services.get(&host).cloned().unwrap_or_default();
            let written = ids.iter().filter_map(|id| service_of(items, id)).filter(|s| s.host == host);
            let written = written.map(|service| {
                registry::kept(registry::kubernetes(items, &self.endpoint_objects, service), &known)
            });
            let is_other = |service: &&Arc<Service>| {
                service.registry != Registry::Kubernetes
                    || !ids.contains(&(service.namespace.clone(), service.name.clone()))
            };
            let next = written.chain(known.iter().filter(is_other).cloned()).collect();
            self.replace_host(&host, next);
        }
    }

    fn list_endpoint_objects(&mut self, changed: &[Changed]) {
        for Changed { key, before, after } in changed {
            if let Some(Item::Endpoints { service, .. }) = before {
                let id = (key.namespace.clone(), service.clone());
                self.endpoint_objects.change(id, |keys| keys.retain(|other| other != key));
            }
            if let Some(Item::Endpoints { service, .. }) = after {
                let id = (key.namespace.clone(), service.clone());
                self.endpoint_objects.change(id, |keys| {
                    let at = keys.partition_point(|other| other < key);
                    keys.insert(at, key.clone());
                });
            }
        }
    }

    /// Sets the services of a host.
    fn replace_host(&mut self, host: &str, next: Vec<Arc<Service>>) {
        let known = self.services.get(host).cloned().unwrap_or_default();
        let same = |one: &Arc<Service>, all: &[Arc<Service>]| all.iter().any(|other| Arc::ptr_eq(one, other));
        if known.len() == next.len() && known.iter().zip(&next).all(|(one, other)| Arc::ptr_eq(one, other)) {
            return;
        }
        for gone in known.iter().filter(|service| !same(service, &next)) {
            self.list_service(gone, |list| list.retain(|other| !Arc::ptr_eq(gone, other)));
        }
        for new in next.iter().filter(|service| !same(service, &known)) {
            self.list_service(new, |list| list.push(new.clone()));
        }
        let services = Arc::make_mut(&mut self.services);
        if next.is_empty() {
            services.remove(host);
        } else {
            services.insert(host.to_owned(), next);
        }
    }

    /// Changes the lists that a service is in.
    fn list_service(&mut self, service: &Service, change: impl Fn(&mut Vec<Arc<Service>>)) {
        if let Some(selector) = &service.selector {
            // The first label of the selector is enough to find the service.
            let first = selector.iter().next();
            let key = first.map_or_else(
                || any_label(&service.namespace),
                |(name, value)| label(&service.namespace, name, value),
            );
            self.services_by_label.change(key, &change);
        }
        let addresses: BTreeSet<IpAddr> =
            service.endpoints.list().iter().filter_map(|e| e.host.parse().ok()).collect();
        for address in addresses {
            self.services_by_address.change(address, &change);
        }
    }

    /// Indexes the pods that have changed.
    fn index_workloads(&mut self, changed: &[Changed]) {
        let mut workloads = std::mem::take(&mut self.workloads);
        for Changed { before, after, .. } in changed {
            if let Some(old) = before.as_ref().and_then(Item::workload) {
                Arc::make_mut(&mut workloads).remove(&id(old));
                self.list_workload(old, |list| {
                    if let Ok(at) = list.binary_search_by(|other| by_name(other, old)) {
                        list.remove(at);
                    }
                });
            }
            if let Some(new) = after.as_ref().and_then(Item::workload) {
                Arc::make_mut(&mut workloads).insert(id(new), new.clone());
                self.list_workload(new, |list| {
                    let at = list.partition_point(|other| by_name(other, new).is_lt());
                    list.insert(at, new.clone());
                });
            }
        }
        self.workloads = workloads;
    }

    /// Changes the lists that a pod is in.
    fn list_workload(&mut self, workload: &Workload, change: impl Fn(&mut Vec<Arc<Workload>>)) {
        // The address of a finished pod may already belong to another pod.
        if !workload.finished && !workload.host_network {
            for address in &workload.addresses {
                self.workloads_by_ip.change(*address, &change);
            }
        }
        for (name, value) in &workload.labels {
            self.workloads_by_label.change(label(&workload.namespace, name, value), &change);
        }
    }
}

fn id(workload: &Workload) -> Id {
    (workload.namespace.clone(), workload.name.clone())
}

fn by_name(one: &Workload, other: &Workload) -> std::cmp::Ordering {
    (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
}

fn service_of<'a>(items: &'a Items, (namespace, name): &Id) -> Option<&'a Arc<Service>> {
    match items.get(&Key::new(Kind::Service, namespace, name))? {
        Item::Service(service) => Some(service),
        _ => None,
    }
}

/// The Kubernetes Services that have changed, or whose endpoints have, by host.
fn changed_services(items: &Items, changed: &[Changed]) -> BTreeMap<String, BTreeSet<Id>> {
    let mut hosts: BTreeMap<String, BTreeSet<Id>> = BTreeMap::new();
    for (key, item) in changed.iter().flat_map(|one| one.items().map(|item| (&one.key, item))) {
        let (name, service) = match item {
            Item::Service(service) => (&service.name, Some(service)),
            Item::Endpoints { service, .. } => {
                (service, service_of(items, &(key.namespace.clone(), service.clone())))
            }
            _ => continue,
        };
        if let Some(service) = service {
            let id = (key.namespace.clone(), name.clone());
            hosts.entry(service.host.clone()).or_default().insert(id);
        }
    }
    hosts
}

/// The tables of the objects that changed.
fn tables(changed: &[Changed]) -> BTreeSet<Table> {
    changed.iter().flat_map(|one| one.items().map(|item| table_of(one.key.kind, item))).collect()
}

/// The table key of a label: its hash, so that a look-up allocates no strings.
fn label(namespace: &str, name: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, name, value).hash(&mut hasher);
    hasher.finish()
}

/// The table key of selectors without labels, which select every pod of their namespace. No label has an empty name.
fn any_label(namespace: &str) -> u64 {
    label(namespace, "", "")
}

/// Returns the objects of one kind.
pub(super) fn of_kind(items: &Items, kind: Kind) -> impl Iterator<Item = &Item> {
    let from = Key { kind, namespace: String::new(), name: String::new() };
    items.range_from(&from).take_while(move |(key, _)| key.kind == kind).map(|(_, item)| item)
}

/// Returns the objects of one form, of whatever kind.
fn pick<T: Clone>(items: &Items, of: impl Fn(&Item) -> Option<&T>) -> Vec<T> {
    items.values().filter_map(of).cloned().collect()
}

fn oldest_first<T>(mut all: Vec<T>, origin: impl Fn(&T) -> Option<&Origin>) -> Vec<T> {
    all.sort_by(|a, b| origin(a).cmp(&origin(b)));
    all
}

fn route_sets(items: &Items, generated: &[Arc<RouteSet>]) -> Vec<Arc<RouteSet>> {
    let mut all: Vec<Arc<RouteSet>> = pick(items, |item| match item {
        Item::Routes(set) => Some(set),
        _ => None,
    });
    all.extend_from_slice(generated);
    delegate::resolve(&oldest_first(all, |set| Some(&set.origin)))
}

fn nodes(items: &Items) -> BTreeMap<String, Arc<Node>> {
    let all = of_kind(items, Kind::Node).filter_map(|item| match item {
        Item::Node(node) => Some((node.name.clone(), node.clone())),
        _ => None,
    });
    all.collect()
}

fn namespaces(items: &Items) -> BTreeMap<String, Labels> {
    items
        .iter()
        .filter_map(|(key, item)| match item {
            Item::Namespace(labels) => Some((key.name.clone(), labels.clone())),
            _ => None,
        })
        .collect()
}

fn secrets(items: &Items) -> BTreeMap<Id, Arc<TlsSecret>> {
    items
        .iter()
        .filter_map(|(key, item)| match item {
            Item::Secret(secret) => Some(((key.namespace.clone(), key.name.clone()), secret.clone())),
            _ => None,
        })
        .collect()
}

fn mesh(items: &Items) -> Option<Arc<Mesh>> {
    of_kind(items, Kind::ConfigMap).find_map(|item| match item {
        Item::Mesh(mesh) => Some(mesh.clone()),
        _ => None,
    })
}

fn destination_rules(items: &Items) -> BTreeMap<String, Rules> {
    let all: Vec<Arc<DestinationRule>> = pick(items, |item| match item {
        Item::DestinationRule(rule) => Some(rule),
        _ => None,
    });
    let mut by_namespace: BTreeMap<String, Vec<Arc<DestinationRule>>> = BTreeMap::new();
    for rule in all {
        by_namespace.entry(rule.origin.namespace.clone()).or_default().push(rule);
    }
    by_namespace.into_iter().map(|(ns, rules)| (ns, Rules::merge(rules.iter()))).collect()
}
