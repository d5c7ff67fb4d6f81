//! Conflicting objects of each kind: which object gets the warning, and that it disappears with the winner.

use crate::catalog::Change;
use crate::catalog::tests::catalog;
use crate::validate;
use api::resource::document::Key;
use api::resource::kind::Kind;
use api::resource::parse;

/// An object as `group kind namespace/name@year spec`.
fn object(kind: &str, place: &str, spec: &str) -> String {
    let group = match kind {
        "Service" => "v1",
        "PeerAuthentication" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    let (namespace, name) = place.split_once('/').unwrap();
    let (name, year) = name.split_once('@').unwrap_or((name, "1"));
    format!(
        "---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, creationTimestamp: \
         \"200{year}-01-01T00:00:00Z\"}}\nspec: {spec}\n"
    )
}

fn pod(place: &str, address: &str, labels: &str) -> String {
    let (namespace, name) = place.split_once('/').unwrap();
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{containers: [{{name: c, image: i}}]}}\nstatus: {{podIP: {address}}}\n"
    )
}

/// The warnings about these objects, as `namespace/name path reason`.
fn conflicts(objects: &[String]) -> Vec<String> {
    let catalog = catalog(&objects.concat());
    let found = catalog.conflicts();
    // Asked kind by kind, the same are found.
    let mut by_kind: Vec<_> = Kind::all().flat_map(|kind| catalog.conflicts_of(kind)).collect();
    by_kind.sort_by(|a, b| (&a.key, &a.path, &a.reason).cmp(&(&b.key, &b.path, &b.reason)));
    assert_eq!(by_kind, found);
    let line = |r: &api::resource::document::Refusal| {
        let key = r.key.as_ref().unwrap();
        format!("{}/{} {}: {}", key.namespace, key.name, r.path, r.reason)
    };
    found.iter().map(line).collect()
}

fn peers(place: &str, spec: &str) -> String {
    object("PeerAuthentication", place, spec)
}

fn route(place: &str, spec: &str) -> String {
    object("VirtualService", place, spec)
}

fn rule(place: &str, spec: &str) -> String {
    object("DestinationRule", place, spec)
}

#[test]
fn the_later_of_two_policies_for_the_same_workloads_is_reported() {
    let app = |app: &str| format!("{{selector: {{matchLabels: {{app: {app}}}}}, mtls: {{mode: STRICT}}}}");
    let v1 = "{selector: {matchLabels: {app: a, version: v1}}, mtls: {mode: STRICT}}";
    let wide = "{mtls: {mode: STRICT}}";
    let table: [(&[String], &[&str]); 7] = [
        (
            &[peers("shop/new@2", wide), peers("shop/old@1", wide)],
            &[
                "shop/new spec.selector: PeerAuthentication shop/old, which is older, applies to the same workloads; this \
               object has no effect",
            ],
        ),
        (
            &[peers("istio-system/b", wide), peers("istio-system/a", wide)],
            &[
                "istio-system/b spec.selector: PeerAuthentication istio-system/a, which comes first by name, applies to the same workloads; this object has no effect",
            ],
        ),
        (&[peers("shop/a", wide), peers("istio-system/a", wide), peers("shop/b", &app("a"))], &[]),
        (&[peers("shop/a", &app("a")), peers("shop/b", &app("b"))], &[]),
        (
            &[peers("shop/a@1", &app("a")), peers("shop/b@2", v1)],
            &[
                "shop/b spec.selector: PeerAuthentication shop/a, which is older, selects all of these workloads; this \
               object has no effect",
            ],
        ),
        // The narrow policy comes first: the wide policy loses only the narrow one's pods.
        (&[peers("shop/a@1", v1), peers("shop/b@2", &app("a")), pod("shop/p", "10.0.0.1", "app: a")], &[]),
        (
            &[
                peers("shop/a@1", v1),
                peers("shop/b@2", &app("a")),
                pod("shop/p", "10.0.0.1", "app: a, version: v1"),
            ],
            &[
                "shop/b spec.selector: PeerAuthentication shop/a, which is older, selects pod p too; this object does not apply to that pod",
            ],
        ),
    ];
    for (objects, expected) in table {
        assert_eq!(conflicts(objects), expected);
    }
    let sidecar = |place: &str| object("Sidecar", place, "{egress: [{hosts: [\"./*\"]}]}");
    assert_eq!(conflicts(&[sidecar("shop/a"), sidecar("shop/b"), sidecar("back/a")]).len(), 1);
}

