//! Pure. The objects related to an object: what routes to a service, which policies apply to a pod, which pods a policy
//! selects. Uses the look-ups that generate configuration, so that it explains where requests go.

use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::gateway::{Gateway, ServerCertificate, ServerTls};
use crate::catalog::kind::Item;
use crate::catalog::kind::policy::Policy;
use crate::catalog::route::{GatewayRef, HttpAction, RouteSet};
use crate::catalog::service::Service;
use crate::catalog::visibility::selects;
use crate::catalog::workload::Workload;
use crate::catalog::{Catalog, host};
use crate::flow::MtlsMode;
use api::resource::document::Key;
use api::resource::kind::Kind;
use api::resource::relation::Related;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Returns the objects related to an object, by kind and name.
pub fn of(catalog: &Catalog, key: &Key) -> Vec<Related> {
    let mut finder = Finder { catalog, found: BTreeMap::new() };
    match catalog.item(key) {
        Some(Item::Service(service)) => finder.service(service),
        Some(Item::ServiceEntry(services)) => services.iter().for_each(|service| finder.service(service)),
        Some(Item::Workload(pod)) => finder.pod(pod),
        Some(Item::Routes(set)) => finder.routes(set),
        Some(Item::DestinationRule(rule)) => finder.rule(rule),
        Some(Item::Gateway(gateway)) => finder.gateway(gateway),
        Some(Item::Ingress(_)) => finder.ingress(key),
        Some(Item::Secret(_)) => finder.secret(key),
        Some(Item::Endpoints { service, .. }) => {
            let key = Key::new(Kind::Service, &key.namespace, service);
            finder.add(key, "defines its endpoints".into());
        }
        Some(item) => item.policy().into_iter().for_each(|policy| finder.selected(&policy)),
        None => {}
    }
    let related = |(key, how): (Key, BTreeSet<String>)| Related {
        kind: key.kind.name().to_owned(),
        namespace: key.namespace,
        name: key.name,
        how: how.into_iter().collect::<Vec<_>>().join("; "),
    };
    finder.found.into_iter().map(related).collect()
}

struct Finder<'a> {
    catalog: &'a Catalog,
    found: BTreeMap<Key, BTreeSet<String>>,
}

impl<'a> Finder<'a> {
    fn add(&mut self, key: Key, how: String) {
        self.found.entry(key).or_default().insert(how);
    }

    /// Adds what routes requests to a service, the rules that apply to them, and its pods.
    fn service(&mut self, service: &Service) {
        self.calls(service);
        for pod in self.catalog.members(service) {
            self.add(pod_key(pod), format!("receives requests for {}", service.host));
            self.policies(pod);
        }
    }

    fn calls(&mut self, service: &Service) {
        let (host, namespace) = (&service.host, &service.namespace);
        if let Some(set) = self.catalog.route_set(namespace, host) {
            self.add(set.origin.key(), format!("routes requests of sidecars to {host}"));
        }
        for set in self.sets().filter(|set| set.destinations().any(|to| to.host == *host)) {
            self.add(set.origin.key(), format!("sends requests to {host}"));
            for gateway in set.gateways.iter().filter(|_| set.generated.is_none()) {
                if let GatewayRef::Named { namespace, name } = gateway {
                    let key = Key::new(Kind::IstioGateway, namespace, name);
                    self.add(key, format!("its VirtualService {} routes to {host}", set.origin.name));
                }
            }
        }
        if let Some(rule) = self.catalog.destination_rule(namespace, service) {
            self.add(rule.origin.key(), format!("applies to requests to {host}"));
        }
    }

    fn pod(&mut self, pod: &Workload) {
        for service in self.catalog.services_of(pod) {
            self.add(service.origin.key(), "selects the pod".into());
            self.calls(&service);
        }
        self.policies(pod);
        let gateways = self.catalog.gateways_for(&pod.labels);
        for gateway in gateways.iter().filter(|gateway| !gateway.selector.is_empty()) {
            self.add(gateway.origin.key(), "selects the pod".into());
            self.bound(gateway);
        }
    }

    /// Adds the policies that apply to a pod.
    fn policies(&mut self, pod: &Workload) {
        let root = &self.catalog.mesh().root_namespace;
        let sidecar = self.catalog.sidecar(&pod.namespace, &pod.labels);
        for (item, policy) in self.catalog.policies() {
            let selects = policy.selects(&pod.namespace, &pod.labels, root);
            let how = match item {
                Item::Sidecar(one) if sidecar.is_some_and(|sidecar| Arc::ptr_eq(one, sidecar)) => {
                    format!("sets what pod {} imports", pod.name)
                }
                Item::Sidecar(_) => continue,
                _ if !selects => continue,
                Item::PeerAuthentication(_) => {
                    let mode = self.catalog.default_mtls_mode(&pod.namespace, &pod.labels);
                    format!("selects pod {}, whose mode is {}", pod.name, word(mode))
                }
                _ => format!("selects pod {}", pod.name),
            };
            self.add(policy.origin.key(), how);
        }
    }

