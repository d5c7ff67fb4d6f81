//! Scenarios in YAML: objects are validated and applied as in pilot, then looked up.
#![expect(clippy::too_many_lines, reason = "tables are long")]

use super::route::GatewayRef;
use super::service::Service;
use super::visibility::Labels;
use super::*;
use crate::flow::{Fact, MtlsMode};
use crate::validate;
use MtlsMode::{Disable, Permissive, Strict};
use api::model::endpoint::{EndpointAddress, Health};
use api::resource::parse;

/// The catalog of some objects, all of which must be accepted.
pub(crate) fn catalog(text: &str) -> Catalog {
    applied(&Catalog::new(Mesh::default()), text).0
}

fn applied(catalog: &Catalog, text: &str) -> (Catalog, Changes) {
    let parsed = parse::parse("a.yaml", text);
    assert_eq!(parsed.refusals, []);
    let facts = parsed.documents.into_iter().map(Fact::Upsert).collect();
    let (changes, verdicts) = validate::judge(facts, catalog.mesh());
    for verdict in verdicts {
        assert_eq!(verdict.errors, []);
    }
    catalog.apply(changes)
}

fn object(group: &str, kind: &str, place: &str, spec: &str) -> String {
    let (namespace, name) = place.split_once('/').unwrap_or(("default", place));
    let (name, created) = name.split_once('@').unwrap_or((name, "1"));
    format!(
        "---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, \
         creationTimestamp: \"200{created}-01-01T00:00:00Z\"}}\nspec: {spec}\n"
    )
}

fn service(place: &str, spec: &str) -> String {
    object("v1", "Service", place, spec)
}

fn rule(place: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "DestinationRule", place, spec)
}

fn route(place: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "VirtualService", place, spec)
}

fn peers(place: &str, spec: &str) -> String {
    object("security.istio.io/v1", "PeerAuthentication", place, spec)
}

/// A pod as `namespace/name address labels`, ready, with a sidecar.
fn pod(place: &str, address: &str, labels: &str, more: &str) -> String {
    let (namespace, name) = place.split_once('/').unwrap_or(("default", place));
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}, \
         security.istio.io/tlsMode: istio}}{more}}}\nspec: {{serviceAccountName: {name}, containers: [{{name: c, \
         image: i, ports: [{{name: web, containerPort: 8080}}]}}]}}\nstatus: {{podIP: {address}, conditions: \
         [{{type: Ready, status: 'True'}}]}}\n"
    )
}

fn only(catalog: &Catalog, host: &str) -> Arc<Service> {
    catalog.service("default", host).unwrap_or_else(|| panic!("no {host}")).clone()
}

const REVIEWS: &str = "reviews.default.svc.cluster.local";

fn reviews() -> String {
    service(
        "reviews",
        "{clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080, targetPort: web}]}",
    )
}

