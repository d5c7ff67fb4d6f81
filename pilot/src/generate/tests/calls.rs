//! Requests of an application, followed through the listeners and route tables of a sidecar: the cases of Istio's own
//! simulations, and every name of every service.

use super::{Resources, SHOP, scope};
use api::model::cluster::{ClusterTls, Discovery};
use api::model::listener::{ChainMatch, FilterChain, Listener, Protocol, RouteSource, Transport};
use api::model::matcher::StringMatch;
use api::model::route::{ClusterChoice, PathMatch, RouteAction, RouteConfiguration};
use api::model::tls::RootSource;
use ipnet::IpNet;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

/// What a connection reveals: HTTP host, SNI, or neither.
#[derive(Debug, Clone, Copy)]
enum Shown<'a> {
    Http(&'a str),
    Tls(&'a str),
    Nothing,
}

use Shown::{Http, Nothing, Tls};

/// The listener and the cluster of a request, as `0.0.0.0_80 outbound|80||a`; the name of the virtual host if it
/// responds itself.
fn call(got: &Resources, to: &str, shown: Shown<'_>) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let unbound = || got.listeners().filter(|l| !l.bind_to_port);
    let any = SocketAddr::new("0.0.0.0".parse().unwrap(), to.port());
    let found = unbound().find(|l| l.address == to).or_else(|| unbound().find(|l| l.address == any));
    let listener = found.unwrap_or_else(|| got.listener("virtualOutbound"));
    let chain = chain(listener, to, shown);
    let outcome = match (&chain.protocol, shown) {
        (Protocol::Tcp(tcp), _) => tcp.clusters.names()[0].to_owned(),
        (Protocol::Http(http), Http(host)) => {
            let RouteSource::Rds(name) = &http.routes else { panic!("{http:?}") };
            routed(got.tables().find(|t| t.name == *name).unwrap(), host)
        }
        (Protocol::Http(_), _) => panic!("{shown:?} is taken for HTTP"),
    };
    format!("{} {outcome}", listener.name)
}

/// How specifically criteria match; `None`: not at all.
type Step<'a> = dyn Fn(&ChainMatch) -> Option<usize> + 'a;

/// Selects a chain in Envoy's order: address, server name, transport, protocol, without backtracking.
fn chain<'a>(listener: &'a Listener, to: SocketAddr, shown: Shown<'_>) -> &'a FilterChain {
    let longest = |nets: &[IpNet]| match nets {
        [] => Some(0),
        nets => nets.iter().filter(|n| n.contains(&to.ip())).map(|n| n.prefix_len() + 1).max(),
    };
    let name = |names: &[String]| match (names, shown) {
        ([], _) => Some(0),
        (names, Tls(sni)) => names.iter().filter_map(|n| matched(n, sni)).max(),
        _ => None,
    };
    let transport = |wanted: Option<Transport>| match (wanted, shown) {
        (None, _) => Some(0),
        (Some(Transport::Tls), Tls(_)) | (Some(Transport::Raw), Http(_) | Nothing) => Some(1),
        _ => None,
    };
    let protocol = |wanted: &[String]| match (wanted, shown) {
        ([], _) => Some(0),
        (_, Http(_)) if listener.inspect.http.contains(to.port()) => Some(1),
        _ => None,
    };
    let steps: [&Step<'_>; 4] = [
        &|c| longest(&c.destination).map(usize::from),
        &|c| name(&c.server_names),
        &|c| transport(c.transport),
        &|c| protocol(&c.application_protocols),
    ];
    let mut left: Vec<&FilterChain> =
        listener.chains.iter().filter(|c| c.criteria.destination_port.is_none()).collect();
    for step in steps {
        let best = left.iter().filter_map(|c| step(&c.criteria)).max();
        left.retain(|c| best.is_some() && step(&c.criteria) == best);
    }
    assert!(left.len() < 2, "{shown:?} at {to} has two chains in {}", listener.name);
    left.first().copied().or(listener.default_chain.as_ref()).unwrap()
}

fn matched(pattern: &str, name: &str) -> Option<usize> {
    match pattern.strip_prefix('*') {
        Some(suffix) => (name.ends_with(suffix) && name.len() > suffix.len()).then_some(pattern.len()),
        None => (pattern == name).then_some(usize::MAX),
    }
}

fn routed(table: &RouteConfiguration, host: &str) -> String {
    assert!(table.ignore_port_in_host);
    // The proxy normalizes a host this way before it looks it up.
    let host = host.rsplit_once(':').filter(|(_, p)| p.parse::<u16>().is_ok()).map_or(host, |(h, _)| h);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let domains = table.virtual_hosts.iter().flat_map(|h| h.domains.iter().map(move |d| (d, h)));
    let (_, host) = domains
        .filter_map(|(domain, found)| Some((matched(domain, &host)?, found)))
        .max_by_key(|(rank, _)| *rank)
        .unwrap();
    match &host.routes[0].action {
        RouteAction::Forward(forward) => match &forward.clusters {
            ClusterChoice::Single(cluster) => cluster.clone(),
            other => panic!("{other:?}"),
        },
        RouteAction::Direct { .. } => host.name.clone(),
        other @ RouteAction::Redirect(_) => panic!("{other:?}"),
    }
}

fn check(texts: &[&str], calls: &[(&str, Shown<'_>, &str)]) {
    let got = Resources::of(texts, &scope("x", "shop", &[]));
    for (to, shown, expected) in calls {
        assert_eq!(call(&got, to, *shown), *expected, "{shown:?} to {to}");
    }
}

const REGISTRY_ONLY: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'}
";

fn service(name: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

fn entry(name: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {spec}\n"
    )
}

fn route(host: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs, namespace: shop}}\n\
         spec: {{hosts: ['{host}'], {spec}}}\n"
    )
}

