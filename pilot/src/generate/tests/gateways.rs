//! Gateways and VirtualServices, followed to what a gateway does: the chain of a connection and the virtual host of a
//! request on it.

use super::{Resources, SHOP, clusters_of, gate, snapshot};
use crate::flow::Scope;
use api::model::listener::{FilterChain, Protocol, RouteSource};
use api::model::route::{RouteAction, VirtualHost};

/// A Gateway of namespace `shop` with one server for each of `servers`.
fn gateway(name: &str, servers: &[&str]) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("  - {server}\n")).collect();
    let head =
        format!("metadata: {{name: {name}, namespace: shop}}\nspec:\n  selector: {{istio: ingressgateway}}");
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\n{head}\n  servers:\n{}",
        servers.concat()
    )
}

fn http(port: u16, hosts: &str) -> String {
    format!("{{port: {{number: {port}, name: http-{port}, protocol: HTTP}}, hosts: [{hosts}]}}")
}

fn https(name: &str, hosts: &str, tls: &str) -> String {
    format!("{{port: {{number: 443, name: {name}, protocol: HTTPS}}, hosts: [{hosts}], tls: {{{tls}}}}}")
}

fn passthrough(name: &str, hosts: &str) -> String {
    format!(
        "{{port: {{number: 443, name: {name}, protocol: TLS}}, hosts: [{hosts}], tls: {{mode: PASSTHROUGH}}}}"
    )
}

const SIMPLE: &str = "mode: SIMPLE, credentialName: c";
const MUTUAL: &str = "mode: MUTUAL, credentialName: c";

/// A VirtualService of namespace `shop`; `routes` is the rest of its spec.
fn service(name: &str, hosts: &str, gateways: &str, routes: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{hosts: [{hosts}], gateways: [{gateways}], {routes}}}\n"
    )
}

/// All requests to a service.
fn to(host: &str) -> String {
    format!("http: [{{route: [{{destination: {{host: {host}, port: {{number: 9080}}}}}}]}}]")
}

/// Connections for an SNI to a service.
fn by_sni(sni: &str, host: &str) -> String {
    format!(
        "tls: [{{match: [{{sniHosts: [{sni}]}}], route: [{{destination: {{host: {host}, port: {{number: 9080}}}}}}]}}]"
    )
}

fn services() -> String {
    ["a", "b"]
        .map(|name| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
                 spec: {{clusterIP: None, selector: {{app: {name}}}, ports: [{{port: 9080, name: http}}]}}\n"
            )
        })
        .concat()
}

/// The resources of a gateway, and the warnings that the authors get.
fn got(parts: &[String]) -> (Resources, Vec<String>) {
    let text = services() + &parts.concat();
    let lost = snapshot(&[&text]).catalog.conflicts();
    let lost = lost.iter().map(|w| format!("{}: {}: {}", w.object, w.path, w.reason)).collect();
    (Resources::of(&[&text], &Scope { pod: "other".into(), ..gate() }), lost)
}

/// The chain of a connection, selected as in Envoy.
fn chain<'a>(got: &'a Resources, port: u16, sni: &str) -> Option<&'a FilterChain> {
    let listener = got.listeners().find(|l| l.address.port() == port)?;
    let names = |c: &FilterChain| c.criteria.server_names.clone();
    let all: Vec<String> = listener.chains.iter().flat_map(names).collect();
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "Envoy takes no two chains for one SNI: {all:?}");
    let any = listener.chains.iter().filter(|c| c.criteria.server_names.is_empty()).count();
    assert!(any <= 1, "Envoy takes no two chains without conditions");
    let closest = crate::catalog::host::closest(sni, all.iter().map(String::as_str));
    let named =
        closest.and_then(|closest| listener.chains.iter().find(|c| names(c).iter().any(|n| n == closest)));
    named.or_else(|| listener.chains.iter().find(|c| c.criteria.server_names.is_empty()))
}

/// The outcome of a request for a host on a connection with an SNI: a cluster, or the response.
fn respond(got: &Resources, port: u16, sni: &str, host: &str) -> String {
    let Some(chain) = chain(got, port, sni) else { return "closed".into() };
    let Protocol::Http(http) = &chain.protocol else {
        let Protocol::Tcp(tcp) = &chain.protocol else { unreachable!() };
        return tcp.clusters.names().join(",");
    };
    let RouteSource::Rds(table) = &http.routes else { panic!("a gateway's routes have a name") };
    let table = got.tables().find(|t| t.name == *table).expect("the table is there");
    let domains = table.virtual_hosts.iter().flat_map(|h| h.domains.iter().map(String::as_str));
    let Some(closest) = crate::catalog::host::closest(host, domains) else { return "no host".into() };
    let found = table.virtual_hosts.iter().find(|h| h.domains.iter().any(|d| d == closest));
    outcome(found.expect("one of them has the domain"), chain.tls.is_some())
}