#[test]
fn the_endpoints_of_a_service_are_its_ready_pods() {
    let text = [
        reviews(),
        pod("a", "10.0.0.1", "app: reviews, version: v1", ""),
        pod("b", "10.0.0.2", "app: reviews, version: v2", ", deletionTimestamp: '2020-01-01T00:00:00Z'"),
        pod("c", "10.0.0.3", "app: other", ""),
        pod("shop/d", "10.0.0.4", "app: reviews", ""),
        pod("e", "10.0.0.5", "app: reviews", "").replace("'True'", "'False'"),
        pod("f", "10.0.0.6", "app: reviews", "").replace("status: {podIP", "status: {phase: Failed, podIP"),
        pod("g", "10.0.0.7", "app: reviews", "").replace("name: web", "name: other"),
    ]
    .concat();
    let catalog = catalog(&text);
    let service = only(&catalog, REVIEWS);
    let found: Vec<String> = catalog
        .endpoints(&service, &service.ports[0])
        .iter()
        .map(|e| match &e.address {
            EndpointAddress::Socket(address) => format!("{address} {:?} {}", e.health, e.mtls),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(found, ["10.0.0.1:8080 Healthy true", "10.0.0.2:8080 Draining true"]);
    assert_eq!(catalog.endpoints(&service, &service.ports[0])[1].health, Health::Draining);
    let ids = catalog.backing(&service).identities();
    assert!(ids.contains(&"spiffe://cluster.local/ns/default/sa/a".to_owned()), "{ids:?}");
    assert!(!ids.iter().any(|id| id.contains("/sa/c") || id.contains("/ns/shop")), "{ids:?}");
    assert_eq!(catalog.workload_by_ip("10.0.0.3".parse().unwrap()).unwrap().name, "c");
    assert!(catalog.workload_by_ip("10.0.0.6".parse().unwrap()).is_none(), "a failed pod's address is free");
}

#[test]
fn a_selector_without_labels_selects_as_its_kind_defines() {
    let entry = |name: &str, selector: &str| {
        let spec = format!(
            "{{hosts: [{name}.test], resolution: STATIC, location: MESH_INTERNAL, workloadSelector: {selector}, ports: \
             [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]}}"
        );
        object("networking.istio.io/v1", "ServiceEntry", name, &spec)
    };
    let text = [
        entry("any", "{}"),
        entry("none", "{labels: {}}"),
        entry("some", "{labels: {app: a}}"),
        service("kube", "{clusterIP: 10.96.0.9, selector: {}, ports: [{name: http, port: 80}]}"),
        pod("a", "10.0.0.1", "app: a", ""),
        pod("b", "10.0.0.2", "app: b", ""),
        pod("shop/c", "10.0.0.3", "app: a", ""),
    ]
    .concat();
    let catalog = catalog(&text);
    let pods = |host: &str| {
        let service = only(&catalog, host);
        assert_eq!(catalog.targets(&service, &service.ports[0]).count(), catalog.pods_of(&service).count());
        catalog.pods_of(&service).map(|pod| pod.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(pods("any.test"), ["a", "b"]);
    assert_eq!(pods("none.test"), ["a", "b"]);
    assert_eq!(pods("some.test"), ["a"]);
    assert_eq!(pods("kube.default.svc.cluster.local"), [""; 0]);
    let of = |pod: &str, namespace: &str| {
        let pod = catalog.workload(namespace, pod).unwrap();
        let mut hosts: Vec<String> = catalog.services_of(pod).iter().map(|s| s.host.clone()).collect();
        hosts.sort();
        hosts
    };
    assert_eq!(of("b", "default"), ["any.test", "none.test"]);
    assert_eq!(of("a", "default"), ["any.test", "none.test", "some.test"]);
    assert_eq!(of("c", "shop"), [""; 0]);
    let (_, changes) = applied(&catalog, &pod("d", "10.0.0.4", "app: d", ""));
    assert!(changes.endpoints_of.contains("any.test"), "{changes:?}");
}

#[test]
fn a_sidecar_with_an_empty_selector_wins_over_one_without_a_selector() {
    let sidecar = |place: &str, selector: &str| {
        let spec = format!("{{{selector}egress: [{{hosts: ['./*']}}]}}");
        object("networking.istio.io/v1", "Sidecar", place, &spec)
    };
    let text = [
        sidecar("istio-system/root@1", "workloadSelector: {}, "),
        sidecar("shop/plain@1", ""),
        sidecar("shop/any@2", "workloadSelector: {labels: {}}, "),
        sidecar("back/plain@1", ""),
    ]
    .concat();
    let catalog = catalog(&text);
    let labels = Labels::from([("app".to_owned(), "a".to_owned())]);
    let of = |namespace: &str| catalog.sidecar(namespace, &labels).map(|s| s.origin.name.clone());
    assert_eq!(of("shop").as_deref(), Some("any"));
    assert_eq!(of("back").as_deref(), Some("plain"));
    assert_eq!(of("istio-system").as_deref(), Some("root"));
    assert_eq!(of("other"), None, "it is not the mesh's");
}

#[test]
fn an_endpoint_with_an_account_uses_mtls_unless_its_label_disables_it() {
    let entry = "{hosts: [vm.test], resolution: STATIC, location: MESH_INTERNAL, ports: [{number: 80, name: http, \
                 protocol: HTTP}], endpoints: [{address: 192.0.2.1, serviceAccount: vm}, {address: 192.0.2.2}, {address: \
                 192.0.2.3, serviceAccount: vm, labels: {security.istio.io/tlsMode: disabled}}, {address: 192.0.2.4, labels: \
                 {security.istio.io/tlsMode: istio}}]}";
    let catalog = catalog(&object("networking.istio.io/v1", "ServiceEntry", "vm", entry));
    let service = only(&catalog, "vm.test");
    let mtls: Vec<bool> = catalog.endpoints(&service, &service.ports[0]).iter().map(|e| e.mtls).collect();
    assert_eq!(mtls, [true, false, false, true]);
}

#[test]
fn a_pod_change_names_the_services_that_it_affects() {
    let before = catalog(&[reviews(), pod("a", "10.0.0.1", "app: reviews", "")].concat());
    let (after, changes) = applied(&before, &pod("a", "10.0.0.1", "app: ratings", ""));
    assert_eq!(changes.endpoints_of.iter().collect::<Vec<_>>(), [REVIEWS]);
    assert_eq!(changes.kinds.iter().collect::<Vec<_>>(), [&Kind::Pod]);
    let (_, nothing) = applied(&after, &pod("a", "10.0.0.1", "app: ratings", ""));
    assert!(nothing.is_empty());
    let service = only(&before, REVIEWS);
    assert_eq!(before.endpoints(&service, &service.ports[0]).len(), 1, "the catalog before is as it was");
    assert_eq!(after.endpoints(&service, &service.ports[0]).len(), 0);
}

#[test]
fn static_endpoints_are_used_only_without_a_selector() {
    let endpoints = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}}}\nsubsets: [{{addresses: [{{ip: \
             192.0.2.1}}], ports: [{{name: tcp, port: 5432}}]}}]\n"
        )
    };
    let text = [
        service("db", "{ports: [{name: tcp, port: 5432}]}"),
        endpoints("db"),
        reviews(),
        endpoints("reviews"),
    ]
    .concat();
    let catalog = catalog(&text);
    let count = |host: &str| {
        let service = only(&catalog, host);
        catalog.endpoints(&service, &service.ports[0]).len()
    };
    assert_eq!((count("db.default.svc.cluster.local"), count(REVIEWS)), (1, 0));
}

#[test]
fn a_static_endpoint_serves_the_ports_of_the_service_that_it_names() {
    let text = [
        service("db", "{ports: [{name: sql, port: 5432, targetPort: 1}, {name: adm, port: 81, targetPort: 2}]}"),
        "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: db}\nsubsets: [{addresses: [{ip: 192.0.2.1}], ports: \
         [{name: sql, port: 5433}]}, {addresses: [{ip: 192.0.2.2}], ports: [{name: adm, port: 8081}, {name: sql, port: \
         5434}]}, {addresses: [{ip: 192.0.2.3}], ports: [{port: 5435}]}]\n"
            .to_owned(),
    ]
    .concat();
    let catalog = catalog(&text);
    let service = only(&catalog, "db.default.svc.cluster.local");
    let behind = |port: usize| {
        let endpoints = catalog.endpoints(&service, &service.ports[port]);
        endpoints.iter().map(|e| format!("{:?}", e.address)).collect::<Vec<_>>()
    };
    assert_eq!(behind(0), ["Socket(192.0.2.1:5433)", "Socket(192.0.2.2:5434)"]);
    assert_eq!(behind(1), ["Socket(192.0.2.2:8081)"]);
}

#[test]
fn a_pod_enables_http_10_in_the_environment_of_its_proxy() {
    let detects = |container: &str, value: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: i}}], \
             initContainers: [{{name: {container}, image: i, restartPolicy: Always, env: [{{name: ISTIO_META_HTTP10, value: \
             '{value}'}}]}}]}}\n"
        );
        catalog(&text).workload("default", "p").unwrap().http_10
    };
    assert!(detects("istio-proxy", "1"));
    assert!(!detects("istio-proxy", "0") && !detects("other", "1"));
}