const PORTS: &str = "[{name: http, port: 80}, {name: auto, port: 81}, {name: tcp, port: 82}, {name: tls, port: 83}, \
                     {name: https, port: 84}]";

#[test]
fn a_headless_service_accepts_every_protocol_at_its_pods() {
    let headless =
        service("peers-2", &format!("{{clusterIP: None, selector: {{app: reviews}}, ports: {PORTS}}}"));
    let to = "outbound|{}||peers-2.shop.svc.cluster.local";
    let at = |port: u16| format!("10.244.0.1:{port}");
    for (port, shown, listener) in [
        (80, Http("peers-2"), "0.0.0.0_80"),
        (80, Http("reviews-0.peers-2.shop"), "0.0.0.0_80"),
        (81, Http("anything.test"), "10.244.0.1_81"),
        (81, Tls("x"), "10.244.0.1_81"),
        (81, Nothing, "10.244.0.1_81"),
        (82, Nothing, "10.244.0.1_82"),
        (83, Tls("peers-2.shop"), "10.244.0.1_83"),
        (84, Tls("peers-2.shop"), "10.244.0.1_84"),
    ] {
        let expected = format!("{listener} {}", to.replace("{}", &port.to_string()));
        check(&[SHOP, &headless], &[(&at(port), shown, &expected)]);
    }
}

#[test]
fn a_headless_service_is_reached_at_its_pods_ports() {
    let ports = "[{name: http, port: 80, targetPort: 8080}, {name: auto, port: 81, targetPort: 8081}, {name: tcp, port: \
                 82, targetPort: 8082}, {name: both, port: 83, targetPort: 82}]";
    let headless =
        service("peers-2", &format!("{{clusterIP: None, selector: {{app: reviews}}, ports: {ports}}}"));
    for (number, shown, port) in [
        (8080, Http("reviews-0.peers-2.shop:8080"), 80),
        (8080, Nothing, 80),
        (8081, Http("any"), 81),
        (8081, Nothing, 81),
        (8082, Nothing, 82),
        (82, Nothing, 82),
        (81, Nothing, 81),
    ] {
        let expected = format!("10.244.0.1_{number} outbound|{port}||peers-2.shop.svc.cluster.local");
        check(&[SHOP, &headless], &[(&format!("10.244.0.1:{number}"), shown, &expected)]);
    }
}

#[test]
fn endpoints_objects_are_used_if_a_selector_matches_no_pod() {
    let headless = service("far", &format!("{{clusterIP: None, selector: {{app: far}}, ports: {PORTS}}}"));
    let slice = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: far, namespace: shop, labels: {kubernetes.io/service-name: far}}
addressType: IPv4
endpoints: [{addresses: [1.2.3.4]}]
ports: [{name: tcp, port: 82}]
";
    let far = "1.2.3.4_82 outbound|82||far.shop.svc.cluster.local";
    check(&[&headless, slice], &[("1.2.3.4:82", Nothing, far)]);
}

#[test]
fn two_tcp_entries_have_separate_addresses_and_none_owns_the_port() {
    let text = ["a", "b"].map(|n| {
        let spec = format!(
            "{{hosts: [mysql-{n}.test], resolution: DNS, ports: [{{name: tcp, number: 3306, protocol: TCP}}], \
             endpoints: [{{address: db-{n}.test}}]}}"
        );
        entry(&format!("store-{n}"), &spec)
    });
    let text = text.concat();
    for (policy, rest) in [("", "PassthroughCluster"), (REGISTRY_ONLY, "BlackHoleCluster")] {
        let got = Resources::of(&[policy, &text], &scope("x", "shop", &[]));
        let names = got.names();
        for name in ["a", "b"] {
            let address = names.hosts[&format!("mysql-{name}.test")].addresses[0];
            let expected = format!("{address}_3306 outbound|3306||mysql-{name}.test");
            assert_eq!(call(&got, &format!("{address}:3306"), Nothing), expected);
        }
        for other in ["10.244.0.4:3306", "240.1.2.3:3306"] {
            assert_eq!(call(&got, other, Nothing), format!("virtualOutbound {rest}"));
        }
    }
}

