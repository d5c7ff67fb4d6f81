//! Pure. The tables that a catalog's look-ups read. A table is rebuilt when objects of its kinds change.

use super::destination_rule::DestinationRule;
use super::gateway::Gateway;
use super::item::Item;
use super::policy::{Mesh, PeerAuthentication, Sidecar, TlsSecret};
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
    pub(super) namespaces: Arc<BTreeMap<String, Labels>>,
    pub(super) route_sets: Arc<Vec<Arc<RouteSet>>>,
    pub(super) destination_rules: Arc<BTreeMap<String, Rules>>,
    pub(super) gateways: Arc<Vec<Arc<Gateway>>>,
    pub(super) sidecars: Arc<Vec<Arc<Sidecar>>>,
    pub(super) peer_authentications: Arc<Vec<Arc<PeerAuthentication>>>,
    pub(super) secrets: Arc<BTreeMap<Id, Arc<TlsSecret>>>,
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
            namespaces: Arc::default(),
            route_sets: Arc::default(),
            destination_rules: Arc::default(),
            gateways: Arc::default(),
            sidecars: Arc::default(),
            peer_authentications: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// Returns the index of the next items; `kinds` are those whose objects changed.
    pub(super) fn next(&self, items: &Items, kinds: &BTreeSet<Kind>) -> Self {
        let mut next = self.clone();
        for kind in kinds {
            match kind {
                Kind::Service | Kind::ServiceEntry | Kind::Endpoints | Kind::EndpointSlice => {
                    next.index_services(items);
                }
                Kind::Pod => next.index_workloads(items),
                Kind::Namespace => next.namespaces = Arc::new(namespaces(items)),
                Kind::Secret => next.secrets = Arc::new(secrets(items)),
                Kind::ConfigMap => next.mesh = mesh(items).unwrap_or_else(|| self.base.clone()),
                _ => next.index_rules(*kind, items),
            }
        }
        next
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
            namespaces: _,
            route_sets,
            destination_rules,
            gateways,
            sidecars,
            peer_authentications,
            secrets: _,
        } = self;
        Arc::ptr_eq(mesh, &other.mesh)
            && Arc::ptr_eq(services, &other.services)
            && Arc::ptr_eq(workloads, &other.workloads)
            && Arc::ptr_eq(route_sets, &other.route_sets)
            && Arc::ptr_eq(destination_rules, &other.destination_rules)
            && Arc::ptr_eq(gateways, &other.gateways)
            && Arc::ptr_eq(sidecars, &other.sidecars)
            && Arc::ptr_eq(peer_authentications, &other.peer_authentications)
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

    fn index_rules(&mut self, kind: Kind, items: &Items) {
        match kind {
            Kind::VirtualService => {
                let all: Vec<_> = of(items, kind, |item| match item {
                    Item::Routes(set) => Some(set),
                    _ => None,
                });
                self.route_sets = Arc::new(delegate::resolve(&oldest_first(all, |set| &set.origin)));
            }
            Kind::DestinationRule => self.destination_rules = Arc::new(destination_rules(items)),
            Kind::IstioGateway => {
                let all = of(items, kind, |item| match item {
                    Item::Gateway(gateway) => Some(gateway),
                    _ => None,
                });
                self.gateways = Arc::new(oldest_first(all, |g| &g.origin));
            }
            Kind::Sidecar => {
                let all = of(items, kind, |item| match item {
                    Item::Sidecar(sidecar) => Some(sidecar),
                    _ => None,
                });
                self.sidecars = Arc::new(oldest_first(all, |s| &s.origin));
            }
            Kind::PeerAuthentication => {
                let all = of(items, kind, |item| match item {
                    Item::PeerAuthentication(policy) => Some(policy),
                    _ => None,
                });
                self.peer_authentications = Arc::new(oldest_first(all, |p| &p.origin));
            }
            _ => {}
        }
    }

    fn index_workloads(&mut self, items: &Items) {
        let all = of(items, Kind::Pod, |item| match item {
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
fn of<T: Clone>(items: &Items, kind: Kind, pick: impl Fn(&Item) -> Option<&T>) -> Vec<T> {
    let from = Key { kind, namespace: String::new(), name: String::new() };
    items
        .range(from..)
        .take_while(|(key, _)| key.kind == kind)
        .filter_map(|(_, item)| pick(item).cloned())
        .collect()
}

fn oldest_first<T>(mut all: Vec<Arc<T>>, origin: impl Fn(&T) -> &Origin) -> Vec<Arc<T>> {
    all.sort_by(|a, b| origin(a).cmp(origin(b)));
    all
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
    let all: Vec<Arc<DestinationRule>> = of(items, Kind::DestinationRule, |item| match item {
        Item::DestinationRule(rule) => Some(rule),
        _ => None,
    });
    let mut by_namespace: BTreeMap<String, Vec<Arc<DestinationRule>>> = BTreeMap::new();
    for rule in all {
        by_namespace.entry(rule.origin.namespace.clone()).or_default().push(rule);
    }
    by_namespace.into_iter().map(|(ns, rules)| (ns, Rules::merge(rules.iter()))).collect()
}
