//! Ingresses, followed to what a gateway does with a request: the cluster of its backend, or the response.

use super::{Resources, gate, snapshot};
use crate::flow::Scope;
use crate::validate::reference;
use api::model::listener::{Protocol, RouteSource};
use api::model::route::{PathMatch, RouteAction, RouteMatch, VirtualHost};

const CLASS: &str = "
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: istio}
spec: {controller: istio.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
";

fn services() -> String {
    ["a", "b", "c"]
        .map(|name| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
                 spec: {{clusterIP: None, ports: [{{port: 80, name: http}}, {{port: 81, name: http-admin}}]}}\n"
            )
        })
        .concat()
}

/// An Ingress of namespace `shop` as `name@age`.
fn ingress(name: &str, head: &str, spec: &str) -> String {
    let (name, age) = name.split_once('@').unwrap_or((name, "5"));
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: shop, \
         creationTimestamp: '200{age}-01-01T00:00:00Z'{head}}}\nspec: {{{spec}}}\n"
    )
}

/// A rule with paths such as `Prefix /a a:80` or, with a named port, `Exact /b b:http`.
fn rule(host: &str, paths: &[&str]) -> String {
    let host = if host.is_empty() { String::new() } else { format!("host: '{host}', ") };
    let path = |text: &&str| {
        let parts: Vec<&str> = text.split(' ').collect();
        let [kind, path, to] = parts[..] else { panic!("{text}") };
        let path = if path == "-" { String::new() } else { format!("path: '{path}', ") };
        format!("{{pathType: {kind}, {path}backend: {}}}", backend(to))
    };
    format!("{{{host}http: {{paths: [{}]}}}}", paths.iter().map(path).collect::<Vec<_>>().join(", "))
}

fn backend(to: &str) -> String {
    let (service, port) = to.split_once(':').unwrap();
    let port = match port.parse::<u16>() {
        Ok(number) => format!("number: {number}"),
        Err(_) => format!("name: {port}"),
    };
    format!("{{service: {{name: {service}, port: {{{port}}}}}}}")
}

const OURS: &str = "ingressClassName: istio, ";

fn got(parts: &[String]) -> Resources {
    let text = CLASS.to_owned() + &services() + &parts.concat();
    Resources::of(&[&text], &Scope { pod: "other".into(), ..gate() })
}

/// The warnings about Ingresses, as `name path: reason`.
fn warnings(parts: &[String]) -> Vec<String> {
    let text = CLASS.to_owned() + &services() + &parts.concat();
    let catalog = snapshot(&[&text]).catalog;
    let all = catalog.conflicts().into_iter().chain(reference::references(&catalog));
    let of_ingresses = all.filter(|w| w.object.starts_with("Ingress "));
    of_ingresses.map(|w| format!("{} {}: {}", w.key.unwrap().name, w.path, w.reason)).collect()
}

/// The outcome of `host/path`: service and port, a status, or why there is none. A host with `https://` uses TLS, with the
/// host as SNI.
fn call(got: &Resources, to: &str) -> String {
    let (encrypted, rest) = match to.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, to),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let port = if encrypted { 443 } else { 80 };
    let Some(listener) = got.listeners().find(|l| l.address.port() == port) else { return "closed".into() };
    let names = listener.chains.iter().flat_map(|c| c.criteria.server_names.iter().map(String::as_str));
    let closest = crate::catalog::host::closest(host, names);
    let chain = listener.chains.iter().find(|c| match closest {
        Some(name) => c.criteria.server_names.iter().any(|n| n == name),
        None => c.criteria.server_names.is_empty(),
    });
    let Some(chain) = chain else { return "no chain".into() };
    let Protocol::Http(http) = &chain.protocol else { panic!("{chain:?}") };
    let RouteSource::Rds(table) = &http.routes else { panic!("a gateway's routes have a name") };
    let table = got.tables().find(|t| t.name == *table).unwrap();
    let domains = table.virtual_hosts.iter().flat_map(|h| h.domains.iter().map(String::as_str));
    let Some(closest) = crate::catalog::host::closest(host, domains) else { return "no host".into() };
    let found = table.virtual_hosts.iter().find(|h| h.domains.iter().any(|d| d == closest)).unwrap();
    routed(found, path)
}

