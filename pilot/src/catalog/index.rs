//! Pure. The tables that a catalog's look-ups read. A table is rebuilt when objects of its kinds change.

use super::destination_rule::DestinationRule;
use super::ingress::{Ingress, IngressClass};
use super::ingress_route::{self, Converted};
use super::kind::{Item, Listed};
use super::list::List;
use super::node::{Distribution, Node};
use super::policy::{Mesh, TlsSecret};
use super::registry::{ByHost, Id, Items};
use super::route::RouteSet;
use super::rule::Rules;
use super::service::Service;
use super::visibility::{Labels, Origin};
use super::workload::Workload;
use super::{delegate, registry};
use api::resource::document::Key;
use api::resource::kind::Kind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Index {
    /// The settings pilot started with; a MeshConfig in the catalog replaces them.
    base: Arc<Mesh>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) services: Arc<ByHost>,
    pub(super) workloads: Arc<BTreeMap<Id, Arc<Workload>>>,
    pub(super) workloads_by_ip: Arc<HashMap<IpAddr, Arc<Workload>>>,
    workloads_by_label: Arc<HashMap<u64, Vec<Arc<Workload>>>>,
    services_by_label: Arc<HashMap<u64, Vec<Arc<Service>>>>,
    /// By the IP addresses of their static endpoints.
    pub(super) services_by_address: Arc<HashMap<IpAddr, Vec<Arc<Service>>>>,
    /// By name.
    pub(super) nodes: Arc<BTreeMap<String, Arc<Node>>>,
    pub(super) namespaces: Arc<BTreeMap<String, Labels>>,
    pub(super) route_sets: Arc<Vec<Arc<RouteSet>>>,
    pub(super) destination_rules: Arc<BTreeMap<String, Rules>>,
    pub(super) secrets: Arc<BTreeMap<Id, Arc<TlsSecret>>>,
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
            workloads: Arc::default(),
            workloads_by_ip: Arc::default(),
            workloads_by_label: Arc::default(),
            services_by_label: Arc::default(),
            services_by_address: Arc::default(),
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

    /// Returns the index of the next items; `tables` are those whose objects changed.
    pub(super) fn next(&self, items: &Items, tables: &BTreeSet<Table>) -> Self {
        let mut next = self.clone();
        for table in tables {
            match table {
                Table::Services => next.index_services(items),
                Table::Workloads => next.index_workloads(items),
                Table::Nodes => next.nodes = Arc::new(nodes(items)),
                Table::Namespaces => next.namespaces = Arc::new(namespaces(items)),
                Table::Secrets => next.secrets = Arc::new(secrets(items)),
                Table::Mesh => next.mesh = mesh(items).unwrap_or_else(|| self.base.clone()),
                Table::DestinationRules => next.destination_rules = Arc::new(destination_rules(items)),
                // Below, together with those of Ingresses.
                Table::RouteSets | Table::List(Kind::IstioGateway) | Table::None => {}
                Table::List(kind) => next.list_kind(items, *kind),
            }
        }
        next.index_gateways(items, tables);
        if tables.contains(&Table::Services) || tables.contains(&Table::DestinationRules) {
            next.preferences = next.preferences();
        }
        next
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

    /// Lists the Gateways and the route sets, those that users write and those of Ingresses.
    fn index_gateways(&mut self, items: &Items, changed: &BTreeSet<Table>) {
        let has = |tables: &[Table]| tables.iter().any(|table| changed.contains(table));
        let converts =
            [Table::List(Kind::Ingress), Table::List(Kind::IngressClass), Table::Mesh, Table::Services];
        let before = self.converted.clone();
        if has(&converts) {
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
        self.workloads_by_label.get(&label(namespace, name, value)).map_or(&[], Vec::as_slice)
    }

    /// Services whose selector may select a pod with these labels; look-ups compare again.
    pub(super) fn candidates(&self, namespace: &str, labels: &Labels) -> impl Iterator<Item = &Arc<Service>> {
        let keys = labels.iter().map(move |(n, v)| label(namespace, n, v)).chain([any_label(namespace)]);
        keys.filter_map(|key| self.services_by_label.get(&key)).flatten()
    }

    fn index_services(&mut self, items: &Items) {
        self.services = Arc::new(registry::services(items, &self.services));
        let mut by_label: HashMap<u64, Vec<Arc<Service>>> = HashMap::new();
        for service in self.services.values().flatten() {
            let Some(selector) = &service.selector else { continue };
            // The first label of the selector is enough to find the service.
            let first = selector.iter().next();
            let key = first.map_or_else(
                || any_label(&service.namespace),
                |(name, value)| label(&service.namespace, name, value),
            );
            by_label.entry(key).or_default().push(service.clone());
        }
        self.services_by_label = Arc::new(by_label);
        let mut by_address: HashMap<IpAddr, Vec<Arc<Service>>> = HashMap::new();
        for service in self.services.values().flatten() {
            let addresses: BTreeSet<IpAddr> =
                service.endpoints.list().iter().filter_map(|e| e.host.parse().ok()).collect();
            for address in addresses {
                by_address.entry(address).or_default().push(service.clone());
            }
        }
        self.services_by_address = Arc::new(by_address);
    }

    fn index_workloads(&mut self, items: &Items) {
        let all: Vec<Arc<Workload>> = pick(items, |item| match item {
            Item::Workload(workload) => Some(workload),
            _ => None,
        });
        let mut by_ip = HashMap::new();
        // The address of a finished pod may already belong to another pod.
        for workload in all.iter().filter(|w| !w.finished && !w.host_network) {
            by_ip.extend(workload.addresses.iter().map(|ip| (*ip, workload.clone())));
        }
        self.workloads_by_ip = Arc::new(by_ip);
        let mut by_label: HashMap<u64, Vec<Arc<Workload>>> = HashMap::new();
        for workload in &all {
            for (name, value) in &workload.labels {
                by_label.entry(label(&workload.namespace, name, value)).or_default().push(workload.clone());
            }
        }
        self.workloads_by_label = Arc::new(by_label);
        let named = all.into_iter().map(|w| ((w.namespace.clone(), w.name.clone()), w));
        self.workloads = Arc::new(named.collect());
    }
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
fn of_kind(items: &Items, kind: Kind) -> impl Iterator<Item = &Item> {
    let from = Key { kind, namespace: String::new(), name: String::new() };
    items.range(from..).take_while(move |(key, _)| key.kind == kind).map(|(_, item)| item)
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
    items.values().find_map(|item| match item {
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