#[test]
fn a_workload_selector_without_labels_selects_every_pod_of_its_namespace() {
    let entry = |selector: &str| {
        let spec = format!(
            "{{hosts: [all.test], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}]{selector}}}"
        );
        object("networking.istio.io/v1", "ServiceEntry", "all", &spec)
    };
    let pods = [
        pod("a", "10.0.0.1", "app: a", ""),
        pod("b", "10.0.0.2", "app: b", ""),
        pod("o/c", "10.0.0.3", "app: a", ""),
    ];
    for (selector, expected) in
        [(", workloadSelector: {}", 2), (", workloadSelector: {labels: {app: a}}", 1), ("", 0)]
    {
        let catalog = catalog(&[pods.concat(), entry(selector)].concat());
        let service = only(&catalog, "all.test");
        assert_eq!(catalog.endpoints(&service, &service.ports[0]).len(), expected, "{selector}");
        let led = catalog.workloads().filter(|pod| !catalog.services_of(pod).is_empty()).count();
        assert_eq!(led, expected, "{selector}");
    }
}

#[test]
fn an_endpoint_serves_the_ports_that_its_list_names() {
    let slice = |name: &str, address: &str, ports: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
             {{kubernetes.io/service-name: db}}}}\naddressType: IPv4\nendpoints: [{{addresses: [{address}]}}]\n\
             ports: [{ports}]\n"
        )
    };
    let text = [
        service(
            "db",
            "{clusterIP: 10.96.0.9, ports: [{name: sql, port: 5432}, {name: metrics, port: 9100}]}",
        ),
        slice("a", "10.244.0.1", "{name: sql, port: 15432}"),
        slice("b", "10.244.0.2", "{name: metrics, port: 9101}"),
        slice("c", "10.244.0.3", "{name: other, port: 1}"),
        slice("d", "10.244.0.4", ""),
        pod("a", "10.244.0.1", "app: a", ""),
        pod("c", "10.244.0.3", "app: c", ""),
        pod("d", "10.244.0.4", "app: d", ""),
    ];
    let catalog = catalog(&text.concat());
    let db = only(&catalog, "db.default.svc.cluster.local");
    let found = |port: usize| -> Vec<String> {
        let endpoints = catalog.endpoints(&db, &db.ports[port]);
        endpoints.iter().map(|e| format!("{:?}", e.address)).collect()
    };
    assert_eq!(found(0), ["Socket(10.244.0.1:15432)", "Socket(10.244.0.4:5432)"]);
    assert_eq!(found(1), ["Socket(10.244.0.2:9101)", "Socket(10.244.0.4:9100)"]);
    // Only a pod with a proxy serves the first port; the other port has an endpoint whose address belongs to no pod.
    assert_eq!([0, 1].map(|port| catalog.backing(&db).takes_mtls(&db.ports[port])), [true, false]);
    let inbound = |pod: &str| -> Vec<u16> {
        let pod = catalog.workload("default", pod).unwrap();
        catalog.targets_of(pod).iter().map(|t| t.number).collect()
    };
    assert_eq!((inbound("a"), inbound("c"), inbound("d")), (vec![15432], vec![], vec![5432, 9100]));
}

#[test]
fn service_entries_are_services() {
    let text = object(
        "networking.istio.io/v1",
        "ServiceEntry",
        "ext",
        "{hosts: [API.example.com], ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}], resolution: DNS}",
    );
    let catalog = catalog(&text);
    let service = only(&catalog, "api.example.com");
    assert!(service.mesh_external);
    let endpoints = catalog.endpoints(&service, &service.ports[0]);
    assert_eq!(endpoints[0].address, EndpointAddress::Dns("api.example.com".into(), 8443));
}

#[test]
fn a_client_sees_its_own_namespaces_service_first() {
    let entry = |place: &str, more: &str| {
        object(
            "networking.istio.io/v1",
            "ServiceEntry",
            place,
            &format!("{{hosts: [x.com], ports: [{{number: 80, name: http, protocol: HTTP}}]{more}}}"),
        )
    };
    let text =
        [entry("shop/a@2", ""), entry("pay/a@1", ""), entry("hidden/a@0", ", exportTo: ['.']")].concat();
    let catalog = catalog(&text);
    let seen = |client: &str| catalog.service(client, "x.com").unwrap().namespace.clone();
    assert_eq!(seen("shop"), "shop");
    assert_eq!(seen("other"), "pay", "the oldest that it sees");
    assert_eq!(seen("hidden"), "hidden");
}

#[test]
fn destination_rules_are_looked_up_by_namespace_then_by_host() {
    let subset = |name: &str| format!("subsets: [{{name: {name}}}]");
    let text = [
        reviews(),
        rule("istio-system/all", &format!("{{host: '*.local', {}}}", subset("root"))),
        rule("default/wide", &format!("{{host: '*.svc.cluster.local', {}}}", subset("wide"))),
        rule("default/exact", &format!("{{host: reviews, {}}}", subset("exact"))),
        rule("shop/mine", &format!("{{host: {REVIEWS}, exportTo: ['.'], {}}}", subset("mine"))),
    ]
    .concat();
    let catalog = catalog(&text);
    let service = only(&catalog, REVIEWS);
    let found = |client: &str| catalog.destination_rule(client, &service).unwrap().subsets[0].name.clone();
    assert_eq!(found("shop"), "mine");
    assert_eq!(found("default"), "exact");
    assert_eq!(found("other"), "exact");
    assert_eq!(found("istio-system"), "exact", "a client in the root namespace skips its own rules at first");
}

#[test]
fn private_rules_are_not_used_by_other_namespaces() {
    let text =
        [reviews(), rule("default/r", "{host: reviews, exportTo: ['.'], subsets: [{name: v1}]}")].concat();
    let catalog = catalog(&text);
    let service = only(&catalog, REVIEWS);
    assert!(catalog.destination_rule("default", &service).is_some());
    assert!(catalog.destination_rule("shop", &service).is_none());
}

#[test]
fn rules_of_one_host_and_namespace_merge_oldest_first() {
    let text = [
        reviews(),
        rule("b@1", "{host: reviews, subsets: [{name: v1, labels: {from: old}}]}"),
        rule("a@2", "{host: reviews, trafficPolicy: {tls: {mode: DISABLE}}, subsets: [{name: v1, labels: {from: new}}, {name: v2}]}"),
        rule("c@3", "{host: reviews, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"),
    ]
    .concat();
    let catalog = catalog(&text);
    let rule = catalog.destination_rule("default", &only(&catalog, REVIEWS)).unwrap();
    let names: Vec<&str> = rule.subsets.iter().map(|s| s.name.as_str()).collect();
    assert_eq!((names.as_slice(), rule.origin.name.as_str()), (["v1", "v2"].as_slice(), "b"));
    assert_eq!(rule.subset("v1").unwrap().labels["from"], "old");
    assert_eq!(rule.policy.blocks.tls, Some(destination_rule::ClientTls::Disable));
}