#[test]
fn the_later_of_two_virtual_services_for_a_host_is_reported() {
    let http =
        |more: &str| format!("{{hosts: [a.test]{more}, http: [{{route: [{{destination: {{host: x}}}}]}}]}}");
    let port = |port: u16| {
        format!(
            "{{hosts: [a.test], http: [{{match: [{{port: {port}}}], route: [{{destination: {{host: x}}}}]}}]}}"
        )
    };
    let tcp = "{hosts: [a.test], tcp: [{route: [{destination: {host: x}}]}]}";
    let tls = |name: &str| {
        format!(
            "{{hosts: [\"*.test\"], tls: [{{match: [{{sniHosts: [{name}]}}], route: [{{destination: {{host: x}}}}]}}]}}"
        )
    };
    let lost = "shop/b spec.http: VirtualService shop/a, which is older, routes all requests of a.test; this has no effect";
    let table: [(&[String], &[&str]); 9] = [
        (&[route("shop/a@1", &http("")), route("shop/b@2", &http(""))], &[lost]),
        (&[route("shop/a@1", &port(80)), route("shop/b@2", &port(81))], &[]),
        (
            &[route("shop/a@1", &port(80)), route("shop/b@2", &http(""))],
            &[
                "shop/b spec.http: VirtualService shop/a, which is older, routes requests to port 80 of a.test; this has no \
               effect",
            ],
        ),
        (&[route("shop/a@1", &http("")), route("shop/b@2", tcp)], &[]),
        (&[route("shop/a@1", &http("")), route("shop/b@2", &http(", gateways: [g]"))], &[]),
        (
            &[route("shop/a@1", tcp), route("shop/b@2", tcp)],
            &[
                "shop/b spec.tcp[0]: VirtualService shop/a, which is older, routes these connections of a.test; this has no \
               effect",
            ],
        ),
        (&[route("shop/a@1", &tls("a.test")), route("shop/b@2", &tls("b.a.test"))], &[]),
        (
            &[route("shop/a@1", &tls("a.test")), route("shop/b@2", &tls("a.test"))],
            &[
                "shop/b spec.tls[0].match[0]: VirtualService shop/a, which is older, routes server name a.test of *.test; \
               this has no effect",
            ],
        ),
        // The private set comes first in its own namespace, the older one everywhere else.
        (
            &[route("shop/a@1", &http("")), route("back/b@2", &http(", exportTo: [\".\"]"))],
            &[
                "shop/a spec.http: VirtualService back/b, which is exported to fewer namespaces, routes all requests of a.test; \
               this has no effect for clients in namespace back",
            ],
        ),
    ];
    for (objects, expected) in table {
        assert_eq!(conflicts(objects), expected, "{objects:?}");
    }
}

#[test]
fn the_later_of_two_destination_rules_for_a_host_is_reported() {
    let policy = "{host: a.test, trafficPolicy: {tls: {mode: DISABLE}}, subsets: [{name: v1}]}";
    let table: [(&[String], &[&str]); 4] = [
        (&[rule("shop/a@1", policy), rule("shop/b@2", "{host: a.test, subsets: [{name: v2}]}")], &[]),
        (&[rule("shop/a@1", policy), rule("back/b@2", policy)], &[]),
        (
            &[rule("shop/a@1", policy), rule("shop/b@2", policy)],
            &[
                "shop/b spec.subsets[0]: DestinationRule shop/a, which is older, has subset v1 of a.test too; this one has \
                 no effect",
                "shop/b spec.trafficPolicy: DestinationRule shop/a, which is older, has a policy for a.test; this one has \
                 no effect",
            ],
        ),
        (
            &[rule("shop/a@1", "{host: a.test, exportTo: [\".\"]}"), rule("shop/b@2", policy)],
            &[
                "shop/b spec.host: DestinationRule shop/a, which is older, applies to a.test; this object has no effect for \
               clients in namespace shop",
            ],
        ),
    ];
    for (objects, expected) in table {
        assert_eq!(conflicts(objects), expected, "{objects:?}");
    }
}