#[test]
fn an_entry_without_an_address_matches_only_connections_that_show_its_name() {
    let ports = "[{name: http, number: 80, protocol: HTTP}, {name: auto, number: 81}, {name: tcp, number: 82, \
                 protocol: TCP}, {name: tls, number: 83, protocol: TLS}, {name: grpc, number: 85, protocol: GRPC}]";
    let text = entry("se", &format!("{{hosts: [istio.io], resolution: DNS, ports: {ports}}}"));
    for (policy, rest, host) in
        [("", "PassthroughCluster", "PassthroughCluster"), (REGISTRY_ONLY, "BlackHoleCluster", "block_all")]
    {
        let got = Resources::of(&[policy, &text], &scope("x", "shop", &[]));
        for (port, shown, expected) in [
            (80, Http("foo"), format!("0.0.0.0_80 {host}")),
            (80, Http("istio.io:8080"), "0.0.0.0_80 outbound|80||istio.io".into()),
            (80, Tls("istio.io"), format!("0.0.0.0_80 {rest}")),
            (80, Nothing, format!("0.0.0.0_80 {rest}")),
            (81, Http("foo"), format!("0.0.0.0_81 {host}")),
            (81, Http("istio.io"), "0.0.0.0_81 outbound|81||istio.io".into()),
            (81, Tls("istio.io"), "0.0.0.0_81 outbound|81||istio.io".into()),
            (81, Nothing, format!("0.0.0.0_81 {rest}")),
            (82, Nothing, format!("virtualOutbound {rest}")),
            (83, Tls("istio.io"), "0.0.0.0_83 outbound|83||istio.io".into()),
            (83, Tls("foo"), format!("0.0.0.0_83 {rest}")),
            (83, Http("istio.io"), format!("0.0.0.0_83 {rest}")),
            (85, Http("foo"), format!("0.0.0.0_85 {host}")),
        ] {
            assert_eq!(call(&got, &format!("1.3.3.7:{port}"), shown), expected, "{shown:?} on {port}");
        }
    }
}

#[test]
fn entries_without_endpoints_or_with_pods_are_reached_as_in_istio() {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]";
    let text = [
        entry("bare", "{hosts: [bare.test]}"),
        entry("empty", &format!("{{hosts: [empty.test], resolution: STATIC, {ports}}}")),
        entry(
            "pods",
            &format!("{{hosts: [pods.test], resolution: DNS, {ports}, workloadSelector: {{labels: {{app: reviews}}}}}}"),
        ),
        entry("any", &format!("{{hosts: [any.test], resolution: STATIC, {ports}, workloadSelector: {{}}}}")),
    ]
    .concat();
    check(
        &[SHOP, &text],
        &[
            ("192.0.2.1:80", Http("bare.test"), "0.0.0.0_80 PassthroughCluster"),
            ("192.0.2.1:80", Http("empty.test"), "0.0.0.0_80 outbound|80||empty.test"),
            ("192.0.2.1:443", Tls("empty.test"), "0.0.0.0_443 outbound|443||empty.test"),
            ("192.0.2.1:80", Http("pods.test"), "0.0.0.0_80 outbound|80||pods.test"),
        ],
    );
    let got = Resources::of(&[SHOP, &text], &scope("x", "shop", &[]));
    assert_eq!(got.endpoints("outbound|80||empty.test"), [""; 0]);
    for host in ["pods.test", "any.test"] {
        assert_eq!(got.endpoints(&format!("outbound|80||{host}")).len(), 2, "{host}");
    }
}

#[test]
fn a_target_port_applies_if_clients_reach_the_address_that_they_connect_to() {
    let spec = "{hosts: [none.test], addresses: [192.0.2.7], ports: [{number: 80, name: http, protocol: HTTP, targetPort: \
                8080}, {number: 81, name: tcp, protocol: TCP, targetPort: 81}]}";
    let got = Resources::of(&[&entry("none", spec)], &scope("x", "shop", &[]));
    let discovery = |port: u16| &got.cluster(&format!("outbound|{port}||none.test")).discovery;
    assert_eq!(*discovery(80), Discovery::OriginalDestination { port: Some(8080) });
    assert_eq!(*discovery(81), Discovery::OriginalDestination { port: None });
}

#[test]
fn a_wildcard_within_a_label_is_valid_as_host_and_not_as_server_name() {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]";
    let to = "route: [{destination: {host: reviews}}]";
    let text = [
        entry("part", &format!("{{hosts: ['*example.test'], {ports}}}")),
        entry("wild", &format!("{{hosts: ['*.wild.test'], {ports}}}")),
        route(
            "*.wild.test",
            &format!("tls: [{{match: [{{sniHosts: ['*-a.wild.test', b.wild.test]}}], {to}}}]"),
        ),
    ]
    .concat();
    check(
        &[SHOP, &text],
        &[
            ("192.0.2.1:80", Http("x-example.test"), "0.0.0.0_80 outbound|80||*example.test"),
            ("192.0.2.1:443", Tls("x-example.test"), "0.0.0.0_443 PassthroughCluster"),
            ("192.0.2.1:443", Nothing, "0.0.0.0_443 PassthroughCluster"),
            (
                "192.0.2.1:443",
                Tls("b.wild.test"),
                "0.0.0.0_443 outbound|9080||reviews.shop.svc.cluster.local",
            ),
            ("192.0.2.1:443", Tls("x-a.wild.test"), "0.0.0.0_443 PassthroughCluster"),
        ],
    );
}