#[test]
fn the_most_specific_host_and_the_first_object_route_a_service() {
    let to = |hosts: &str, more: &str| {
        format!("{{hosts: {hosts}{more}, http: [{{route: [{{destination: {{host: x}}}}]}}]}}")
    };
    let text = [
        reviews(),
        route("wide@1", &to("['*.cluster.local']", "")),
        route("second@3", &to("[reviews]", "")),
        route("first@2", &to("[reviews]", "")),
        route("shop/private@9", &to(&format!("[{REVIEWS}]"), ", exportTo: ['.']")),
        route("shop/named@1", &to(&format!("[{REVIEWS}]"), ", exportTo: ['pay']")),
        route("gateway@0", &to("[reviews]", ", gateways: [g]")),
    ]
    .concat();
    let catalog = catalog(&text);
    let found = |client: &str| catalog.route_set(client, REVIEWS).unwrap().origin.name.clone();
    assert_eq!(found("default"), "first");
    assert_eq!(found("shop"), "private");
    assert_eq!(found("pay"), "named");
    let other = catalog.route_set("default", "ratings.default.svc.cluster.local").unwrap();
    assert_eq!(other.origin.name, "wide");
    let gateway = GatewayRef::Named { namespace: "default".into(), name: "g".into() };
    assert_eq!(catalog.route_sets("default", &gateway).len(), 1);
}

#[test]
fn delegates_are_joined_with_their_root() {
    let text = [
        route(
            "root",
            "{hosts: [shop.com], gateways: [g], http: [{name: r, match: [{uri: {prefix: /api}}], delegate: {name: d, \
             namespace: team}, timeout: 3s}, {match: [{uri: {prefix: /gone}}], delegate: {name: missing}}, {route: \
             [{destination: {host: page}}]}]}",
        ),
        route(
            "team/d",
            "{http: [{name: in, match: [{uri: {prefix: /api/v1}}], route: [{destination: {host: one}}]}, {match: \
             [{uri: {prefix: /other}}], route: [{destination: {host: two}}]}, {timeout: 1s, route: [{destination: \
             {host: three}}]}]}",
        ),
    ]
    .concat();
    let catalog = catalog(&text);
    let gateway = GatewayRef::Named { namespace: "default".into(), name: "g".into() };
    let all = catalog.route_sets("default", &gateway);
    assert_eq!(all.len(), 1, "a delegate routes nothing by itself");
    let shown: Vec<String> = all[0]
        .http
        .iter()
        .map(|r| {
            let host = r.destinations().next().unwrap().host.split('.').next().unwrap_or_default().to_owned();
            format!("{} {:?} {host} {:?}", r.name, r.matches.first().and_then(|m| m.path.clone()), r.timeout)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "r-in Some(Prefix(\"/api/v1\")) one Some(3s)",
            "r Some(Prefix(\"/api\")) three Some(1s)",
            " None page None",
        ]
    );
}

#[test]
fn peer_authentication_goes_from_workload_to_namespace_to_mesh() {
    let modes = |policies: &[String]| {
        let text = [policies.concat(), pod("a", "10.0.0.1", "app: a", "")].concat();
        let catalog = catalog(&text);
        let workload = catalog.workload("default", "a").unwrap().clone();
        (catalog.mtls_mode(&workload, 80), catalog.mtls_mode(&workload, 81))
    };
    let mesh = peers("istio-system/m", "{mtls: {mode: STRICT}}");
    let namespace = peers("ns", "{mtls: {mode: DISABLE}}");
    let workload = peers(
        "w@2",
        "{selector: {matchLabels: {app: a}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {80: {mode: STRICT}}}",
    );
    let unset = peers("ns", "{mtls: {mode: UNSET}}");
    assert_eq!(modes(&[]), (Permissive, Permissive));
    assert_eq!(modes(std::slice::from_ref(&mesh)), (Strict, Strict));
    assert_eq!(modes(&[mesh.clone(), unset]), (Strict, Strict));
    assert_eq!(modes(&[mesh.clone(), namespace.clone()]), (Disable, Disable));
    assert_eq!(modes(&[mesh, namespace.clone(), workload]), (Strict, Permissive));
    let port_only = peers("w", "{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: UNSET}}}");
    assert_eq!(modes(&[namespace, port_only]), (Disable, Disable));
    let older = peers("old@1", "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}");
    let younger = peers("new@2", "{selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}}");
    assert_eq!(modes(&[younger, older]), (Strict, Strict));
}

#[test]
fn sidecars_are_selected_by_label_then_namespace_then_mesh() {
    let sidecar = |place: &str, spec: &str| object("networking.istio.io/v1", "Sidecar", place, spec);
    let text = [
        sidecar("istio-system/mesh", "{egress: [{hosts: ['./*', 'istio-system/*']}]}"),
        sidecar("wide", "{egress: [{hosts: ['./*.local']}]}"),
        sidecar("own", "{workloadSelector: {labels: {app: a}}, outboundTrafficPolicy: {}}"),
    ]
    .concat();
    let catalog = catalog(&text);
    let labels = |app: &str| Labels::from([("app".to_owned(), app.to_owned())]);
    let found = |ns: &str, app: &str| catalog.sidecar(ns, &labels(app)).unwrap().clone();
    assert_eq!(found("default", "a").origin.name, "own");
    assert_eq!(found("default", "b").origin.name, "wide");
    assert_eq!(found("shop", "a").origin.name, "mesh");
    assert!(found("default", "a").imports("default", "anywhere", "x.com"), "no egress means everything");
    let wide = found("default", "b");
    assert!(wide.imports("default", "default", REVIEWS));
    assert!(!wide.imports("default", "shop", REVIEWS));
    assert!(!wide.imports("default", "default", "x.com"));
}