fn outcome(host: &VirtualHost, tls: bool) -> String {
    if host.require_tls && !tls {
        return "redirect".into();
    }
    match host.routes.first().map(|r| &r.action) {
        None => format!("no route in {}", host.name),
        Some(RouteAction::Direct { status, .. }) => status.to_string(),
        Some(_) => clusters_of(host).first().map(|(name, _)| name.clone()).unwrap_or_default(),
    }
}

const A: &str = "outbound|9080||a.shop.svc.cluster.local";
const B: &str = "outbound|9080||b.shop.svc.cluster.local";

#[test]
fn a_request_for_another_servers_host_gets_421_and_for_an_unknown_host_404() {
    for (first, second) in [(SIMPLE, SIMPLE), (SIMPLE, MUTUAL), (MUTUAL, "mode: ISTIO_MUTUAL")] {
        let (got, lost) = got(&[
            gateway("one", &[&https("h1", "a.test", first)]),
            gateway("two", &[&https("h2", "b.test", second)]),
            // Bound to both, so that only the connection distinguishes them.
            service("a", "a.test", "one, two", &to("a")),
            service("b", "b.test", "one, two", &to("b")),
        ]);
        for (sni, host, expected) in [
            ("a.test", "a.test", A),
            ("b.test", "b.test", B),
            ("a.test", "b.test", "421"),
            ("b.test", "a.test", "421"),
            ("a.test", "nobody.test", "no host"),
        ] {
            assert_eq!(respond(&got, 443, sni, host), expected, "{sni} {host}");
        }
        assert_eq!(lost, [""; 0]);
    }
}

#[test]
fn only_the_most_specific_server_serves_a_host() {
    let (got, _) = got(&[
        gateway("all", &[&https("h0", "'*'", SIMPLE)]),
        gateway("wide", &[&https("h1", "'*.a.test'", SIMPLE)]),
        gateway("close", &[&https("h2", "x.a.test", MUTUAL), &https("h3", "y.a.test, z.test", SIMPLE)]),
        service("wide", "'*.a.test'", "wide", &to("a")),
        service("close", "x.a.test", "wide, close, all", &to("b")),
        service("narrow", "n.a.test", "wide", &to("b")),
        service("rest", "'*'", "all", &to("a")),
    ]);
    for (sni, host, expected) in [
        ("q.a.test", "q.a.test", A),
        ("q.a.test", "n.a.test", B),
        ("q.a.test", "x.a.test", "421"),
        ("q.a.test", "y.a.test", "421"),
        ("q.a.test", "other.test", "421"),
        ("x.a.test", "x.a.test", B),
        ("x.a.test", "q.a.test", "421"),
        // It has no routes, and no other object may provide any for it.
        ("y.a.test", "y.a.test", "no route in y.a.test:443"),
        ("y.a.test", "z.test", "no route in z.test:443"),
        ("", "x.a.test", "421"),
        ("", "q.a.test", "421"),
        ("", "other.test", A),
    ] {
        assert_eq!(respond(&got, 443, sni, host), expected, "{sni} {host}");
    }
}

#[test]
fn a_host_of_a_passthrough_server_may_belong_to_another_server_too() {
    let (got, _) = got(&[
        gateway("one", &[&https("h1", "a.test", SIMPLE), &passthrough("p", "'*.p.test'")]),
        service("a", "a.test", "one", &to("a")),
        service("p", "x.p.test", "one", &by_sni("x.p.test", "b")),
    ]);
    assert_eq!(respond(&got, 443, "a.test", "x.p.test"), "421");
    assert_eq!(respond(&got, 443, "x.p.test", ""), B);
    assert_eq!(respond(&got, 443, "y.p.test", ""), "closed");
}