#[test]
fn a_route_leads_to_a_wildcard_service_and_an_empty_prefix_matches_everything() {
    let text = [
        entry("wild", "{hosts: ['*.wild.test'], ports: [{number: 80, name: http, protocol: HTTP}]}"),
        route(
            "reviews",
            "http: [{match: [{uri: {prefix: ''}}], mirrorPercentage: {value: 50}, route: [{destination: {host: \
             '*.wild.test'}}]}]",
        ),
    ]
    .concat();
    let got = Resources::of(&[SHOP, &text], &scope("x", "shop", &[]));
    let host = got.host("9080", "reviews.shop.svc.cluster.local:9080");
    let [only] = &host.routes[..] else { panic!("{:?}", host.routes) };
    assert_eq!(only.criteria.path, PathMatch::Prefix(String::new()));
    let RouteAction::Forward(forward) = &only.action else { panic!("{:?}", only.action) };
    assert_eq!(forward.clusters.names(), ["outbound|80||*.wild.test"]);
    assert_eq!(forward.mirrors, []);
}

#[test]
fn a_virtual_service_for_an_address_matches_requests_with_that_host() {
    let to = "http: [{route: [{destination: {host: reviews}}]}]";
    for (host, authority) in [("2001:DB8::1", "[2001:db8::1]:80"), ("192.0.2.9", "192.0.2.9")] {
        let expected = "0.0.0.0_80 outbound|9080||reviews.shop.svc.cluster.local";
        // Some service must have the port.
        let http = entry("other", "{hosts: [other.test], ports: [{number: 80, name: http, protocol: HTTP}]}");
        check(&[SHOP, &http, &route(host, to)], &[("192.0.2.1:80", Http(authority), expected)]);
    }
}

#[test]
fn a_redirect_to_another_host_includes_only_a_port_that_is_not_the_default() {
    let table = [
        ("authority: b.test, derivePort: FROM_REQUEST_PORT", Some(9080)),
        ("authority: b.test, derivePort: FROM_PROTOCOL_DEFAULT", None),
        ("authority: b.test, scheme: https, derivePort: FROM_PROTOCOL_DEFAULT", None),
        ("authority: b.test, port: 80", None),
        ("authority: b.test, port: 443", Some(443)),
        ("authority: b.test, scheme: https, port: 443", None),
        ("authority: b.test, port: 8443", Some(8443)),
        // The host stays as the client wrote it, with its port, unless another port is set.
        ("uri: /, derivePort: FROM_REQUEST_PORT", None),
        ("uri: /, derivePort: FROM_PROTOCOL_DEFAULT", None),
        ("scheme: https, derivePort: FROM_PROTOCOL_DEFAULT", Some(443)),
        ("port: 80", Some(80)),
    ];
    for (written, expected) in table {
        let text = route("reviews", &format!("http: [{{redirect: {{{written}}}}}]"));
        let got = Resources::of(&[SHOP, &text], &scope("x", "shop", &[]));
        let host = got.host("9080", "reviews.shop.svc.cluster.local:9080");
        let RouteAction::Redirect(redirect) = &host.routes[0].action else { panic!("{:?}", host.routes) };
        assert_eq!(redirect.port, expected, "{written}");
    }
}

#[test]
fn a_logical_dns_cluster_has_at_most_one_name() {
    let robin = |name: &str, endpoint: &str| {
        let spec = format!(
            "{{hosts: [robin.test], resolution: DNS_ROUND_ROBIN, ports: [{{number: 80, name: http, protocol: HTTP}}], \
             endpoints: [{{address: {endpoint}}}]}}"
        );
        entry(name, &spec)
    };
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: robin, namespace: shop}\n\
                spec: {host: robin.test, subsets: [{name: v1, labels: {version: v1}}]}\n";
    let text = [&robin("a", "a.test"), &robin("b", "b.test"), rule].concat();
    let got = Resources::of(&[&text], &scope("x", "shop", &[]));
    let Discovery::LogicalDns(whole) = &got.cluster("outbound|80||robin.test").discovery else { panic!() };
    assert_eq!(whole.endpoints().count(), 1);
    let Discovery::StrictDns(subset) = &got.cluster("outbound|80|v1|robin.test").discovery else { panic!() };
    assert_eq!(subset.endpoints().count(), 0);
}

