//! Pure. The look-ups that generate configuration, by Istio's rules of visibility and precedence.

use super::destination_rule::DestinationRule;
use super::gateway::Gateway;
use super::ingress::{Ingress, IngressClass};
use super::kind::sidecar::Sidecar;
use super::policy::{Mesh, TlsSecret};
use super::route::{GatewayRef, RouteSet};
use super::service::{Registry, Service};
use super::visibility::{ExportTo, Labels, selects};
use super::workload::Workload;
use super::{Catalog, host, ingress_route};
use crate::flow::Scope;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

impl Catalog {
    /// All services, sorted by host, including those that share a host across namespaces.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.index.services.values().flatten()
    }

    /// Whether any namespace has a service with exactly this host.
    pub fn has_host(&self, host: &str) -> bool {
        self.index.services.contains_key(host)
    }

    /// The services with exactly this host, in all namespaces.
    pub fn services_of_host(&self, host: &str) -> &[Arc<Service>] {
        self.index.services.get(host).map_or(&[], Vec::as_slice)
    }

    /// Returns the service that a fully qualified host refers to for a client in `namespace`: of the visible ones, the
    /// one in its own namespace, else a Kubernetes Service, else the oldest ServiceEntry.
    pub fn service(&self, namespace: &str, host: &str) -> Option<&Arc<Service>> {
        self.first_service(namespace, self.index.services.get(host)?, |_| true)
    }

    fn first_service<'a>(
        &self,
        namespace: &str,
        candidates: &'a [Arc<Service>],
        accepted: impl Fn(&Service) -> bool,
    ) -> Option<&'a Arc<Service>> {
        let default = &self.mesh().default_service_export;
        let seen = |s: &&Arc<Service>| s.export_to.reaches(&s.namespace, namespace, default) && accepted(s);
        candidates.iter().filter(seen).min_by(|a, b| order(namespace, a, b))
    }

    /// The services of one host that a client in `namespace` sees, in order of precedence.
    pub(super) fn ranked_services<'a>(
        &self,
        namespace: &str,
        candidates: &'a [Arc<Service>],
    ) -> Vec<&'a Arc<Service>> {
        let default = &self.mesh().default_service_export;
        let seen = |s: &&Arc<Service>| s.export_to.reaches(&s.namespace, namespace, default);
        let mut seen: Vec<&Arc<Service>> = candidates.iter().filter(seen).collect();
        seen.sort_by(|a, b| order(namespace, a, b));
        seen
    }

    /// The accepted services that a client in `namespace` sees, one for each host, sorted by host.
    pub fn visible_services(
        &self,
        namespace: &str,
        accepted: impl Fn(&Service) -> bool,
    ) -> Vec<Arc<Service>> {
        let by_host = self.index.services.values();
        by_host.filter_map(|all| self.first_service(namespace, all, &accepted)).cloned().collect()
    }

    /// The services whose selector selects a pod, oldest first.
    pub fn services_of(&self, workload: &Workload) -> Vec<Arc<Service>> {
        let selecting = |s: &&Arc<Service>| s.namespace == workload.namespace && s.selects(&workload.labels);
        let candidates = self.index.candidates(&workload.namespace, &workload.labels);
        let mut services: Vec<_> = candidates.filter(selecting).cloned().collect();
        services.sort_by(|a, b| (&a.origin, &a.host).cmp(&(&b.origin, &b.host)));
        services
    }

    /// All pods, sorted by namespace and name.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.index.workloads.values()
    }

    /// The pods of a namespace, sorted by name.
    pub fn workloads_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Workload>> {
        let from = (namespace.to_owned(), String::new());
        self.index
            .workloads
            .range_from(&from)
            .map(|(_, pod)| pod)
            .take_while(move |pod| pod.namespace == namespace)
    }

    /// Returns the pod with this name.
    pub fn workload(&self, namespace: &str, name: &str) -> Option<&Arc<Workload>> {
        self.index.workloads.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Returns the pod that a proxy runs in, if the proxy has proved its identity.
    pub fn workload_of(&self, scope: &Scope) -> Option<&Arc<Workload>> {
        self.workload(&scope.namespace, &scope.pod).filter(|_| scope.proven)
    }

    /// Returns the pod with this address. Pods on the host network have none of their own.
    pub fn workload_by_ip(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        self.index.workload_at(address)
    }

    /// All declared namespaces with their labels, sorted by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&String, &Labels)> {
        self.index.namespaces.iter()
    }

    /// The labels of a namespace; `None` if no Namespace object declares it.
    pub fn namespace_labels(&self, namespace: &str) -> Option<&Labels> {
        self.index.namespaces.get(namespace)
    }

    /// The route sets for a gateway, or for sidecars, that a proxy in `namespace` sees: private ones first, then those
    /// exported to it by name, then public ones; within each group the oldest first. Delegates are resolved.
    pub fn route_sets(&self, namespace: &str, gateway: &GatewayRef) -> Vec<Arc<RouteSet>> {
        ranked(&self.index.route_sets, self.mesh(), namespace, gateway)
    }

    /// Returns the visible route set with the most specific host for a sidecar's requests to a service; for equal
    /// hosts, the first.
    pub fn route_set(&self, namespace: &str, service_host: &str) -> Option<Arc<RouteSet>> {
        let candidates = self.route_sets(namespace, &GatewayRef::Mesh);
        let mut owners: BTreeMap<&str, &Arc<RouteSet>> = BTreeMap::new();
        for set in &candidates {
            for pattern in &set.hosts {
                owners.entry(pattern).or_insert(set);
            }
        }
        let closest = host::closest(service_host, owners.keys().copied())?;
        owners.get(closest).map(|set| Arc::clone(set))
    }

    /// Returns the DestinationRule for requests from a client in `namespace` to a service: from the client's namespace,
    /// else the service's, else the root namespace; in each, the rule with the most specific host. Rules for one host
    /// and namespace are merged.
    pub fn destination_rule(&self, namespace: &str, service: &Service) -> Option<Arc<DestinationRule>> {
        let mesh = self.mesh();
        let default = &mesh.default_destination_rule_export;
        let closest = |of: &str, own: bool| {
            let rules = self.index.destination_rules.get(of)?;
            let covering = rules.covering(&service.host);
            let seen = covering.filter(|r| own || r.export_to.reaches(of, namespace, default));
            seen.rev_max(|r| host::specificity(&r.host)).cloned()
        };
        let from_client = (namespace != mesh.root_namespace).then(|| closest(namespace, true)).flatten();
        from_client
            .or_else(|| closest(&service.namespace, service.namespace == namespace))
            .or_else(|| closest(&mesh.root_namespace, false))
    }

    /// Returns the Gateway with this name.
    pub fn gateway(&self, namespace: &str, name: &str) -> Option<&Arc<Gateway>> {
        let named = |reference: &GatewayRef| matches!(reference, GatewayRef::Named { namespace: of, name: own } if of == namespace && own == name);
        self.index.all::<Gateway>().find(|gateway| named(&gateway.reference))
    }

    /// Whether the choice of some endpoint depends on where the client is: a Service prefers near ones, or failing ones are
    /// ejected, and then the next nearest are used.
    pub fn prefers_localities(&self) -> bool {
        self.index.preferences.localities
    }

    /// Whether the choice of some endpoint depends on the client's node.
    pub fn prefers_nodes(&self) -> bool {
        self.index.preferences.nodes
    }

    /// Whether the mesh's gateways serve an Ingress.
    pub fn serves_ingress(&self, ingress: &Ingress) -> bool {
        let classes: Vec<Arc<IngressClass>> = self.index.all().cloned().collect();
        ingress_route::is_served(ingress, &classes, self.mesh())
    }

    /// The Gateways whose selector matches a proxy with these labels, in any namespace, oldest first.
    pub fn gateways_for(&self, labels: &Labels) -> Vec<Arc<Gateway>> {
        self.index.all::<Gateway>().filter(|g| selects(&g.selector, labels)).cloned().collect()
    }

    /// Returns the Sidecar of a workload: the one that selects it, else its namespace's, else the root namespace's.
    pub fn sidecar(&self, namespace: &str, labels: &Labels) -> Option<&Arc<Sidecar>> {
        let of = |ns: &str, wide: bool| {
            let chosen = |s: &&Arc<Sidecar>| match &s.selector {
                Some(selector) => !wide && selects(selector, labels),
                None => wide,
            };
            let ns = ns.to_owned();
            self.index.all::<Sidecar>().filter(move |s| s.origin.namespace == ns).find(chosen)
        };
        of(namespace, false).or_else(|| of(namespace, true)).or_else(|| of(&self.mesh().root_namespace, true))
    }

    /// Returns a Secret that contains a certificate or roots.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<TlsSecret>> {
        self.index.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }
}