#[test]
fn a_deleted_object_disappears_and_the_mesh_defaults_return() {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'enableAutoMtls: false'}\n";
    let catalog = catalog(&[config.to_owned(), reviews()].concat());
    assert!(!catalog.mesh().auto_mtls);
    let gone = vec![
        Change::Delete(Key::new(Kind::ConfigMap, "istio-system", "istio")),
        Change::Delete(Key::new(Kind::Service, "default", "reviews")),
    ];
    let (after, changes) = catalog.apply(gone);
    assert!(after.mesh().auto_mtls && after.services().next().is_none());
    assert_eq!(changes.kinds.len(), 2);
}

#[test]
fn a_check_reports_references_to_missing_objects() {
    let base = catalog(
        &[reviews(), rule("r", "{host: reviews, subsets: [{name: v1, labels: {version: v1}}]}")].concat(),
    );
    let to = |destination: &str, more: &str| {
        route(
            "vs",
            &format!("{{hosts: [reviews]{more}, http: [{{route: [{{destination: {{{destination}}}}}]}}]}}"),
        )
    };
    let warnings = |text: &str| {
        let given = parse::parse("vs.yaml", text)
            .documents
            .into_iter()
            .map(|d| api::resource::check::Given { file: d.place.to_string(), object: d.raw });
        let report = validate::reference::check(&base, &given.collect::<Vec<_>>());
        report.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let table = [
        (to("host: reviews", ""), None),
        (
            to("host: review", ""),
            Some(
                "spec.http[0].route[0].destination.host: there is no service review.default.svc.cluster.local; correct \
                  the host, or apply the Service first, or with this object",
            ),
        ),
        (
            to("host: reviews.default", ""),
            Some(
                "spec.http[0].route[0].destination.host: there is no service reviews.default; did you mean \
                  reviews.default.svc.cluster.local?",
            ),
        ),
        (
            to("host: reviews, subset: v9", ""),
            Some(
                "spec.http[0].route[0].destination.subset: DestinationRule default/r has no subset v9; its subsets \
                  are: v1",
            ),
        ),
        (
            to("host: reviews, port: {number: 80}", ""),
            Some(
                "spec.http[0].route[0].destination.port.number: service reviews.default.svc.cluster.local has no port 80; \
                  its ports are 9080",
            ),
        ),
        (
            to("host: reviews", ", gateways: [g]"),
            Some(
                "spec.gateways[0]: there is no Gateway default/g; apply the Gateway first, or with this object",
            ),
        ),
    ];
    for (text, expected) in table {
        let expected: Vec<String> =
            expected.into_iter().map(|e| format!("vs.yaml:2: VirtualService default/vs: {e}")).collect();
        assert_eq!(warnings(&text), expected, "{text}");
    }
    let with_its_service = [to("host: ratings", ""), service("ratings", "{ports: [{port: 80}]}")].concat();
    assert_eq!(warnings(&with_its_service), [""; 0]);
}

#[test]
fn a_check_warns_about_objects_that_the_change_would_break() {
    let base = catalog(
        &[
            reviews(),
            rule("r", "{host: reviews, subsets: [{name: v1}, {name: v2}]}"),
            route("vs", "{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v2}}]}]}"),
        ]
        .concat(),
    );
    let text = rule("r", "{host: reviews, subsets: [{name: v1}]}");
    let object = parse::parse("r.yaml", &text).documents.remove(0).raw;
    let given = [api::resource::check::Given { file: "r.yaml".into(), object }];
    let report = validate::reference::check(&base, &given);
    assert_eq!(report.errors, []);
    let warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "VirtualService default/vs: spec.http[0].route[0].destination.subset: DestinationRule default/r has no subset \
          v2; its subsets are: v1"
        ]
    );
}

#[test]
fn a_static_endpoint_with_a_pods_address_is_that_pod() {
    let slice = |service: &str, port: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, labels: \
             {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nendpoints: [{{addresses: [10.244.0.7]}}]\n\
             ports: [{port}]\n"
        )
    };
    let entry = |namespace: &str| {
        object(
            "networking.istio.io/v1",
            "ServiceEntry",
            &format!("{namespace}/e@2"),
            "{hosts: [e.test], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 90, name: tcp, protocol: \
             TCP}], endpoints: [{address: 10.244.0.7, ports: {tcp: 9001}}]}",
        )
    };
    let text = [
        service("by-hand@1", "{clusterIP: 10.96.0.9, ports: [{name: http, port: 80}]}"),
        slice("by-hand", "{name: http, port: 8081}"),
        entry("default"),
        entry("other"),
        pod("web", "10.244.0.7", "app: web", ""),
    ];
    let catalog = catalog(&text.concat());
    let web = catalog.workload("default", "web").unwrap();
    let found: Vec<(String, u16)> =
        catalog.targets_of(web).iter().map(|t| (t.service.host.clone(), t.number)).collect();
    // The entry of another namespace does not affect what the pod accepts.
    let by_hand = "by-hand.default.svc.cluster.local";
    assert_eq!(found, [(by_hand.to_owned(), 8081), ("e.test".to_owned(), 9001)]);
    let service = only(&catalog, by_hand);
    let endpoints = catalog.endpoints(&service, &service.ports[0]);
    assert!(endpoints[0].mtls && endpoints[0].labels["app"] == "web");
    assert_eq!(endpoints[0].workload.as_ref().unwrap().name, "web");
    assert_eq!(catalog.backing(&service).identities(), ["spiffe://cluster.local/ns/default/sa/web"]);
}

#[test]
fn a_policy_may_name_ports_that_no_service_or_container_declares() {
    let policy = peers(
        "p",
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: DISABLE}, 9091: {mode: \
         UNSET}}}",
    );
    let catalog = catalog(&[policy, pod("web", "10.244.0.7", "app: web", "")].concat());
    let web = catalog.workload("default", "web").unwrap();
    assert_eq!(catalog.policy_ports("default", &web.labels), [(9090, Disable), (9091, Strict)]);
    assert_eq!(catalog.policy_ports("default", &Labels::new()), []);
}