#[test]
fn the_later_of_two_gateway_servers_with_different_protocols_on_a_port_is_reported() {
    let gateway = |place: &str, selector: &str, protocol: &str| {
        let spec = format!(
            "{{selector: {{istio: {selector}}}, servers: [{{port: {{number: 80, name: p, protocol: {protocol}}}, hosts: \
             [\"*\"]}}]}}"
        );
        object("Gateway", place, &spec)
    };
    let table: [(&[String], &[&str]); 3] = [
        (&[gateway("shop/a@1", "in", "HTTP"), gateway("shop/b@2", "in", "HTTP2")], &[]),
        (&[gateway("shop/a@1", "in", "HTTP"), gateway("shop/b@2", "out", "TCP")], &[]),
        (
            &[gateway("shop/a@1", "in", "HTTP"), gateway("back/b@2", "in", "TCP")],
            &[
                "back/b spec.servers[0].port: Gateway shop/a, which is older, has port 80 for HTTP; this server, for TCP, has \
               no effect",
            ],
        ),
    ];
    for (objects, expected) in table {
        assert_eq!(conflicts(objects), expected, "{objects:?}");
    }
}

#[test]
fn unreachable_routes_of_two_virtual_services_for_a_gateway_host_are_reported() {
    let gate = || {
        let spec = "{selector: {istio: in}, servers: [{port: {number: 80, name: p, protocol: HTTP}, hosts: [\"*\"]}]}";
        object("Gateway", "shop/gate@1", spec)
    };
    let of = |place: &str, matches: &str| {
        let to = "route: [{destination: {host: x}}]";
        route(place, &format!("{{hosts: [a.test], gateways: [gate], http: [{{{matches}{to}}}]}}"))
    };
    let on = |path: &str| format!("match: [{{uri: {{{path}}}}}], ");
    let lost = "shop/b spec.http[0]: VirtualService shop/a, which is older, routes the same requests to `a.test`; this route \
                has no effect there";
    let table: [(&str, &str, &[&str]); 9] = [
        ("", "", &[lost]),
        (&on("prefix: /a"), &on("prefix: /a"), &[lost]),
        (&on("prefix: /a"), &on("prefix: /a/b"), &[lost]),
        (&on("prefix: /a"), &on("exact: /a/b"), &[lost]),
        (&on("prefix: /a"), "match: [{uri: {prefix: /a/b}, headers: {x: {exact: v}}}], ", &[lost]),
        (&on("prefix: /a/b"), &on("prefix: /a"), &[]),
        ("", &on("prefix: /a"), &[]),
        ("match: [{uri: {prefix: /a}, headers: {x: {exact: v}}}], ", &on("prefix: /a/b"), &[]),
        (&on("prefix: /a"), &on("regex: /a/b"), &[]),
    ];
    for (first, second, expected) in table {
        let objects = [gate(), of("shop/a@1", first), of("shop/b@2", second)];
        assert_eq!(conflicts(&objects), expected, "{first} then {second}");
    }
}

