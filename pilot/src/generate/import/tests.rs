//! What a Sidecar imports: Istio's own table of sidecar routes, and cases next to them.

use crate::catalog::route::GatewayRef;
use crate::catalog::tests::catalog;
use crate::generate::audience::Audience;
use crate::generate::http_route::{self, Place};
use crate::generate::view::View;
use api::model::route::{ClusterChoice, RouteAction};
use std::collections::BTreeMap;
use std::sync::Arc;

fn scope(namespace: &str) -> Arc<Audience> {
    Arc::new(Audience {
        gateway: false,
        namespace: namespace.into(),
        istio_extensions: true,
        ipv6: false,
        http_10: false,
        labels: BTreeMap::new(),
        position: crate::catalog::node::Position::default(),
        targets: vec![],
    })
}

/// The services that a proxy sees, and the destination of requests to a host on a port, as `host -> cluster host`.
struct Seen {
    services: Vec<String>,
    routes: BTreeMap<String, String>,
}

fn seen(objects: &[String], namespace: &str, port: u16) -> Seen {
    let catalog = catalog(&objects.concat());
    let scope = scope(namespace);
    let view = View::new(&catalog, &scope);
    let place = Place { port, encrypted: false, gateways: &[GatewayRef::Mesh] };
    let first = |routes: Vec<api::model::route::Route>| match &routes.first()?.action {
        RouteAction::Forward(forward) => match &forward.clusters {
            ClusterChoice::Single(name) => name.rsplit('|').next().map(str::to_owned),
            _ => None,
        },
        _ => None,
    };
    let hosts = view.services().map(|s| s.host.clone()).chain(view.owners().keys().cloned());
    let routes = hosts.filter_map(|host| {
        let to = first(http_route::routes(&view, view.route_set(&host)?, &place))?;
        Some((host, to))
    });
    Seen { routes: routes.collect(), services: view.services().map(|s| s.host.clone()).collect() }
}

fn service(place: &str) -> String {
    let (namespace, name) = place.split_once('/').unwrap();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{clusterIP: \
         10.0.0.1, ports: [{{port: 80, name: http}}, {{port: 8080, name: http-alt}}]}}\n"
    )
}

/// A VirtualService as `namespace/name@year`.
fn route(place: &str, hosts: &str, http: &str) -> String {
    let (namespace, name) = place.split_once('/').unwrap();
    let (name, year) = name.split_once('@').unwrap_or((name, "1"));
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: \
         {namespace}, creationTimestamp: \"200{year}-01-01T00:00:00Z\"}}\nspec: {{hosts: [{hosts}], http: [{http}]}}\n"
    )
}

fn to(host: &str) -> String {
    format!("{{route: [{{destination: {{host: {host}}}}}]}}")
}

fn sidecar(namespace: &str, hosts: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s, namespace: {namespace}}}\nspec: \
         {{egress: [{{hosts: [{hosts}]}}]}}\n"
    )
}

const KNOWN: &str = "known.default.svc.cluster.local";
const ALT: &str = "alt-known.default.svc.cluster.local";

fn known() -> [String; 3] {
    [service("default/known"), service("default/alt-known"), service("back/not-default")]
}

/// Objects in addition to the three known services, the client's namespace, and the expected destinations by host; `-`
/// is none.
type Case<'a> = (&'a [String], &'a str, &'a [(&'a str, &'a str)]);

#[test]
fn hosts_are_routed_as_in_istio() {
    let wild = |place: &str| route(place, "'*.cluster.local'", &to("wild.test"));
    let explicit = |place: &str| route(place, KNOWN, &to("explicit.test"));
    let table: [Case; 10] = [
        (&[route("default/v", KNOWN, &to(ALT))], "default", &[(KNOWN, ALT), (ALT, "-")]),
        (
            &[route("x/a@1", KNOWN, &to("x.test")), route("default/b@2", KNOWN, &to("default.test"))],
            "back",
            &[(KNOWN, "x.test")],
        ),
        (
            &[wild("default/w@1"), explicit("default/e@2")],
            "default",
            &[(ALT, "wild.test"), (KNOWN, "explicit.test")],
        ),
        (
            &[wild("default/w@2"), explicit("default/e@1")],
            "default",
            &[(ALT, "wild.test"), (KNOWN, "explicit.test")],
        ),
        // The pattern itself is not imported, but it covers an imported host.
        (
            &[
                wild("default/w@1"),
                explicit("default/e@2"),
                sidecar("default", &format!("default/{KNOWN}, default/{ALT}")),
            ],
            "default",
            &[(ALT, "wild.test"), (KNOWN, "explicit.test")],
        ),
        // The pattern belongs to a namespace that is not imported.
        (
            &[
                wild("back/w@1"),
                explicit("default/e@2"),
                sidecar("default", &format!("default/{KNOWN}, default/{ALT}")),
            ],
            "default",
            &[(ALT, "-"), (KNOWN, "explicit.test")],
        ),
        (
            &[
                route("default/o", "'*.example.org'", &to("arbitrary.test")),
                sidecar("default", &format!("'*/explicit.example.org', '*/{ALT}'")),
            ],
            "default",
            &[("*.example.org", "arbitrary.test"), (ALT, "-"), (KNOWN, "-")],
        ),
        (
            &[
                route("back/w", "'*.default.svc.cluster.local'", &to("arbitrary.test")),
                route("default/e", "explicit.default.svc.cluster.local", &to("explicit.test")),
                sidecar(
                    "back",
                    "'back/*.default.svc.cluster.local', back/not-default.back.svc.cluster.local",
                ),
            ],
            "back",
            &[("*.default.svc.cluster.local", "arbitrary.test"), ("explicit.default.svc.cluster.local", "-")],
        ),
        // Unlike in Istio, a host that is not imported cannot be reached.
        (
            &[
                route("default/v", &format!("{KNOWN}, {ALT}"), &to("example.test")),
                sidecar("default", &format!("'*/{KNOWN}'")),
            ],
            "default",
            &[(KNOWN, "example.test"), (ALT, "-")],
        ),
        (
            &[wild("default/w"), sidecar("default", "'*/*', ~default/known.default.svc.cluster.local")],
            "default",
            &[(ALT, "wild.test"), ("*.cluster.local", "wild.test")],
        ),
    ];
    for (objects, namespace, expected) in table {
        let all: Vec<String> = known().iter().chain(objects).cloned().collect();
        let found = seen(&all, namespace, 80).routes;
        for (host, wanted) in expected {
            assert_eq!(
                found.get(*host).map_or("-", String::as_str),
                *wanted,
                "{host} of {objects:?}: {found:?}"
            );
        }
    }
}