#[test]
fn a_setting_removed_from_the_mesh_config_returns_to_its_default() {
    let config = |name: &str, text: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: istio-system}}\ndata: {{mesh: \
             '{text}'}}\n"
        )
    };
    let base = Catalog::new(Mesh { auto_mtls: true, ..Mesh::default() });
    let (first, _) = applied(&base, &config("istio", "{enableAutoMtls: false, rootNamespace: roots}"));
    assert!(!first.mesh().auto_mtls && first.mesh().root_namespace == "roots");
    let (second, _) = applied(&first, &config("istio", "connectTimeout: 3s"));
    assert!(second.mesh().auto_mtls && second.mesh().root_namespace == "istio-system");
    let other = parse::parse("a.yaml", &config("istio-canary", "enableAutoMtls: false"));
    let facts = other.documents.into_iter().map(Fact::Upsert).collect();
    let (_, verdicts) = validate::judge(facts, second.mesh());
    assert_eq!(
        verdicts[0].warnings[0].to_string(),
        "a.yaml:2: ConfigMap istio-system/istio-canary: data.mesh: has no effect: the MeshConfig is read only from \
         ConfigMap istio-system/istio; move it there, or rename the key"
    );
}

#[test]
fn a_check_reports_selectors_without_pods_and_service_fields_without_effect() {
    let base = catalog(&pod("web", "10.244.0.7", "app: web", ""));
    let warnings = |text: &str| {
        let given = parse::parse("a.yaml", text)
            .documents
            .into_iter()
            .map(|d| api::resource::check::Given { file: d.place.to_string(), object: d.raw });
        let report = validate::reference::check(&base, &given.collect::<Vec<_>>());
        assert_eq!(report.errors, []);
        report.warnings.iter().map(|w| format!("{}: {}", w.path, w.reason)).collect::<Vec<_>>()
    };
    let policy = |app: &str| {
        peers("p", &format!("{{selector: {{matchLabels: {{app: {app}}}}}, mtls: {{mode: STRICT}}}}"))
    };
    assert_eq!(warnings(&policy("web")), [""; 0]);
    assert_eq!(warnings(&policy("wbe")), ["spec.selector: selects no pod of namespace default"]);
    let text = "{clusterIP: 10.96.0.9, sessionAffinity: ClientIP, internalTrafficPolicy: Local, externalIPs: [192.0.2.1], \
                ports: [{port: 80, protocol: SCTP}]}";
    let paths: Vec<String> =
        warnings(&service("s", text)).iter().map(|w| w.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(
        paths,
        ["spec.externalIPs", "spec.internalTrafficPolicy", "spec.ports[0].protocol", "spec.sessionAffinity"]
    );
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: FQDN\nendpoints: \
                 [{addresses: [a.test]}]\n";
    assert_eq!(warnings(slice).len(), 2);
}

#[test]
fn an_item_knows_its_object_and_a_moved_line_changes_nothing() {
    let text = route("shop/a", "{hosts: [a.test], http: [{route: [{destination: {host: b.test}}]}]}")
        .replace("metadata: {", "metadata: {uid: 1f0c, generation: 3, ");
    let (first, _) = applied(&Catalog::new(Mesh::default()), &text);
    let origin = |catalog: &Catalog| catalog.items().find_map(|(_, item)| item.origin().cloned()).unwrap();
    assert_eq!((&*origin(&first).uid, origin(&first).generation), ("1f0c", 3));
    assert_eq!(origin(&first).place.to_string(), "a.yaml:2");
    let moved = format!("# a comment\n{text}").replace("generation: 3", "generation: 4");
    let (later, changes) = applied(&first, &moved);
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!((origin(&later).generation, origin(&later).place.line()), (4, 3));
}

/// An EndpointSlice as Kubernetes' controller writes it.
fn slice(name: &str, port: &str, endpoints: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}}}\n\
         addressType: IPv4\nendpoints: [{endpoints}]\nports: [{port}]\n"
    )
}

/// The endpoints of the first port of the Service `web`.
fn web_endpoints(objects: &[String]) -> Vec<String> {
    let catalog = catalog(&objects.concat());
    let service = only(&catalog, "web.default.svc.cluster.local");
    let shown = |e: service::ServiceEndpoint| {
        let EndpointAddress::Socket(address) = e.address else { panic!("{:?}", e.address) };
        let pod = e.workload.map_or_else(String::new, |pod| pod.name.clone());
        format!("{address} {pod} {:?}{}", e.health, if e.mtls { " mTLS" } else { "" })
    };
    catalog.endpoints(&service, &service.ports[0]).into_iter().map(shown).collect()
}