    /// Adds the services that a VirtualService routes to, its gateways and its delegates.
    fn routes(&mut self, set: &Arc<RouteSet>) {
        for to in set.destinations() {
            let subset =
                if to.subset.is_empty() { String::new() } else { format!(" (subset {})", to.subset) };
            if let Some(service) = self.catalog.service(&set.origin.namespace, &to.host) {
                let rule = self.catalog.destination_rule(&set.origin.namespace, service);
                self.add(service.origin.key(), format!("destination of its routes{subset}"));
                if let Some(rule) = rule.filter(|_| !to.subset.is_empty()) {
                    self.add(rule.origin.key(), format!("has subset {}", to.subset));
                }
            }
        }
        for gateway in &set.gateways {
            if let GatewayRef::Named { namespace, name } = gateway {
                self.add(Key::new(Kind::IstioGateway, namespace, name), "gateway of its routes".into());
            }
        }
        for route in &set.http {
            if let HttpAction::Delegate { namespace, name } = &route.action {
                self.add(Key::new(Kind::VirtualService, namespace, name), "delegate of its routes".into());
            }
        }
        let own = set.origin.key();
        let delegates = |other: &&Arc<RouteSet>| {
            other.http.iter().any(|route| {
                matches!(&route.action, HttpAction::Delegate { namespace, name }
                if (namespace, name) == (&own.namespace, &own.name))
            })
        };
        let roots: Vec<Key> = self.sets().filter(delegates).map(|root| root.origin.key()).collect();
        for root in roots {
            self.add(root, "delegates to it".into());
        }
    }

    fn rule(&mut self, rule: &DestinationRule) {
        let covered = |s: &&Arc<Service>| s.host == rule.host || host::covers(&rule.host, &s.host);
        let services: Vec<Arc<Service>> = self.catalog.services().filter(covered).cloned().collect();
        for service in services {
            self.add(service.origin.key(), format!("it applies to requests to {}", service.host));
            let uses = |set: &&Arc<RouteSet>| {
                set.destinations().any(|to| to.host == service.host && rule.subset(&to.subset).is_some())
            };
            for set in self.sets().filter(uses) {
                self.add(set.origin.key(), "routes to its subsets".into());
            }
        }
    }

    fn gateway(&mut self, gateway: &Gateway) {
        self.bound(gateway);
        for pod in self.catalog.workloads().filter(|pod| selects(&gateway.selector, &pod.labels)) {
            self.add(pod_key(pod), "listens on its ports".into());
            for server in &gateway.servers {
                if let Some(ServerTls::Terminate { certificate: ServerCertificate::Secret(name), .. }) =
                    &server.tls
                {
                    let key = Key::new(Kind::Secret, &pod.namespace, name);
                    let there = self.catalog.secret(&pod.namespace, name).is_some();
                    let how = format!("certificate of port {}", server.port);
                    self.add(key, if there { how } else { format!("{how}, missing") });
                }
            }
        }
    }

    /// Adds the Services that an Ingress routes to, and the gateways that serve it.
    fn ingress(&mut self, key: &Key) {
        let sets = self.catalog.shared_route_sets();
        for set in sets.iter().filter(|set| set.generated.is_some()) {
            let routes = (0..).zip(&set.http).filter(|(at, _)| set.part(*at).origin.key() == *key);
            for to in routes.flat_map(|(_, route)| route.destinations()) {
                if let Some(service) = self.catalog.service(&key.namespace, &to.host) {
                    self.add(service.origin.key(), format!("destination of its routes for {}", set.hosts[0]));
                }
            }
        }
        let gateways = self.catalog.list::<Gateway>();
        for gateway in gateways.iter().filter(|gateway| gateway.origin.key() == *key) {
            self.gateway(gateway);
        }
    }

    /// Adds the VirtualServices bound to a Gateway.
    fn bound(&mut self, gateway: &Gateway) {
        let name = &gateway.origin.name;
        for set in self.sets().filter(|set| set.gateways.contains(&gateway.reference)) {
            self.add(
                set.origin.key(),
                format!("routes requests of gateway {name} for {}", set.hosts.join(", ")),
            );
        }
    }