#[test]
fn the_later_of_two_services_with_different_protocols_for_a_pods_port_is_reported() {
    let service = |place: &str, name: &str| {
        let address = if place.contains("/a") { 1 } else { 2 };
        let spec = format!(
            "{{clusterIP: 10.0.0.{address}, selector: {{app: a}}, ports: [{{port: 80, name: {name}, targetPort: 8080}}]}}"
        );
        object("Service", place, &spec)
    };
    let web = || pod("shop/web", "10.1.0.1", "app: a");
    assert_eq!(conflicts(&[service("shop/a@1", "http"), service("shop/b@2", "http-x"), web()]), [""; 0]);
    assert_eq!(conflicts(&[service("shop/a@1", "http"), service("shop/b@2", "grpc"), web()]), [""; 0]);
    assert_eq!(conflicts(&[service("shop/a@1", "tcp"), service("shop/b@2", "https"), web()]), [""; 0]);
    assert_eq!(conflicts(&[service("shop/a@1", "tcp"), service("shop/b@2", "odd"), web()]).len(), 1);
    assert_eq!(conflicts(&[service("shop/a@1", "http"), service("back/b@2", "tcp"), web()]), [""; 0]);
    assert_eq!(conflicts(&[service("shop/a@1", "http"), service("shop/b@2", "tcp")]), [""; 0], "no pod yet");
    assert_eq!(
        conflicts(&[service("shop/a@1", "http"), service("shop/b@2", "tcp"), web()]),
        [
            "shop/b spec.ports[0]: Service shop/a, which is older, has port 8080 of the same pods as Http, which their \
          sidecars take it for"
        ]
    );
}

#[test]
fn a_conflict_ends_when_the_winner_is_deleted() {
    let wide = "{mtls: {mode: STRICT}}";
    let both = catalog(&[peers("shop/a", wide), peers("shop/b", wide)].concat());
    assert_eq!(both.conflicts().len(), 1);
    let key = Key::new(Kind::PeerAuthentication, "shop", "a");
    assert_eq!(both.apply(vec![Change::Delete(key)]).0.conflicts(), []);
}

#[test]
fn a_check_treats_applied_objects_as_younger_than_existing_ones() {
    let base = catalog(&peers("shop/z", "{mtls: {mode: STRICT}}"));
    let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop}\nspec: \
                {mtls: {mode: PERMISSIVE}}\n";
    let object = parse::parse("a.yaml", text).documents.remove(0).raw;
    let given = [api::resource::check::Given { file: "a.yaml:1".into(), object }];
    let report = validate::reference::check(&base, &given);
    let warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "a.yaml:1: PeerAuthentication shop/a: spec.selector: PeerAuthentication shop/z, which is older, applies to the same workloads; this object has no effect; merge the two, or delete one"
        ]
    );
}

#[test]
fn delegates_without_effect_are_reported() {
    let to = "route: [{destination: {host: x}}]";
    let root = |more: &str| {
        let spec = format!(
            "{{hosts: [a.test], http: [{{match: [{{uri: {{prefix: /a}}}}], delegate: {{name: d{more}}}}}]}}"
        );
        route("shop/root", &spec)
    };
    let inside = format!("{{http: [{{match: [{{uri: {{prefix: /a/b}}}}], {to}}}]}}");
    let outside =
        format!("{{http: [{{match: [{{uri: {{prefix: /a/b}}}}, {{uri: {{prefix: /c}}}}], {to}}}]}}");
    let private = format!("{{exportTo: [\".\"], http: [{{{to}}}]}}");
    let table: [(&[String], &[&str]); 4] = [
        (&[root(""), route("shop/d", &inside)], &[]),
        (
            &[route("shop/d", &inside)],
            &["shop/d spec.hosts: no VirtualService delegates to this one; it has no effect"],
        ),
        (
            &[root(""), route("shop/d", &outside)],
            &[
                "shop/d spec.http[0].match: a match fits within none of spec.http[0].match of VirtualService shop/root, which \
               delegates here; there this route has no effect",
            ],
        ),
        (
            &[root(", namespace: back"), route("back/d", &private)],
            &[
                "shop/root spec.http[0].delegate: VirtualService back/d is not exported to namespace shop; this route has no \
               effect",
            ],
        ),
    ];
    for (objects, expected) in table {
        assert_eq!(conflicts(objects), expected, "{objects:?}");
    }
}