fn routed(host: &VirtualHost, path: &str) -> String {
    let Some(route) = host.routes.iter().find(|route| matches(&route.criteria, path)) else {
        return "no route".into();
    };
    match &route.action {
        RouteAction::Direct { status, .. } => status.to_string(),
        RouteAction::Forward(forward) => {
            let names = forward.clusters.names();
            let parts: Vec<&str> = names[0].split('|').collect();
            format!("{}:{}", parts[3].split('.').next().unwrap(), parts[1])
        }
        RouteAction::Redirect(_) => panic!("an Ingress redirects nothing"),
    }
}

fn matches(criteria: &RouteMatch, path: &str) -> bool {
    assert!(criteria.headers.is_empty() && criteria.query.is_empty());
    match &criteria.path {
        PathMatch::Exact(wanted) => path == wanted,
        PathMatch::Prefix(wanted) => path.starts_with(wanted.as_str()),
        PathMatch::Segments(wanted) => {
            path.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Regex(_) => panic!("an Ingress has no regular expressions"),
    }
}

fn calls(got: &Resources, table: &[(&str, &str)]) {
    for (to, expected) in table {
        assert_eq!(call(got, to), *expected, "{to}");
    }
}

/// The table in Kubernetes' documentation of path types.
#[test]
fn path_types_match_as_kubernetes_defines_them() {
    for (kind, path, request, expected) in [
        ("Prefix", "/", "/any/path", true),
        ("Exact", "/foo", "/foo", true),
        ("Exact", "/foo", "/bar", false),
        ("Exact", "/foo", "/foo/", false),
        ("Exact", "/foo/", "/foo", false),
        ("Prefix", "/foo", "/foo", true),
        ("Prefix", "/foo", "/foo/", true),
        ("Prefix", "/foo/", "/foo", true),
        ("Prefix", "/foo/", "/foo/", true),
        ("Prefix", "/aaa/bb", "/aaa/bbb", false),
        ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
        ("ImplementationSpecific", "/foo", "/foo", true),
        ("ImplementationSpecific", "/foo", "/foo/a", false),
        ("ImplementationSpecific", "/foo/*", "/foo/a", true),
        ("ImplementationSpecific", "/foo/*", "/foo", true),
        ("ImplementationSpecific", "/foo/*", "/fool", false),
        ("ImplementationSpecific", "/foo.*", "/foo/a", true),
        ("ImplementationSpecific", "/*", "/any", true),
        ("ImplementationSpecific", "-", "/any", true),
    ] {
        let rule = rule("h.test", &[&format!("{kind} {path} a:80")]);
        let got = got(&[ingress("i", "", &format!("{OURS}rules: [{rule}]"))]);
        let outcome = call(&got, &format!("h.test{request}"));
        assert_eq!(outcome, if expected { "a:80" } else { "no route" }, "{kind} {path}: {request}");
    }
}

#[test]
fn the_longest_path_wins_then_the_exact_one_then_the_older_ingress() {
    let young = rule("h.test", &["Prefix / c:80", "Prefix /x/y b:80", "Exact /x b:80", "Prefix /z c:80"]);
    let old = rule("h.test", &["Prefix /x a:80", "Prefix /z a:80", "Exact /x/y/z a:80"]);
    let both = [
        ingress("young@9", "", &format!("{OURS}rules: [{young}]")),
        ingress("old@1", "", &format!("{OURS}rules: [{old}]")),
    ];
    let table = [
        ("h.test/x", "b:80"),
        ("h.test/x/", "a:80"),
        ("h.test/x/y", "b:80"),
        ("h.test/x/y/z", "a:80"),
        ("h.test/x/y/zz", "b:80"),
        ("h.test/z", "a:80"),
        ("h.test/other", "c:80"),
        ("other.test/", "no host"),
    ];
    calls(&got(&both), &table);
    let lost = "young spec.rules[0].http.paths[3]: Ingress shop/old, which is older, routes the same requests to \
                `h.test`; this route has no effect there";
    assert!(warnings(&both).iter().any(|w| w == lost), "{:?}", warnings(&both));
}

#[test]
fn hosts_may_be_wildcards_and_ports_may_be_named() {
    let spec = [
        rule("*.test", &["Prefix / a:http"]),
        rule("x.test", &["Prefix / b:http-admin"]),
        rule("", &["Prefix /any c:80"]),
    ];
    let got = got(&[ingress("i", "", &format!("{OURS}rules: [{}]", spec.join(", ")))]);
    calls(
        &got,
        &[
            ("y.test/", "a:80"),
            ("X.TEST/".to_lowercase().as_str(), "b:81"),
            ("else.example/any/where", "c:80"),
            ("else.example/", "no route"),
        ],
    );
}

#[test]
fn a_default_backend_takes_what_no_rule_matches() {
    let spec =
        format!("{OURS}defaultBackend: {}, rules: [{}]", backend("b:81"), rule("h.test", &["Exact /a a:80"]));
    let all = [
        ingress("i", "", &spec),
        ingress("j@1", "", &format!("{OURS}rules: [{}]", rule("", &["Prefix /c c:80"]))),
    ];
    let table =
        [("h.test/a", "a:80"), ("h.test/other", "b:81"), ("else.test/", "b:81"), ("else.test/c/d", "c:80")];
    calls(&got(&all), &table);
    let alone = ingress("i", "", &format!("{OURS}defaultBackend: {}", backend("a:http")));
    calls(&got(&[alone]), &[("h.test/x", "a:80")]);
}

#[test]
fn each_host_has_its_certificate_and_one_without_hosts_is_the_default() {
    let one = format!(
        "{OURS}tls: [{{hosts: [a.test], secretName: cert-a}}, {{secretName: fallback}}, {{hosts: [c.test]}}], rules: [{}, {}]",
        rule("a.test", &["Prefix / a:80"]),
        rule("b.test", &["Prefix / b:80"])
    );
    let two = format!(
        "{OURS}tls: [{{hosts: [a.test, d.test], secretName: other}}], rules: [{}, {}]",
        rule("a.test", &["Prefix /c c:80"]),
        rule("d.test", &["Prefix / c:80"])
    );
    let all = [ingress("one@1", "", &one), ingress("two@2", "", &two)];
    let got = got(&all);
    calls(
        &got,
        &[
            ("https://a.test/", "a:80"),
            ("https://a.test/c", "c:80"),
            ("https://b.test/", "b:80"),
            ("https://d.test/", "c:80"),
            ("a.test/c", "c:80"),
            ("b.test/", "b:80"),
        ],
    );
    let secret = |sni: &str| {
        let listener = got.listeners().find(|l| l.address.port() == 443).unwrap();
        let of = |wanted: &[&str]| listener.chains.iter().find(|c| c.criteria.server_names == wanted);
        let chain = of(&[sni]).or_else(|| of(&[])).unwrap();
        format!("{:?}", chain.tls.as_ref().unwrap().common.certificates)
    };
    assert!(secret("a.test").contains("cert-a") && secret("d.test").contains("other"));
    assert!(secret("b.test").contains("fallback"));
    let tables: Vec<&str> = got.tables().map(|t| t.name.as_str()).collect();
    let istios =
        "https.443.https-443-ingress-one-shop-0.one-istio-autogenerated-k8s-ingress-shop.istio-system";
    assert!(tables.contains(&istios) && tables.contains(&"http.80"), "{tables:?}");
    let found = warnings(&all);
    let expected = [
        "two spec.tls[0].hosts[0]: Ingress shop/one, which is older, serves `a.test` on the same port; here it has no effect",
        "one spec.tls[2].secretName: is missing: there is no certificate, so these hosts are not served over TLS",
    ];
    for one in expected {
        assert!(found.iter().any(|w| w == one), "{one} is not in {found:#?}");
    }
}

#[test]
fn only_ingresses_of_the_meshs_class_are_served() {
    let mesh = |text: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{text}'}}\n"
        )
    };
    let annotated = |class: &str| format!(", annotations: {{kubernetes.io/ingress.class: {class}}}");
    let of = |head: &str, class: &str| {
        ingress("i", head, &format!("{class}rules: [{}]", rule("h.test", &["Prefix / a:80"])))
    };
    let nginx = "ingressClassName: nginx, ";
    for (mode, served) in [
        ("", [true, false, true, false, false, true]),
        ("ingressControllerMode: STRICT", [true, false, true, false, false, true]),
        ("ingressControllerMode: DEFAULT", [true, false, true, false, true, true]),
        ("ingressControllerMode: \"OFF\"", [false; 6]),
        ("ingressClass: nginx", [true, false, false, true, false, false]),
    ] {
        let all = [
            of("", OURS),
            of("", nginx),
            of(&annotated("istio"), ""),
            of(&annotated("nginx"), ""),
            of("", ""),
            of(&annotated("istio"), nginx),
        ];
        for (ingress, served) in all.into_iter().zip(served) {
            let outcome = call(&got(&[mesh(mode), ingress.clone()]), "h.test/");
            assert_eq!(outcome, if served { "a:80" } else { "closed" }, "{mode}: {ingress}");
        }
    }
    let elsewhere = got(&[mesh("ingressSelector: edge"), of("", OURS)]);
    assert_eq!(call(&elsewhere, "h.test/"), "closed", "another gateway serves it");
    let by_service = got(&[mesh("ingressService: edge"), of("", OURS)]);
    assert_eq!(call(&by_service, "h.test/"), "closed", "the Service names the gateway");
}