    /// Adds the pods that a policy selects.
    fn selected(&mut self, policy: &Policy) {
        let root = &self.catalog.mesh().root_namespace;
        let selected = |pod: &&Arc<Workload>| policy.selects(&pod.namespace, &pod.labels, root);
        for pod in self.catalog.workloads().filter(selected) {
            self.add(pod_key(pod), "it selects the pod".into());
        }
    }

    /// Adds the Gateways that name a Secret and select pods in its namespace.
    fn secret(&mut self, key: &Key) {
        for gateway in self.catalog.list::<Gateway>().iter() {
            let names = gateway.servers.iter().any(|server| matches!(&server.tls,
                Some(ServerTls::Terminate { certificate: ServerCertificate::Secret(name), .. }) if *name == key.name));
            let mut pods = self.catalog.workloads_in(&key.namespace);
            if names && pods.any(|pod| selects(&gateway.selector, &pod.labels)) {
                self.add(gateway.origin.key(), "presents its certificate".into());
            }
        }
    }

    fn sets(&self) -> impl Iterator<Item = &'a Arc<RouteSet>> + use<'a> {
        self.catalog.items().filter_map(|(_, item)| match item {
            Item::Routes(set) => Some(set),
            _ => None,
        })
    }
}

fn pod_key(pod: &Workload) -> Key {
    Key::new(Kind::Pod, &pod.namespace, &pod.name)
}

/// The mode's name in Istio.
fn word(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Disable => "DISABLE",
        MtlsMode::Permissive => "PERMISSIVE",
        MtlsMode::Strict => "STRICT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::catalog;

    const SHOP: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, version: v1}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 10.244.0.7, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gate, namespace: shop, labels: {istio: gate}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 10.244.0.8, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec: {selector: {istio: gate}, servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: cert}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside, namespace: shop}
spec: {hosts: [a.example], gateways: [front], http: [{route: [{destination: {host: web}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: other, namespace: back}
spec: {mtls: {mode: DISABLE}}
";

    fn related(kind: Kind, name: &str) -> Vec<String> {
        let related = of(&catalog(SHOP), &Key::new(kind, "shop", name));
        related.iter().map(|r| format!("{} {}: {}", r.kind, r.name, r.how)).collect()
    }

    #[test]
    fn a_service_shows_its_routes_policies_and_pods() {
        let host = "web.shop.svc.cluster.local";
        let expected = [
            format!("Pod web-1: receives requests for {host}"),
            format!("VirtualService outside: sends requests to {host}"),
            format!("VirtualService web: routes requests of sidecars to {host}; sends requests to {host}"),
            format!("DestinationRule web: applies to requests to {host}"),
            format!("Gateway front: its VirtualService outside routes to {host}"),
            "PeerAuthentication strict: selects pod web-1, whose mode is STRICT".to_owned(),
        ];
        assert_eq!(related(Kind::Service, "web"), expected);
    }

    #[test]
    fn a_pod_shows_its_services_with_their_routes_and_its_policies() {
        let all = related(Kind::Pod, "web-1");
        for part in [
            "Service web: selects the pod",
            "VirtualService web: ",
            "DestinationRule web: ",
            "strict: selects",
        ] {
            assert!(all.iter().any(|line| line.contains(part)), "{part}: {all:?}");
        }
        assert!(!all.iter().any(|line| line.contains("other")), "{all:?}");
        let gate = related(Kind::Pod, "gate");
        assert_eq!(
            gate,
            [
                "VirtualService outside: routes requests of gateway front for a.example",
                "Gateway front: selects the pod"
            ]
        );
    }

    #[test]
    fn routes_show_their_destinations() {
        assert_eq!(
            related(Kind::VirtualService, "web"),
            ["Service web: destination of its routes (subset v1)", "DestinationRule web: has subset v1"]
        );
        assert_eq!(
            related(Kind::IstioGateway, "front"),
            [
                "Pod gate: listens on its ports",
                "Secret cert: certificate of port 443, missing",
                "VirtualService outside: routes requests of gateway front for a.example"
            ]
        );
        assert_eq!(
            related(Kind::DestinationRule, "web"),
            [
                "Service web: it applies to requests to web.shop.svc.cluster.local",
                "VirtualService web: routes to its subsets"
            ]
        );
        assert_eq!(related(Kind::PeerAuthentication, "strict"), ["Pod web-1: it selects the pod"]);
    }

    #[test]
    fn a_missing_object_has_no_relations() {
        assert_eq!(related(Kind::Service, "nonesuch"), [""; 0]);
    }
}