#[test]
fn a_client_certificate_is_presented_only_in_mode_mutual() {
    let tls = |mode: &str| {
        let rule = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: store, namespace: shop}}\n\
             spec: {{host: store, trafficPolicy: {{tls: {{mode: {mode}, clientCertificate: /c, privateKey: /k, \
             caCertificates: /r}}}}}}\n"
        );
        let got = Resources::of(&[SHOP, &rule], &scope("x", "shop", &[]));
        let cluster = got.cluster("outbound|6379||store.shop.svc.cluster.local");
        let ClusterTls::Always(tls) = &cluster.tls else { panic!("{:?}", cluster.tls) };
        (tls.common.certificates.len(), tls.common.validation.as_ref().unwrap().roots.clone())
    };
    assert_eq!(tls("SIMPLE"), (0, RootSource::File("/r".into())));
    assert_eq!(tls("MUTUAL"), (1, RootSource::File("/r".into())));
}

#[test]
fn an_entrys_subject_alt_names_are_verified_unless_the_rule_has_its_own() {
    let spec = "{hosts: [api.test], resolution: DNS, subjectAltNames: [cert.test], ports: [{number: 443, name: tls, protocol: \
                TLS}]}";
    let names = |more: &str| {
        let rule = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: api, namespace: shop}}\n\
             spec: {{host: api.test, trafficPolicy: {{tls: {{mode: SIMPLE{more}}}}}}}\n"
        );
        let got = Resources::of(&[&entry("api", spec), &rule], &scope("x", "shop", &[]));
        let ClusterTls::Always(tls) = &got.cluster("outbound|443||api.test").tls else { panic!() };
        let names = tls.common.validation.iter().flat_map(|v| &v.subject_alt_names);
        (names.map(|n| n.value.clone()).collect::<Vec<_>>(), tls.auto_san)
    };
    assert_eq!(names(""), (vec![StringMatch::exact("cert.test")], false));
    assert_eq!(names(", subjectAltNames: [other.test]"), (vec![StringMatch::exact("other.test")], false));
}

#[test]
fn an_unspecified_address_claims_no_port() {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: any}, {number: 82, name: tcp, protocol: \
                 TCP}]";
    let text = [
        entry("zero", &format!("{{hosts: [zero.test], addresses: [0.0.0.0], resolution: STATIC, {ports}}}")),
        entry("other", &format!("{{hosts: [other.test], {ports}}}")),
    ]
    .concat();
    check(
        &[&text],
        &[
            ("192.0.2.1:80", Http("zero.test"), "0.0.0.0_80 outbound|80||zero.test"),
            ("192.0.2.1:81", Http("zero.test"), "0.0.0.0_81 outbound|81||zero.test"),
            ("192.0.2.1:81", Nothing, "0.0.0.0_81 PassthroughCluster"),
            ("192.0.2.1:82", Nothing, "virtualOutbound PassthroughCluster"),
        ],
    );
}

#[test]
fn an_entry_with_an_address_matches_only_that_address() {
    let ports = "[{name: http, number: 80, protocol: HTTP}, {name: auto, number: 81}, {name: tcp, number: 82, \
                 protocol: TCP}, {name: tls, number: 83, protocol: TLS}]";
    let text =
        entry("se", &format!("{{hosts: [istio.io], addresses: [1.2.3.4], resolution: DNS, ports: {ports}}}"));
    check(
        &[&text],
        &[
            ("1.3.3.7:81", Http("istio.io"), "virtualOutbound PassthroughCluster"),
            ("1.3.3.7:82", Nothing, "virtualOutbound PassthroughCluster"),
            ("1.3.3.7:83", Tls("istio.io"), "virtualOutbound PassthroughCluster"),
            ("1.2.3.4:80", Http("1.2.3.4"), "0.0.0.0_80 outbound|80||istio.io"),
            ("1.2.3.4:81", Http("any"), "1.2.3.4_81 outbound|81||istio.io"),
            ("1.2.3.4:81", Nothing, "1.2.3.4_81 outbound|81||istio.io"),
            ("1.2.3.4:83", Tls("any"), "1.2.3.4_83 outbound|83||istio.io"),
        ],
    );
}