#[test]
fn the_slices_of_a_clusters_controller_decide_which_pods_get_requests() {
    let web = |more: &str| {
        service(
            "web",
            &format!("{{selector: {{app: web}}, ports: [{{port: 80, name: http, targetPort: web}}]{more}}}"),
        )
    };
    let a = pod("a", "10.0.0.1", "app: web", "");
    let to = |pod: &str, address: &str, conditions: &str| {
        format!(
            "{{addresses: [{address}], conditions: {{{conditions}}}, targetRef: {{kind: Pod, name: {pod}}}}}, "
        )
    };
    let http = "{name: http, port: 8080}";
    let stopping = pod("a", "10.0.0.1", "app: web", ", deletionTimestamp: \"2026-01-01T00:00:00Z\"");
    let one = |conditions: &str| slice("s", http, &to("a", "10.0.0.1", conditions));
    let lost = |containers: &str, gates: &str| {
        let conditions =
            format!("{{type: Ready, status: 'False'}}, {{type: ContainersReady, status: '{containers}'}}");
        let pod = a.replace("{type: Ready, status: 'True'}", &conditions);
        pod.replace("spec: {", &format!("spec: {{readinessGates: [{gates}], "))
    };
    let ready = "10.0.0.1:8080 a Healthy mTLS";
    let draining = "10.0.0.1:8080 a Draining mTLS";
    let table: &[(&str, Vec<String>, &[&str])] = &[
        ("ready", vec![web(""), a.clone(), one("ready: true")], &[ready]),
        ("without conditions", vec![web(""), a.clone(), one("")], &[ready]),
        ("not ready, although the pod is", vec![web(""), a.clone(), one("ready: false")], &[]),
        ("only its node is lost", vec![web(""), lost("True", ""), one("ready: false")], &[ready]),
        ("its containers are not ready", vec![web(""), lost("False", ""), one("ready: false")], &[]),
        (
            "a readiness gate is closed",
            vec![web(""), lost("True", "{conditionType: example.com/gate}"), one("ready: false")],
            &[],
        ),
        (
            "its node is lost, and another pod is ready",
            vec![
                web(""),
                lost("True", ""),
                pod("b", "10.0.0.2", "app: web", ""),
                slice("s", http, &(to("a", "10.0.0.1", "ready: false") + &to("b", "10.0.0.2", ""))),
            ],
            &["10.0.0.2:8080 b Healthy mTLS"],
        ),
        (
            "its node is lost while it stops",
            vec![
                web(""),
                lost("True", "")
                    .replace("metadata: {", "metadata: {deletionTimestamp: \"2026-01-01T00:00:00Z\", "),
                one("ready: false, serving: false, terminating: true"),
            ],
            &[],
        ),
        (
            "terminating and serving",
            vec![web(""), a.clone(), one("ready: false, serving: true, terminating: true")],
            &[draining],
        ),
        (
            "terminating and not serving",
            vec![web(""), a.clone(), one("ready: false, serving: false, terminating: true")],
            &[],
        ),
        (
            "the pod stops before its slice says so",
            vec![web(""), stopping.clone(), one("ready: true")],
            &[draining],
        ),
        (
            "published while it stops",
            vec![web(", publishNotReadyAddresses: true"), stopping, one("ready: true, terminating: true")],
            &[ready],
        ),
        ("no pod of the slice is known yet", vec![web(""), one("ready: true")], &[]),
        (
            "the name belongs to another pod by now",
            vec![web(""), a.clone(), slice("s", http, &to("a", "10.0.0.9", ""))],
            &[],
        ),
        ("an empty slice", vec![web(""), a.clone(), slice("s", http, "")], &[]),
        (
            "a named port that differs from pod to pod",
            vec![
                web(""),
                a.clone(),
                pod("b", "10.0.0.2", "app: web", ""),
                slice("s", http, &to("a", "10.0.0.1", "")),
                slice("t", "{name: http, port: 9090}", &to("b", "10.0.0.2", "")),
            ],
            &[ready, "10.0.0.2:9090 b Healthy mTLS"],
        ),
        (
            "a pod without the named port",
            vec![web(""), a.clone(), slice("s", "", &to("a", "10.0.0.1", ""))],
            &[],
        ),
        (
            "a pod that is listed twice while it moves",
            vec![web(""), a.clone(), one(""), slice("t", http, &to("a", "10.0.0.1", ""))],
            &[ready],
        ),
        (
            "both families of addresses",
            vec![
                web(""),
                a.replace("podIP: 10.0.0.1", "podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]"),
                one(""),
                slice("t", http, &to("a", "'fd00::1'", "")).replace("addressType: IPv4", "addressType: IPv6"),
            ],
            &[ready],
        ),
        ("no slice yet: pods by selector", vec![web(""), a], &[ready]),
    ];
    for (name, objects, expected) in table {
        assert_eq!(web_endpoints(objects), *expected, "{name}");
    }
}

#[test]
fn a_change_of_a_slice_leaves_the_outline_of_its_service() {
    let objects = [
        service("web", "{selector: {app: web}, ports: [{port: 80, name: http}]}"),
        pod("a", "10.0.0.1", "app: web", ""),
        slice("s", "{name: http, port: 80}", "{addresses: [10.0.0.1], targetRef: {kind: Pod, name: a}}"),
    ];
    let catalog = catalog(&objects.concat());
    let (next, changes) = applied(&catalog, &slice("s", "{name: http, port: 80}", ""));
    assert_eq!(changes.kinds, BTreeSet::from([Kind::EndpointSlice]));
    let host = "web.default.svc.cluster.local";
    assert!(only(&catalog, host).has_outline_of(&only(&next, host)));
    assert_ne!(catalog.backing(&only(&catalog, host)), next.backing(&only(&next, host)));
    // The pod's own listeners depend on the selector, not on whether it gets requests.
    assert_eq!(next.targets_of(next.workload("default", "a").unwrap()).len(), 1);
}

fn namespace(name: &str, labels: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

fn mesh_config(text: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{text}'}}\n"
    )
}

/// Namespaces `in` and `out`, each with a Service, its pod, a rule and a policy.
fn two_namespaces() -> String {
    let of = |name: &str, address: &str| {
        [
            service(&format!("{name}/a"), "{clusterIP: 10.96.0.1, selector: {app: a}, ports: [{port: 80}]}"),
            pod(&format!("{name}/p"), address, "app: a", ""),
            rule(&format!("{name}/a"), "{host: a}"),
            peers(&format!("{name}/default"), "{mtls: {mode: STRICT}}"),
        ]
        .concat()
    };
    [
        namespace("in", "mesh: 'on'"),
        namespace("out", "mesh: 'off'"),
        of("in", "10.1.0.1"),
        of("out", "10.1.0.2"),
    ]
    .concat()
}

