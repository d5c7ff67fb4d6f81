//! Where endpoints are, and which of them a client prefers.

use super::{Resource, scope, shared, snapshot};
use crate::flow::Scope;

/// A node in `region/zone/sub-zone`.
fn node(name: &str, at: &str) -> String {
    let parts: Vec<&str> = at.split('/').collect();
    let label = |name: &str, at: usize| parts.get(at).map(|value| format!("{name}: {value}"));
    let labels: Vec<String> = [
        label("topology.kubernetes.io/region", 0),
        label("topology.kubernetes.io/zone", 1),
        label("topology.istio.io/subzone", 2),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{}}}}}\n",
        labels.join(", ")
    )
}

fn pod(name: &str, address: u8, node: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: a{more}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: c}}]}}\nstatus: {{podIP: 10.1.0.{address}, conditions: [{{type: Ready, \
         status: 'True'}}]}}\n"
    )
}

fn service(head: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: shop{head}}}\n\
         spec: {{clusterIP: 10.96.0.1, selector: {{app: a}}, ports: [{{port: 80, name: http}}]{spec}}}\n"
    )
}

const OUTLIER: &str = "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec: {host: a, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
";

/// Four nodes, an endpoint on each, and one whose label sets another place.
fn cluster() -> String {
    [
        node("n1", "r/z/s"),
        node("n2", "r/z/t"),
        node("n3", "r/w"),
        node("n4", "q/x"),
        pod("p1", 1, "n1", ""),
        pod("p2", 2, "n2", ""),
        pod("p3", 3, "n3", ""),
        pod("p4", 4, "n4", ""),
        pod("p5", 5, "n4", ", istio-locality: r.z.s"),
    ]
    .concat()
}

/// The endpoints that a client on the node of pod `from` gets, as `priority region/zone/sub-zone: last octets`.
fn endpoints(texts: &[&str], from: &str) -> Vec<String> {
    let scope = Scope { ..scope(from, "shop", &[]) };
    let found = shared(&snapshot(texts), &scope).into_iter().find_map(|resource| match resource {
        Resource::Endpoints(one) if one.cluster == "outbound|80||a.shop.svc.cluster.local" => Some(one),
        _ => None,
    });
    let groups = found.expect("the service is there").localities;
    let shown = groups.iter().map(|group| {
        let place = &group.locality;
        let all = group.endpoints.iter().map(|endpoint| match endpoint.address {
            api::model::endpoint::EndpointAddress::Socket(to) => {
                to.ip().to_string().rsplit('.').next().unwrap().to_owned()
            }
            ref other => panic!("{other:?}"),
        });
        let all = all.collect::<Vec<_>>().join(" ");
        format!("{} {}/{}/{}: {all}", group.priority, place.region, place.zone, place.sub_zone)
    });
    shown.collect()
}

#[test]
fn endpoints_are_where_their_nodes_or_their_labels_say() {
    let all = ["0 q/x/: 4", "0 r/w/: 3", "0 r/z/s: 1 5", "0 r/z/t: 2"];
    assert_eq!(endpoints(&[&cluster(), &service("", "")], "p1"), all, "without a preference all are equal");
    let moved = [cluster(), service("", ""), node("n3", "q/x")].concat();
    assert_eq!(endpoints(&[&moved], "p1")[0], "0 q/x/: 3 4");
    let without = cluster().replace("topology", "other");
    assert_eq!(endpoints(&[&without, &service("", "")], "p1"), ["0 //: 1 2 3 4", "0 r/z/s: 5"]);
}