#[test]
fn destinations_of_imported_routes_are_imported_from_every_namespace() {
    let delegate = |name: &str| {
        format!("{{delegate: {{name: {name}, namespace: back}}, match: [{{uri: {{prefix: /d}}}}]}}")
    };
    let mirrored = "{route: [{destination: {host: a.back.svc.cluster.local}}], mirrors: [{destination: {host: \
                    m.back.svc.cluster.local}}]}";
    let elsewhere =
        "{match: [{sourceNamespace: other}], route: [{destination: {host: o.back.svc.cluster.local}}]}";
    let objects = [
        service("back/a"),
        service("back/m"),
        service("back/d"),
        service("back/o"),
        service("back/unused"),
        route("back/front", "front.test", &[delegate("d"), elsewhere.into(), mirrored.into()].join(", ")),
        route("back/d", "", &to("d")),
        route("back/hidden", "hidden.test", &to("unused")),
        sidecar("shop", "'./*', back/front.test"),
    ];
    let found = seen(&objects, "shop", 80);
    let services: Vec<&str> = found.services.iter().map(|s| s.split('.').next().unwrap()).collect();
    assert_eq!(services, ["a", "d", "m"]);
    assert_eq!(found.routes.keys().collect::<Vec<_>>(), ["front.test"]);
}

#[test]
fn exclusions_of_namespaces_and_hosts_win_over_imports() {
    let objects =
        |hosts: &str| [service("back/a"), service("back/b"), service("shop/c"), sidecar("shop", hosts)];
    let table: [(&str, &[&str]); 6] = [
        ("'*/*'", &["a", "b", "c"]),
        ("'*/*', '~back/*'", &["c"]),
        ("'~back/a.back.svc.cluster.local', '*/*'", &["b", "c"]),
        ("'*/*', '~./*'", &["a", "b"]),
        ("'~/*'", &[]),
        ("'~back/*'", &[]),
    ];
    for (hosts, expected) in table {
        let found = seen(&objects(hosts), "shop", 80).services;
        let names: Vec<&str> = found.iter().map(|s| s.split('.').next().unwrap()).collect();
        assert_eq!(names, expected, "{hosts}");
    }
}

#[test]
fn the_imported_one_of_two_services_with_a_host_is_used() {
    let entry = |namespace: &str, address: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e, namespace: \
             {namespace}}}\nspec: {{hosts: [a.test], addresses: [{address}], resolution: NONE, ports: [{{number: 80, \
             name: http, protocol: HTTP}}]}}\n"
        )
    };
    let objects = [entry("a", "240.0.0.1"), entry("b", "240.0.0.2"), sidecar("shop", "b/a.test")];
    let catalog = catalog(&objects.concat());
    let scope = scope("shop");
    let view = View::new(&catalog, &scope);
    assert_eq!(view.services().map(|s| s.namespace.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn the_second_of_two_virtual_services_for_a_host_routes_the_remaining_ports() {
    let on = |port: u16, host: &str| {
        format!("{{match: [{{port: {port}}}], route: [{{destination: {{host: {host}}}}}]}}")
    };
    let objects = [
        service("default/known"),
        route("default/a@1", KNOWN, &on(80, "first.test")),
        route("default/b@2", KNOWN, &to("second.test")),
        route("default/c@3", KNOWN, &to("third.test")),
    ];
    assert_eq!(seen(&objects, "default", 80).routes[KNOWN], "first.test");
    assert_eq!(seen(&objects, "default", 8080).routes[KNOWN], "second.test");
}

#[test]
fn l4_routes_of_all_virtual_services_of_a_host_apply_oldest_first() {
    let l4 = |place: &str, hosts: &str, kind: &str, to: &str| {
        let text = route(place, hosts, "");
        let more = match kind {
            "tcp" => format!("tcp: [{{route: [{{destination: {{host: {to}}}}}]}}]"),
            _ => format!(
                "tls: [{{match: [{{sniHosts: [a.test]}}], route: [{{destination: {{host: {to}}}}}]}}]"
            ),
        };
        text.replace("http: []", &more)
    };
    let objects = [
        route("default/a@1", "a.test", &to("http.test")),
        l4("default/b@2", "a.test", "tcp", "second.test"),
        l4("default/c@3", "'*.test'", "tcp", "third.test"),
        l4("default/d@4", "a.test", "tls", "fourth.test"),
    ];
    let catalog = catalog(&objects.concat());
    let scope = scope("default");
    let view = View::new(&catalog, &scope);
    let vs = view.route_set("a.test").unwrap();
    let tcp: Vec<&str> = vs.tcp.iter().map(|r| r.destinations[0].destination.host.as_str()).collect();
    assert_eq!(tcp, ["second.test", "third.test"]);
    assert_eq!(vs.tls.len(), 1);
    assert_eq!(seen(&objects, "default", 80).routes["a.test"], "http.test");
}