#[test]
fn services_hidden_by_another_with_the_same_host_are_reported() {
    let entry = |place: &str, more: &str| {
        let spec =
            format!("{{hosts: [a.test], ports: [{{number: 80, name: http, protocol: HTTP}}], {more}}}");
        object("ServiceEntry", place, &spec)
    };
    let none = "addresses: [240.0.0.1], resolution: NONE";
    let dns = "resolution: DNS";
    let table: [(&[String], &[&str]); 3] = [
        (
            &[
                entry("shop/a@1", &format!("{none}, exportTo: [\".\"]")),
                entry("back/b@2", &format!("{dns}, exportTo: [\".\"]")),
            ],
            &[],
        ),
        (
            &[entry("shop/a@1", none), entry("shop/b@2", dns)],
            &[
                "shop/b spec.hosts: ServiceEntry shop/a, which is older, has host a.test; this service has no effect",
            ],
        ),
        (
            &[entry("shop/a@1", none), entry("back/b@2", dns)],
            &[
                "back/b spec.hosts: ServiceEntry shop/a, which is older, has host a.test; this service has no effect for \
                 clients outside of namespace back",
                "shop/a spec.hosts: ServiceEntry back/b, which comes first by namespace or name, has host a.test; this \
                 service has no effect for clients in namespace back",
            ],
        ),
    ];
    for (objects, expected) in table {
        assert_eq!(conflicts(objects), expected, "{objects:?}");
    }
}

#[test]
fn the_unreachable_one_of_two_services_at_an_address_and_port_is_reported() {
    let entry = |place: &str, host: &str, protocol: &str, more: &str| {
        let spec = format!(
            "{{hosts: [{host}], addresses: [240.0.0.1], resolution: NONE{more}, ports: [{{number: 80, name: p, protocol: \
             {protocol}}}]}}"
        );
        object("ServiceEntry", place, &spec)
    };
    let lost = |host: &str, by: &str, protocol: &str| {
        format!("shop/{by} has port 80 of 240.0.0.1 for {protocol}: connections there do not reach {host}")
    };
    let pair = |one: &str, other: &str| {
        [entry("shop/a@1", "a.test", one, ""), entry("shop/b@2", "b.test", other, "")]
    };
    let table = [
        (pair("HTTP", "HTTP"), None),
        (pair("TLS", "HTTPS"), None),
        (pair("TCP", "TCP"), Some(("b", lost("b.test", "a", "Tcp")))),
        (pair("TLS", "TCP"), Some(("b", lost("b.test", "a", "Tls")))),
        (pair("HTTP", "TCP"), Some(("a", lost("a.test", "b", "Tcp")))),
        (pair("TCP", "HTTP"), Some(("b", lost("b.test", "a", "Tcp")))),
        (
            [
                entry("shop/a@1", "a.test", "TCP", ", exportTo: [\".\"]"),
                entry("back/b@2", "b.test", "TCP", ", exportTo: [\".\"]"),
            ],
            None,
        ),
    ];
    for (objects, expected) in table {
        let expected: Vec<String> = expected
            .into_iter()
            .map(|(loser, reason)| format!("shop/{loser} spec.ports[0]: ServiceEntry {reason}"))
            .collect();
        assert_eq!(conflicts(&objects), expected, "{objects:?}");
    }
}

#[test]
fn a_sidecar_hidden_by_one_with_an_empty_selector_is_reported() {
    let sidecar = |place: &str, selector: &str| {
        object("Sidecar", place, &format!("{{{selector}egress: [{{hosts: ['./*']}}]}}"))
    };
    let objects = [
        sidecar("shop/a@1", ""),
        sidecar("shop/b@2", "workloadSelector: {}, "),
        sidecar("shop/c@3", "workloadSelector: {labels: {app: x}}, "),
        sidecar("back/d@1", ""),
    ];
    assert_eq!(
        conflicts(&objects),
        [
            "shop/a spec.workloadSelector: Sidecar shop/b, which has a selector, applies to the same workloads; this object \
             has no effect",
            "shop/c spec.workloadSelector: Sidecar shop/b, which is older, selects all of these workloads; this object has \
             no effect",
        ]
    );
}