#[test]
fn a_tls_server_ignores_settings_for_plaintext_and_other_modes() {
    let (got, lost) = got(&[
        gateway(
            "one",
            &[
                &https(
                    "h1",
                    "a.test",
                    "mode: SIMPLE, credentialName: c, privateKey: /k, httpsRedirect: true",
                ),
                &passthrough("p", "'*.p.test'")
                    .replace("mode: P", "credentialName: c, httpsRedirect: true, mode: P"),
            ],
        ),
        service("a", "a.test", "one", &to("a")),
        service("p", "'*.p.test'", "one", &by_sni("'*-x.p.test', y.p.test", "b")),
    ]);
    assert_eq!(respond(&got, 443, "a.test", "a.test"), A);
    assert_eq!(respond(&got, 443, "y.p.test", ""), B);
    // A wildcard within a label is not a valid server name: Envoy would refuse the listener.
    assert_eq!(respond(&got, 443, "z-x.p.test", ""), "closed");
    assert_eq!(lost, [""; 0]);
}

#[test]
fn a_gateway_accepts_requests_with_an_ipv6_address_as_host() {
    let (got, _) =
        got(&[gateway("one", &[&http(80, "'*'")]), service("a", "'2001:db8::1'", "one", &to("a"))]);
    assert_eq!(respond(&got, 80, "", "[2001:db8::1]"), A);
}