#[test]
fn only_the_namespaces_that_discovery_selectors_select_are_known() {
    let seen = |catalog: &Catalog| -> Vec<String> {
        let mut seen: Vec<String> = catalog.services().map(|s| format!("service {}", s.namespace)).collect();
        seen.extend(catalog.workloads().map(|w| format!("pod {}", w.namespace)));
        seen.extend(catalog.policies().map(|(_, policy)| format!("policy {}", policy.origin.namespace)));
        let outside = catalog.items().filter(|(key, _)| key.namespace == "out").count();
        seen.push(format!("{outside} of out"));
        seen.sort();
        seen
    };
    let both = ["4 of out", "pod in", "pod out", "policy in", "policy out", "service in", "service out"];
    let one = ["0 of out", "pod in", "policy in", "service in"];
    let on = mesh_config("discoverySelectors: [{matchLabels: {mesh: \"on\"}}]");
    let all = catalog(&two_namespaces());
    assert_eq!(seen(&all), both);
    // In any order, and by a change of the selectors or of the labels.
    assert_eq!(seen(&catalog(&[on.clone(), two_namespaces()].concat())), one);
    let (selected, changes) = applied(&all, &on);
    assert_eq!(seen(&selected), one);
    assert!(changes.kinds.contains(&Kind::Service) && changes.kinds.contains(&Kind::Pod), "{changes:?}");
    assert_eq!(changes.endpoints_of, BTreeSet::from(["a.out.svc.cluster.local".to_owned()]));
    let (entered, changes) = applied(&selected, &namespace("out", "mesh: 'on'"));
    assert_eq!(seen(&entered), both);
    assert!(changes.kinds.contains(&Kind::PeerAuthentication));
    let (left, _) = applied(&entered, &namespace("out", ""));
    assert_eq!(seen(&left), one);
    let (removed, _) = left.apply(vec![Change::Delete(Key::new(Kind::Pod, "out", "p"))]);
    let (restored, _) = applied(&removed, &mesh_config("{}"));
    let without: Vec<&str> =
        both.into_iter().filter(|one| *one != "pod out").map(|one| one.trim_start_matches("4 ")).collect();
    let shown: Vec<String> =
        seen(&restored).iter().map(|one| one.trim_start_matches("3 ").to_owned()).collect();
    assert_eq!(shown, without, "an object that was removed meanwhile stays away");
    for (selectors, knows) in [
        ("[{}]", true),
        ("[{matchLabels: {kubernetes.io/metadata.name: out}}]", true),
        (
            "[{matchLabels: {mesh: x}}, {matchExpressions: [{key: mesh, operator: In, values: [\"off\"]}]}]",
            true,
        ),
        ("[{matchExpressions: [{key: mesh, operator: DoesNotExist}]}]", false),
    ] {
        let (next, _) = applied(&all, &mesh_config(&format!("discoverySelectors: {selectors}")));
        assert_eq!(next.service("out", "a.out.svc.cluster.local").is_some(), knows, "{selectors}");
    }
}

/// An object of a random cluster of services, slices, pods and entries.
fn random_object(kind: u8, name: u8, version: u8) -> String {
    let (service_name, slice) = (format!("s{}", name % 3), format!("e{name}"));
    match kind {
        0 => service(
            &service_name,
            &format!(
                "{{clusterIP: 10.96.0.{version}, selector: {{app: {service_name}, v: \'{}\'}}, ports: [{{port: {}}}]}}",
                version % 2,
                80 + u16::from(version)
            ),
        ),
        1 => format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {slice}, namespace: default, labels: \
             {{kubernetes.io/service-name: s{}}}}}\naddressType: IPv4\nendpoints: [{{addresses: [10.2.0.{name}]}}, {{addresses: \
             [10.2.1.{version}]}}]\n",
            version % 3
        ),
        2 => pod(
            &format!("p{name}"),
            &format!("10.1.0.{}", version % 3),
            &format!("app: s{}, v: \'{}\'", version % 3, name % 2),
            "",
        ),
        _ => object(
            "networking.istio.io/v1",
            "ServiceEntry",
            &format!("e{name}"),
            &format!(
                "{{hosts: [s{}.default.svc.cluster.local, x.test], resolution: STATIC, ports: [{{number: {}, name: http, protocol: HTTP}}], endpoints: [{{address: 10.3.0.{name}}}]}}",
                version % 3,
                80 + u16::from(version)
            ),
        ),
    }
}

/// Everything that look-ups find.
fn found(catalog: &Catalog) -> Vec<String> {
    let mut all = vec![];
    for service in catalog.services() {
        let pods: Vec<&str> = catalog.pods_of(service).map(|pod| pod.name.as_str()).collect();
        all.push(format!("{service:?} {pods:?}"));
    }
    for pod in catalog.workloads() {
        let services: Vec<String> =
            catalog.services_of(pod).iter().map(|s| s.origin.key().to_string()).collect();
        let mut targets: Vec<String> = catalog
            .targets_of(pod)
            .iter()
            .map(|t| format!("{}:{}", t.service.origin.key(), t.number))
            .collect();
        targets.sort();
        let owner = catalog.workload_by_ip(pod.addresses[0]).map(|w| w.name.clone());
        all.push(format!("{} {services:?} {targets:?} {owner:?}", pod.name));
    }
    all
}

proptest::proptest! {
    #[test]
    fn a_catalog_that_was_changed_step_by_step_equals_one_made_at_once(
        steps in proptest::collection::vec((0..4u8, 0..4u8, 1..6u8, proptest::bool::ANY), 1..40)
    ) {
        let mut stepwise = Catalog::new(Mesh::default());
        let mut texts: std::collections::BTreeMap<Key, String> = std::collections::BTreeMap::new();
        for (kind, name, version, removes) in steps {
            let text = random_object(kind, name, version);
            let key = parse::parse("a.yaml", &text).documents[0].object.key.clone();
            if removes {
                texts.remove(&key);
                stepwise = stepwise.apply(vec![Change::Delete(key)]).0;
            } else {
                stepwise = applied(&stepwise, &text).0;
                texts.insert(key, text);
            }
        }
        let at_once = catalog(&texts.into_values().collect::<String>());
        proptest::prop_assert_eq!(found(&stepwise), found(&at_once));
    }
}

/// A change of one slice keeps everything else: the measure is the number of services that are other allocations.
#[test]
fn a_change_of_one_slice_rebuilds_one_service() {
    let slice = |n: usize, last: usize| {
        let endpoints =
            (0..10).map(|e| format!("{{addresses: [10.{}.{}.{}]}}", 1 + n / 250, n % 250, e + last));
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{n}, namespace: default, labels: \
             {{kubernetes.io/service-name: s{n}}}}}\naddressType: IPv4\nendpoints: [{}]\n",
            endpoints.collect::<Vec<_>>().join(", ")
        )
    };
    let count = 300;
    let all: String = (0..count)
        .map(|n| service(&format!("s{n}"), "{clusterIP: None, ports: [{port: 80}]}") + &slice(n, 0))
        .collect();
    let before = catalog(&all);
    let (after, _) = applied(&before, &slice(7, 100));
    let changed = before.services().zip(after.services()).filter(|(one, other)| !Arc::ptr_eq(one, other));
    assert_eq!(changed.map(|(one, _)| one.name.as_str()).collect::<Vec<_>>(), ["s7"]);
    assert_eq!(after.services().count(), count);
}