#[test]
fn clients_prefer_near_endpoints_if_the_service_asks_for_it() {
    let zone = ["0 r/z/s: 1 5", "0 r/z/t: 2", "1 r/w/: 3", "2 q/x/: 4"];
    for spec in [", trafficDistribution: PreferClose", ", trafficDistribution: PreferSameZone"] {
        assert_eq!(endpoints(&[&cluster(), &service("", spec)], "p1"), zone, "{spec}");
        assert_eq!(endpoints(&[&cluster(), &service("", spec)], "p4")[0], "0 q/x/: 4", "{spec}");
    }
    let annotation = ", annotations: {networking.istio.io/traffic-distribution: preferclose}";
    assert_eq!(endpoints(&[&cluster(), &service(annotation, "")], "p1"), zone);
    let node = service("", ", trafficDistribution: PreferSameNode");
    let all = ["0 r/z/s: 1", "1 r/z/s: 5", "2 r/z/t: 2", "3 r/w/: 3", "4 q/x/: 4"];
    assert_eq!(endpoints(&[&cluster(), &node], "p1"), all);
    assert_eq!(
        endpoints(&[&cluster(), &node], "p4"),
        ["0 q/x/: 4", "1 r/w/: 3", "1 r/z/s: 1 5", "1 r/z/t: 2"]
    );
    let unknown = service("", ", trafficDistribution: Whatever");
    assert_eq!(endpoints(&[&cluster(), &unknown], "p1")[0], "0 q/x/: 4");
}

#[test]
fn clients_that_eject_endpoints_use_the_nearest_first() {
    let near = ["0 r/z/s: 1 5", "1 r/z/t: 2", "2 r/w/: 3", "3 q/x/: 4"];
    assert_eq!(endpoints(&[&cluster(), &service("", ""), OUTLIER], "p1"), near);
    let from_unknown = ["0 q/x/: 4", "0 r/w/: 3", "0 r/z/s: 1 5", "0 r/z/t: 2"];
    assert_eq!(endpoints(&[&cluster(), &service("", ""), OUTLIER], "nobody"), from_unknown);
}

#[test]
fn an_endpoint_that_drains_does_not_send_requests_of_the_others_away() {
    let draining = pod("p5", 5, "n1", "")
        .replace("namespace: shop", "namespace: shop, deletionTimestamp: '2026-01-01T00:00:00Z'");
    let near = ["0 r/z/s: 1", "1 r/z/t: 2", "2 r/w/: 3", "3 q/x/: 4", "4 r/z/s: 5"];
    assert_eq!(endpoints(&[&cluster(), &draining, &service("", ""), OUTLIER], "p1"), near);
}

#[test]
fn the_zone_of_a_slice_stands_in_for_an_unknown_node() {
    let slice = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{port: 80, name: http}]
endpoints: [{addresses: [10.2.0.7], zone: z}, {addresses: [10.2.0.8], zone: elsewhere}, {addresses: [10.2.0.9]}]
";
    let service = service("", "").replace("selector: {app: a}, ", "");
    assert_eq!(endpoints(&[&cluster(), &service, slice], "p1"), ["0 //: 9", "0 /elsewhere/: 8", "0 r/z/: 7"]);
}

#[test]
fn the_endpoints_of_a_service_entry_may_name_their_locality() {
    let entry = "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e, namespace: shop}
spec:
  hosts: [a.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.3.0.1, locality: r/z/s}, {address: 10.3.0.2, locality: q}, {address: 10.3.0.3, labels: {istio-locality: r.w}}]
";
    let outlier = OUTLIER.replace("host: a", "host: a.shop.svc.cluster.local");
    assert_eq!(endpoints(&[&cluster(), entry, &outlier], "p1"), ["0 r/z/s: 1", "1 r/w/: 3", "2 q//: 2"]);
}

#[test]
fn proxies_of_different_places_share_what_no_preference_divides() {
    use crate::generate::audience::Audience;
    let of = |texts: &[&str], pod: &str| Audience::of(&snapshot(texts), &scope(pod, "shop", &[]));
    let plain = [&cluster(), &service("", "")].map(String::as_str).join("");
    assert_eq!(of(&[&plain], "p1"), of(&[&plain], "p4"));
    let close = [plain.as_str(), &service("", ", trafficDistribution: PreferClose")].concat();
    assert_ne!(of(&[&close], "p1"), of(&[&close], "p4"));
    let same_place = [close.as_str(), &pod("p6", 6, "n5", ""), &node("n5", "r/z/s")].concat();
    assert_eq!(of(&[&same_place], "p1"), of(&[&same_place], "p6"));
    let by_node = [same_place.as_str(), &service("", ", trafficDistribution: PreferSameNode")].concat();
    assert_ne!(of(&[&by_node], "p1"), of(&[&by_node], "p6"));
}