#[test]
fn an_unknown_host_gets_404_however_many_hosts_there_are() {
    let many: Vec<String> =
        (0..300).map(|i| https(&format!("h{i}"), &format!("s{i}.test"), SIMPLE)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let own = https("own", "'*.a.test'", SIMPLE);
    let near = https("near", "x.a.test", SIMPLE);
    let (got, _) = got(&[
        gateway("many", &many),
        gateway("own", &[&own, &near]),
        service("a", "'*.a.test'", "own", &to("a")),
    ]);
    for (host, expected) in
        [("q.a.test", A), ("x.a.test", "421"), ("s7.test", "421"), ("nobody.test", "no host")]
    {
        assert_eq!(respond(&got, 443, "q.a.test", host), expected, "{host}");
    }
}

#[test]
fn route_tables_with_too_many_foreign_hosts_use_parent_wildcards() {
    let many: Vec<String> =
        (0..600).map(|i| https(&format!("h{i}"), &format!("s{i}.b.test, s{i}.test"), SIMPLE)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let own = https("own", "'*.a.test'", SIMPLE);
    let near = https("near", "x.a.test", SIMPLE);
    let (got, _) = got(&[
        gateway("many", &many),
        gateway("own", &[&own, &near]),
        service("a", "'*.a.test'", "own", &to("a")),
        service("b", "s8.b.test", "many", &to("b")),
    ]);
    for (sni, host, expected) in [
        ("q.a.test", "q.a.test", A),
        ("q.a.test", "x.a.test", "421"),
        ("q.a.test", "s7.b.test", "421"),
        // Neither has a parent domain; a few of such hosts are listed, sorted by name.
        ("q.a.test", "s100.test", "421"),
        ("q.a.test", "s7.test", "no host"),
        ("q.a.test", "nobody.test", "no host"),
        ("s8.b.test", "s8.b.test", B),
        ("s8.b.test", "s7.b.test", "421"),
    ] {
        assert_eq!(respond(&got, 443, sni, host), expected, "{sni} {host}");
    }
    let table = got.tables().find(|t| t.name == "https.443.own.own.shop").unwrap();
    assert!(table.virtual_hosts.iter().map(|h| h.domains.len()).sum::<usize>() < 300);
}

#[test]
fn the_second_of_two_virtual_services_with_a_server_name_is_reported() {
    let (got, lost) = got(&[
        gateway("pass", &[&passthrough("p", "'*.p.test'")]),
        service("first", "x.p.test", "pass", &by_sni("x.p.test", "a")),
        service("second", "x.p.test, y.p.test", "pass", &by_sni("x.p.test, y.p.test", "b")),
    ]);
    assert_eq!(respond(&got, 443, "x.p.test", ""), A);
    assert_eq!(respond(&got, 443, "y.p.test", ""), B);
    let expected = "VirtualService shop/second: spec.tls[0].match[0].sniHosts[0]: VirtualService shop/first, which comes \
                first by name, takes connections for `x.p.test`; here it has no effect";
    assert_eq!(lost, [expected]);
}

#[test]
fn the_second_of_two_http_routes_with_the_same_conditions_is_reported() {
    let path = |path: &str, host: &str| {
        format!(
            "http: [{{match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: {host}, port: {{number: 9080}}}}}}]}}]"
        )
    };
    // Hosts of the first VirtualService, of the gateway and of the second; routes; where the second loses.
    let table = [
        (["a.test", "'*'", "a.test"], to("a"), to("b"), Some("a.test")),
        (["a.test", "'*'", "b.test"], to("a"), to("b"), None),
        (["a.test", "'*'", "a.test"], to("a"), path("/x", "b"), None),
        (["a.test", "'*'", "a.test"], path("/x", "a"), path("/x", "b"), Some("a.test")),
        (["a.test", "'*'", "a.test"], path("/x", "a"), path("/y", "b"), None),
        (["a.test", "'*'", "a.test"], to("a"), path("/", "b"), Some("a.test")),
        (["'*'", "'*', '*.a.test'", "'*.a.test'"], to("a"), to("b"), Some("*.a.test")),
    ];
    for ([one, hosts, other], first, second, lost_at) in table {
        let (_, lost) = got(&[
            gateway("g", &[&http(80, hosts)]),
            service("first", one, "g", &first),
            service("second", other, "g", &second),
        ]);
        let expected = lost_at.map(|host| {
            format!(
                "VirtualService shop/second: spec.http[0]: VirtualService shop/first, which comes first by name, routes \
                 the same requests to `{host}`; this route has no effect there"
            )
        });
        assert_eq!(lost, expected.into_iter().collect::<Vec<_>>(), "{one} {first} {other} {second}");
    }
}

#[test]
fn a_server_name_belongs_to_the_most_specific_server() {
    let (got, lost) = got(&[
        gateway("pass", &[&passthrough("p", "'*.a.test'")]),
        gateway("ends", &[&https("h", "x.a.test", SIMPLE)]),
        service("passed", "'*.a.test'", "pass", &by_sni("x.a.test, '*.a.test'", "a")),
        service("ended", "x.a.test", "ends", &to("b")),
    ]);
    assert_eq!(respond(&got, 443, "x.a.test", "x.a.test"), B);
    assert_eq!(respond(&got, 443, "q.a.test", ""), A);
    let expected = "VirtualService shop/passed: spec.tls[0].match[0].sniHosts[0]: Gateway shop/ends, which names it \
                more closely, takes connections for `x.a.test`; here it has no effect";
    assert_eq!(lost, [expected]);
}

#[test]
fn the_second_of_two_servers_with_a_host_is_reported() {
    let (got, lost) = got(&[
        gateway("one", &[&https("h", "x.test", SIMPLE)]),
        gateway("two", &[&https("h", "x.test, y.test", SIMPLE)]),
        service("a", "x.test", "one", &to("a")),
        service("b", "x.test, y.test", "two", &to("b")),
    ]);
    assert_eq!(respond(&got, 443, "x.test", "x.test"), A);
    assert_eq!(respond(&got, 443, "y.test", "y.test"), B);
    assert_eq!(respond(&got, 443, "y.test", "x.test"), "421");
    let expected = "Gateway shop/two: spec.servers[0].hosts[0]: Gateway shop/one, which comes first by name, serves \
                `x.test` on the same port; here it has no effect";
    assert_eq!(lost, [expected]);
}

#[test]
fn passthrough_servers_of_several_gateways_share_a_host() {
    let (got, lost) = got(&[
        gateway("one", &[&passthrough("p", "'*.p.test'")]),
        gateway("two", &[&passthrough("p", "'*.p.test'")]),
        service("a", "a.p.test", "one", &by_sni("a.p.test", "a")),
        service("b", "b.p.test", "two", &by_sni("b.p.test", "b")),
    ]);
    assert_eq!(
        (respond(&got, 443, "a.p.test", ""), respond(&got, 443, "b.p.test", "")),
        (A.into(), B.into())
    );
    assert_eq!(lost, [""; 0]);
}

#[test]
fn the_first_gateway_decides_the_protocol_of_a_port() {
    let tcp = "{port: {number: 80, name: tcp, protocol: TCP}, hosts: ['*']}";
    let routed = "tcp: [{route: [{destination: {host: a, port: {number: 9080}}}]}]";
    let (first, lost) = got(&[gateway("alpha", &[tcp]), gateway("beta", &[&http(80, "a.test")])]);
    assert_eq!(respond(&first, 80, "", "a.test"), "closed", "nothing leads to the TCP server");
    assert_eq!(lost.len(), 1, "{lost:?}");
    let (first, _) = got(&[gateway("alpha", &[&http(80, "a.test")]), gateway("beta", &[tcp])]);
    assert_eq!(respond(&first, 80, "", "a.test"), "no route in blackhole:80");
    let (first, lost) = got(&[
        gateway("alpha", &[tcp]),
        gateway("beta", &[tcp]),
        service("one", "'*'", "alpha", routed),
        service("two", "'*'", "alpha", &routed.replace("host: a", "host: b")),
        service("three", "'*'", "beta", routed),
    ]);
    assert_eq!(respond(&first, 80, "", ""), A);
    let objects: Vec<_> = lost.iter().map(|l| l.split(": ").next().unwrap()).collect();
    assert_eq!(objects, ["VirtualService shop/two", "Gateway shop/beta"]);
}

#[test]
fn a_server_that_redirects_to_https_keeps_its_routes_for_https_requests() {
    let redirecting = http(80, "a.test, b.test").replace("hosts:", "tls: {httpsRedirect: true}, hosts:");
    let plain = http(80, "b.test");
    for order in [["alpha", "beta"], ["beta", "alpha"]] {
        let (got, _) = got(&[
            gateway(order[0], &[&redirecting]),
            gateway(order[1], &[&plain]),
            service("a", "a.test", order[0], &to("a")),
            service("b", "b.test", order[1], &to("b")),
        ]);
        let hosts = [got.host("http.80", "a.test:80"), got.host("http.80", "b.test:80")];
        for (host, cluster) in hosts.into_iter().zip([A, B]) {
            assert_eq!(outcome(host, false), "redirect", "{order:?}");
            assert_eq!(outcome(host, true), cluster, "{order:?}");
        }
    }
}

#[test]
fn a_gateway_that_names_its_services_listens_only_on_their_ports() {
    let entry = |name: &str, labels: &str, port: u16, target: u16| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: gates, labels: {{{labels}}}}}\n\
             spec: {{clusterIP: None, selector: {{istio: ingressgateway}}, ports: [{{port: {port}, targetPort: {target}, name: http}}]}}\n"
        )
    };
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: gate-1, namespace: gates, labels: {istio: ingressgateway}}\n\
               spec: {containers: [{name: c, command: [x]}]}\nstatus: {podIP: 10.244.0.9, phase: Running}\n";
    let listening = |gateway: String, services: &[String]| {
        let text = format!("{}{pod}{gateway}---{}", services.concat(), SHOP);
        Resources::of(&[&text], &gate()).listeners().map(|l| l.address.port()).collect::<Vec<_>>()
    };
    let both = gateway("g", &[&http(80, "a.test"), &http(82, "b.test")]);
    let named = |host: &str| {
        let annotated =
            format!("namespace: gates, annotations: {{internal.istio.io/gateway-service: '{host}'}}}}");
        both.replace("namespace: shop}", &annotated)
    };
    let one = [entry("one", "", 80, 8080)];
    assert_eq!(listening(both.clone(), &one), [82, 8080], "a port that no Service has stays as it is");
    assert_eq!(listening(named("one.gates.svc.cluster.local"), &one), [8080]);
    assert_eq!(listening(named("other.gates.svc.cluster.local"), &one), [0; 0]);
    let two = [entry("one", "", 80, 8080), entry("two", "", 80, 8081)];
    assert_eq!(listening(both.clone(), &two), [82, 8080, 8081]);
    assert_eq!(
        listening(named("two.gates.svc.cluster.local, one.gates.svc.cluster.local"), &two),
        [8080, 8081]
    );
    let label = "experimental.istio.io/disable-gateway-port-translation: 'true'";
    let two = [entry("one", label, 80, 8080), entry("two", "", 80, 8081)];
    assert_eq!(listening(both, &two), [82, 8081]);
}

#[test]
fn chains_and_routes_have_istios_names() {
    let first = to("a").replace("http: [{", "http: [{name: first, match: [{uri: {prefix: /a}}], ");
    let routes = first.replace("}]}]", "}]}, {route: [{destination: {host: b, port: {number: 9080}}}]}]");
    let (got, _) = got(&[
        gateway("one", &[&http(80, "a.test"), &https("h1", "a.test", SIMPLE)]),
        service("a", "a.test", "one", &routes),
    ]);
    for (port, table) in [(80, "http.80"), (443, "https.443.h1.one.shop")] {
        assert_eq!(chain(&got, port, "a.test").map(|c| c.name.as_str()), Some(""));
        let host = got.host(table, &format!("a.test:{port}"));
        let names: Vec<&str> = host.routes.iter().map(|r| r.name.as_str()).collect();
        // A route without a written name has none; `default` is the name for a service without a VirtualService.
        assert_eq!(names, ["first", ""], "{table}");
    }
}