#[test]
fn ranges_are_distinguished_by_prefix_and_equal_ones_belong_to_the_older_entry() {
    let two = |a: &str, b: &str, protocol: &str| {
        let of = |n: u8, range: &str| {
            let spec = format!(
                "{{hosts: [blah{n}.test], addresses: ['{range}'], ports: [{{number: 9999, name: p, protocol: {protocol}}}]}}"
            );
            entry(&format!("se{n}"), &spec)
        };
        [of(1, a), of(2, b)].concat()
    };
    let (one, other) = ("0.0.0.0_9999 outbound|9999||blah1.test", "0.0.0.0_9999 outbound|9999||blah2.test");
    let equal = two("10.1.2.3/16", "10.1.7.7/16", "TCP");
    check(&[&equal], &[("10.1.0.1:9999", Nothing, one)]);
    let within = two("10.1.2.3/8", "10.1.7.7/16", "TCP");
    check(&[&within], &[("10.1.0.1:9999", Nothing, other), ("10.2.0.1:9999", Nothing, one)]);
    check(&[&within], &[("11.0.0.1:9999", Nothing, "0.0.0.0_9999 PassthroughCluster")]);
    let tls = two("10.1.2.3/8", "10.1.7.7/16", "TLS");
    let vs = route(
        "blah1.test",
        "tls: [{match: [{port: 9999, sniHosts: [blah1.test]}], route: [{destination: {host: blah1.test, port: {number: 9999}}}]}]",
    );
    let rest = "0.0.0.0_9999 PassthroughCluster";
    for more in ["", &vs] {
        check(
            &[&tls, more],
            &[
                ("10.1.0.1:9999", Tls("blah2.test"), other),
                ("10.2.0.1:9999", Tls("blah1.test"), one),
                ("10.1.0.1:9999", Tls("blah1.test"), rest),
                ("10.2.0.1:9999", Tls("blah2.test"), rest),
            ],
        );
    }
}

#[test]
fn a_shared_address_belongs_to_the_older_entry_and_others_keep_theirs() {
    let of = |n: u8, addresses: &str, protocol: &str| {
        let spec = format!(
            "{{hosts: [blah{n}.test], addresses: {addresses}, ports: [{{number: 9999, name: p, protocol: {protocol}}}]}}"
        );
        entry(&format!("se{n}"), &spec)
    };
    let tcp = [of(1, "[1.1.1.1]", "TCP"), of(2, "[2.2.2.2, 1.1.1.1]", "TCP")].concat();
    check(
        &[&tcp],
        &[
            ("2.2.2.2:9999", Nothing, "2.2.2.2_9999 outbound|9999||blah2.test"),
            ("1.1.1.1:9999", Nothing, "1.1.1.1_9999 outbound|9999||blah1.test"),
        ],
    );
    // TLS has an SNI there too.
    let tls = [of(1, "[1.1.1.1]", "TLS"), of(2, "[1.1.1.1]", "TLS")].concat();
    check(
        &[&tls],
        &[
            ("1.1.1.1:9999", Tls("blah1.test"), "1.1.1.1_9999 outbound|9999||blah1.test"),
            ("1.1.1.1:9999", Tls("blah2.test"), "1.1.1.1_9999 outbound|9999||blah2.test"),
            ("1.1.1.1:9999", Tls("x.test"), "1.1.1.1_9999 outbound|9999||blah1.test"),
        ],
    );
}

#[test]
fn entries_of_one_host_are_one_service_with_the_ports_and_endpoints_of_each() {
    let text = [
        entry("a", "{hosts: [git.test], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 443, name: https, protocol: HTTPS}], endpoints: [{address: 192.0.2.1}]}"),
        entry("b", "{hosts: [git.test], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 22, name: ssh, protocol: TCP}], endpoints: [{address: 192.0.2.2}]}"),
    ]
    .concat();
    let got = Resources::of(&[&text], &scope("x", "shop", &[]));
    let address = got.names().hosts["git.test"].addresses[0];
    let ssh = call(&got, &format!("{address}:22"), Nothing);
    assert_eq!(ssh, format!("{address}_22 outbound|22||git.test"));
    assert_eq!(call(&got, "1.1.1.1:443", Tls("git.test")), "0.0.0.0_443 outbound|443||git.test");
    assert_eq!(got.endpoints("outbound|22||git.test"), ["Socket(192.0.2.2:22)"]);
    assert_eq!(got.endpoints("outbound|443||git.test"), ["Socket(192.0.2.1:443)"]);
}

#[test]
fn an_external_name_is_routed_as_its_target_service() {
    let concrete = service("concrete", &format!("{{clusterIP: 1.2.3.4, ports: {PORTS}}}"));
    let alias = service("alias", "{type: ExternalName, externalName: Concrete.shop.svc.cluster.local.}");
    let further = service("further", "{type: ExternalName, externalName: alias.shop.svc.cluster.local}");
    let to =
        |listener: &str, port: u16| format!("{listener} outbound|{port}||concrete.shop.svc.cluster.local");
    let calls = [
        ("1.2.3.4:80", Http("alias.shop.svc.cluster.local"), to("0.0.0.0_80", 80)),
        ("1.2.3.4:80", Http("alias"), to("0.0.0.0_80", 80)),
        ("1.2.3.4:80", Http("further.shop"), to("0.0.0.0_80", 80)),
        ("1.2.3.4:81", Http("alias.shop"), to("1.2.3.4_81", 81)),
        ("1.2.3.4:81", Tls("alias"), to("1.2.3.4_81", 81)),
        ("1.2.3.4:82", Nothing, to("1.2.3.4_82", 82)),
        ("1.2.3.4:83", Tls("alias.shop"), to("1.2.3.4_83", 83)),
    ];
    let calls = calls.each_ref().map(|(to, shown, expected)| (*to, *shown, expected.as_str()));
    check(&[&concrete, &alias, &further], &calls);
    // Holds for every order of the objects.
    check(&[&further, &alias, &concrete], &calls);

    let moved = route(
        "odd",
        "http: [{route: [{destination: {host: further.shop.svc.cluster.local, port: {number: 81}}}]}]",
    );
    check(
        &[SHOP, &concrete, &alias, &further, &moved],
        &[("10.96.0.3:8000", Http("odd"), "10.96.0.3_8000 outbound|81||concrete.shop.svc.cluster.local")],
    );
}