/// The precedence of two services with the same host for a client in `namespace`.
fn order(namespace: &str, one: &Service, other: &Service) -> Ordering {
    let rank = |s: &Service| (s.namespace != namespace, s.registry != Registry::Kubernetes);
    (rank(one), &one.origin).cmp(&(rank(other), &other.origin))
}

/// The precedence of a route set for a proxy in `namespace`: 0 if private, 1 if exported to the namespace by name, 2 if
/// public; `None` if not visible.
pub(super) fn rank(set: &RouteSet, namespace: &str, default: &ExportTo) -> Option<u8> {
    match () {
        () if set.origin.namespace == namespace && set.export_to.is_private(namespace) => Some(0),
        () if set.export_to.is_public(default) => Some(2),
        () if set.export_to.reaches(&set.origin.namespace, namespace, default) => Some(1),
        () => None,
    }
}

/// See `Catalog::route_sets`.
pub(super) fn ranked(
    all: &[Arc<RouteSet>],
    mesh: &Mesh,
    namespace: &str,
    gateway: &GatewayRef,
) -> Vec<Arc<RouteSet>> {
    let default = &mesh.default_virtual_service_export;
    let all = all.iter().filter(|set| set.gateways.contains(gateway));
    let mut ranked: Vec<_> = all.filter_map(|set| rank(set, namespace, default).map(|r| (r, set))).collect();
    ranked.sort_by(|(a, one), (b, other)| (a, &one.origin).cmp(&(b, &other.origin)));
    ranked.into_iter().map(|(_, set)| set.clone()).collect()
}

/// Selects the first of the greatest items, so that ties go to the older rule.
trait FirstMax: Iterator + Sized {
    fn rev_max<K: Ord>(self, key: impl Fn(&Self::Item) -> K) -> Option<Self::Item> {
        self.fold(None, |best, item| match best {
            Some(best) if key(&best) >= key(&item) => Some(best),
            _ => Some(item),
        })
    }
}

impl<I: Iterator> FirstMax for I {}