#[test]
fn what_an_ingress_refers_to_in_vain_is_reported_and_answered_with_503() {
    let paths = "{pathType: Prefix, path: /r, backend: {resource: {kind: Bucket, name: x}}}";
    let spec = format!(
        "{OURS}tls: [{{hosts: [h.test], secretName: nowhere}}], rules: [{}, {{host: r.test, http: {{paths: [{paths}]}}}}]",
        rule(
            "h.test",
            &[
                "Prefix / a:80",
                "Prefix /n a:grpc",
                "Prefix /m a:8080",
                "Exact /s gone:80",
                "ImplementationSpecific /*x a:80"
            ]
        )
    );
    let pod = "
---
apiVersion: v1
kind: Pod
metadata: {name: g, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: c}]}
";
    let all = [ingress("i", "", &spec), pod.to_owned()];
    calls(&got(&all), &[("h.test/n", "503"), ("r.test/r/x", "503"), ("h.test/", "a:80")]);
    let expected = [
        "i spec.rules[0].http.paths[4].path: `/*x` is compared literally: `*` is no wildcard here",
        "i spec.rules[0].http.paths[1].backend.service.port.name: Service shop/a has no port `grpc`",
        "i spec.rules[0].http.paths[2].backend.service.port.number: Service shop/a has no port 8080",
        "i spec.rules[0].http.paths[3].backend.service.name: there is no Service shop/gone",
        "i spec.rules[1].http.paths[0].backend.resource: is not supported: these requests get the response 503",
        "i spec.tls[0].secretName: there is no Secret istio-system/nowhere: TLS connections for h.test are reset",
    ];
    assert_eq!(warnings(&all), expected);
    let foreign = ingress("i", "", &spec.replace(OURS, "ingressClassName: nginx, "));
    assert_eq!(warnings(&[foreign]), [""; 0], "another controller's Ingress is none of ours");
    let unknown = services() + &ingress("i", "", &format!("{OURS}rules: [{}]", rule("", &["Prefix / a:80"])));
    let catalog = snapshot(&[&unknown]).catalog;
    let found = reference::references(&catalog);
    assert_eq!(found[0].reason, "there is no IngressClass istio: no gateway serves this Ingress");
}

#[test]
fn a_change_of_a_port_changes_the_routes_and_an_unrelated_change_keeps_them() {
    let text = CLASS.to_owned()
        + &services()
        + &ingress("i", "", &format!("{OURS}rules: [{}]", rule("h.test", &["Prefix / a:http-admin"])));
    let other = "---\napiVersion: v1\nkind: Service\nmetadata: {name: z, namespace: shop}\nspec: {clusterIP: None, ports: [{port: 1}]}\n";
    let first = snapshot(&[&text]).catalog;
    let unrelated = snapshot(&[&text, other]).catalog;
    assert_eq!(first.gateway_view(), unrelated.gateway_view());
    let renumbered = services().replace("port: 81", "port: 82");
    let got = Resources::of(&[&text, &renumbered], &Scope { pod: "other".into(), ..gate() });
    assert_eq!(call(&got, "h.test/"), "a:82");
}