#[test]
fn routes_for_an_external_name_apply_to_that_name_only() {
    let concrete = service("concrete", &format!("{{clusterIP: 1.2.3.4, ports: {PORTS}}}"));
    let other = service("other", "{clusterIP: 1.2.3.5, ports: [{name: http, port: 80}]}");
    let alias = service("alias", "{type: ExternalName, externalName: concrete.shop.svc.cluster.local}");
    let vs = route("alias", "http: [{route: [{destination: {host: other}}]}]");
    let (there, here) = (
        "0.0.0.0_80 outbound|80||other.shop.svc.cluster.local",
        "0.0.0.0_80 outbound|80||concrete.shop.svc.cluster.local",
    );
    check(
        &[&concrete, &other, &alias, &vs],
        &[
            ("1.2.3.4:80", Http("alias.shop.svc.cluster.local"), there),
            ("1.2.3.4:80", Http("alias.shop"), here),
            ("1.2.3.4:80", Http("concrete"), here),
            ("1.2.3.4:81", Http("alias"), "1.2.3.4_81 outbound|81||concrete.shop.svc.cluster.local"),
        ],
    );
    // With the port declared it is a service on that port, by all its names.
    let declared = alias.replace("externalName", "ports: [{name: http, port: 80}], externalName");
    check(
        &[&concrete, &other, &declared, &vs],
        &[("1.2.3.4:80", Http("alias"), there), ("1.2.3.4:80", Http("concrete"), here)],
    );
}

#[test]
fn an_external_name_outside_the_mesh_or_in_a_cycle_is_resolved_with_dns() {
    let outside =
        service("out", "{type: ExternalName, externalName: example.test, ports: [{name: http, port: 80}]}");
    let bare = service("bare", "{type: ExternalName, externalName: example.test}");
    let one = service(
        "one",
        "{type: ExternalName, externalName: two.shop.svc.cluster.local, ports: [{name: http, port: 80}]}",
    );
    let two = service("two", "{type: ExternalName, externalName: one.shop.svc.cluster.local}");
    let rest = "0.0.0.0_80 PassthroughCluster";
    check(
        &[&outside, &bare, &one, &two],
        &[
            ("5.5.5.5:80", Http("out"), "0.0.0.0_80 outbound|80||out.shop.svc.cluster.local"),
            ("5.5.5.5:80", Http("bare"), rest),
            ("5.5.5.5:80", Http("one"), "0.0.0.0_80 outbound|80||one.shop.svc.cluster.local"),
            ("5.5.5.5:80", Http("two"), rest),
        ],
    );
}

#[test]
fn hosts_that_only_a_virtual_service_defines_are_served_as_in_istio() {
    let known =
        service("known", "{clusterIP: 2.0.0.1, ports: [{name: http, port: 80}, {name: http-2, port: 8080}]}");
    let vs =
        |hosts: &str| route("x", "http: [{route: [{destination: {host: known}}]}]").replace("'x'", hosts);
    let domains = |vs: &str, table: &str| {
        let got = Resources::of(&[&known, vs], &scope("x", "shop", &[]));
        let table = got.tables().find(|t| t.name == table).unwrap();
        table
            .virtual_hosts
            .iter()
            .map(|h| h.name.rsplit_once(':').map_or("", |(n, _)| n).to_owned())
            .collect::<Vec<_>>()
    };
    let service = "known.shop.svc.cluster.local";
    assert_eq!(domains(&vs("'*.unknown.test'"), "80"), ["*.unknown.test", service, ""]);
    assert_eq!(domains(&vs("'*.unknown.test'"), "8080"), [service, ""]);
    assert_eq!(domains(&vs("'*.cluster.local'"), "80"), [service, ""], "it has become the service's");
    assert_eq!(domains(&vs("known, foo.test"), "8080"), ["foo.test", service, ""]);
}

#[test]
fn no_spelling_of_a_service_takes_the_name_of_another() {
    // `store.shop` is a short form of the store in SHOP and the full name of this one.
    let text = entry(
        "dotted",
        "{hosts: [reviews.shop], resolution: DNS, ports: [{number: 9080, name: http, protocol: HTTP}]}",
    );
    check(
        &[SHOP, &text],
        &[
            ("10.96.0.1:9080", Http("reviews.shop"), "0.0.0.0_9080 outbound|9080||reviews.shop"),
            ("10.96.0.1:9080", Http("reviews"), "0.0.0.0_9080 outbound|9080||reviews.shop.svc.cluster.local"),
        ],
    );
}

#[test]
fn a_filter_chain_matches_tls_by_server_name_only() {
    let entry =
        entry("se", "{hosts: [a.test], resolution: DNS, ports: [{name: tls, number: 83, protocol: TLS}]}");
    let to = "route: [{destination: {host: a.test, port: {number: 83}}}]";
    let vs = route("a.test", &format!("tls: [{{match: [{{sniHosts: [a.test]}}], {to}}}]"));
    for more in ["", &vs] {
        let got = Resources::of(&[&entry, more], &scope("x", "shop", &[]));
        let listener = got.listener("0.0.0.0_83");
        assert!(listener.inspect.tls.contains(83), "nothing else reads a server name");
        let expected = ChainMatch { server_names: vec!["a.test".into()], ..ChainMatch::default() };
        let found: Vec<&ChainMatch> = listener.chains.iter().map(|chain| &chain.criteria).collect();
        assert_eq!(found, [&expected], "{more}");
    }
}

/// A service of some kind, with the addresses that its names resolve to.
fn any_service() -> impl Strategy<Value = (String, Vec<String>)> {
    let name = "s[a-z]{1,3}";
    let kind = prop_oneof![Just("vip"), Just("headless"), Just("alias"), Just("entry")];
    (name, kind, any::<bool>()).prop_map(|(name, kind, here)| {
        let namespace = if here { "shop" } else { "far" };
        let meta = format!("metadata: {{name: {name}, namespace: {namespace}}}");
        let ports = PORTS.replace("80}", "9080}");
        let full = format!("{name}.{namespace}.svc.cluster.local");
        let spell = |name: &str| {
            let mut all = vec![name.to_owned()];
            if let Some(base) = name.strip_suffix(".svc.cluster.local") {
                all.extend([base.to_owned(), format!("{base}.svc"), format!("{name}.")]);
                all.extend(base.strip_suffix(".shop").map(str::to_owned));
            }
            all
        };
        match kind {
            "vip" => (
                format!("\n---\napiVersion: v1\nkind: Service\n{meta}\nspec: {{clusterIP: 10.96.7.7, ports: {ports}}}\n"),
                spell(&full),
            ),
            "headless" => (
                format!(
                    "\n---\napiVersion: v1\nkind: Service\n{meta}\nspec: {{clusterIP: None, selector: {{app: peer}}, ports: {ports}}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: peer-0, namespace: {namespace}, labels: {{app: peer}}}}\nspec: {{containers: [{{name: c, command: [x]}}]}}\nstatus: {{podIP: 10.96.7.7, phase: Running}}\n"
                ),
                [spell(&full), spell(&full).iter().map(|n| format!("peer-0.{n}")).collect()].concat(),
            ),
            "alias" => (
                format!(
                    "\n---\napiVersion: v1\nkind: Service\n{meta}\nspec: {{type: ExternalName, externalName: behind.far.svc.cluster.local}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: behind, namespace: far}}\nspec: {{clusterIP: 10.96.7.7, ports: {ports}}}\n"
                ),
                [spell(&full), spell("behind.far.svc.cluster.local")].concat(),
            ),
            _ => (
                entry(&name, &format!("{{hosts: [{name}.test], addresses: [10.96.7.7], resolution: DNS, ports: {}}}", ports.replace("port:", "number:").replace("tls,", "tls, protocol: TLS,").replace("https,", "https, protocol: HTTPS,").replace("tcp,", "tcp, protocol: TCP,").replace("http,", "http, protocol: HTTP,"))),
                vec![format!("{name}.test")],
            ),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_spelling_of_a_host_on_every_port_reaches_the_service((text, names) in any_service(), upper: bool, port in 0_u16..3) {
        let got = Resources::of(&[SHOP, &text], &scope("x", "shop", &[]));
        let suffix = ["", ":9080", ":1"][usize::from(port)];
        let spelt = |name: &str| {
            let name = if upper { name.to_ascii_uppercase() } else { name.to_owned() };
            format!("{name}{suffix}")
        };
        let address: IpAddr = "10.96.7.7".parse().unwrap();
        for name in names.iter().chain([&address.to_string()]) {
            for port in [9080, 81] {
                let found = call(&got, &format!("{address}:{port}"), Http(&spelt(name)));
                prop_assert!(found.contains(&format!(" outbound|{port}||")), "{name} on {port}: {found}");
                let other = ["reviews.shop.svc", "peers.shop.svc", "odd.shop.svc"].iter().any(|o| found.contains(o));
                prop_assert!(!other, "{name} on {port}: {found}");
            }
        }
        for (port, shown) in [(81, Nothing), (82, Nothing), (82, Tls("x")), (83, Tls(&names[0])), (84, Tls(&names[0]))] {
            let found = call(&got, &format!("{address}:{port}"), shown);
            prop_assert!(found.contains(&format!(" outbound|{port}||")), "{shown:?} on {port}: {found}");
        }
    }
}
