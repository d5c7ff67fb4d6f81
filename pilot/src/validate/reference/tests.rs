//! Objects that miss their target: which warning each gets, and that there is none when they match.

use super::check;
use crate::catalog::tests::catalog;
use api::resource::check::Given;
use api::resource::parse;

const BASE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 10.244.0.7, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: tcp}
spec: {selector: {app: web}, ports: [{name: tcp-web, port: 5433}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {ports: [{name: sql, port: 5432}]}
";

fn object(kind: &str, spec: &str) -> String {
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    format!("---\napiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: own}}\nspec: {spec}\n")
}

/// Checks the findings of each object, as `path: reason`.
fn check_table(kind: &str, table: &[(&str, &str)]) {
    for (spec, expected) in table {
        assert_eq!(warnings(&object(kind, spec)), *expected, "{spec}");
    }
}

fn warnings(text: &str) -> String {
    let given = parse::parse("a.yaml", text)
        .documents
        .into_iter()
        .map(|d| Given { file: d.place.to_string(), object: d.raw });
    let report = check(&catalog(BASE), &given.collect::<Vec<_>>());
    assert_eq!(report.errors, []);
    let warnings = report.warnings.iter().map(|w| format!("{}: {}", w.path, w.reason));
    warnings.collect::<Vec<_>>().join("; ")
}

#[test]
fn ports_of_a_policy_are_those_of_pods() {
    check_table(
        "PeerAuthentication",
        &[
            ("{selector: {matchLabels: {app: web}}, portLevelMtls: {8080: {mode: STRICT}}}", ""),
            ("{selector: {matchLabels: {app: web}}, portLevelMtls: {9090: {mode: STRICT}}}", ""),
            (
                "{selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: STRICT}}}",
                "spec.portLevelMtls[80]: is the port of service default/web, which targets port 8080 of these pods: the policy \
                 does not apply to that port",
            ),
        ],
    );
}

#[test]
fn endpoints_belong_to_a_service_and_its_ports_by_name() {
    let endpoints = |name: &str, port: &str| {
        format!(
            "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}}}\nsubsets: [{{addresses: [{{ip: 192.0.2.1}}], \
             ports: [{port}]}}]\n"
        )
    };
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: \
                 {kubernetes.io/service-name: db}}\naddressType: IPv4\nendpoints: [{addresses: [192.0.2.1]}]\nports: \
                 [{name: mysql, port: 1}]\n";
    let table = [
        (endpoints("db", "{name: sql, port: 1}"), ""),
        (
            endpoints("db", "{port: 1}"),
            "subsets[].ports: Service default/db has no port without a name: these endpoints get no requests",
        ),
        (
            endpoints("web", "{name: http, port: 1}"),
            "subsets: Service default/web has a selector: its endpoints are the pods that it selects",
        ),
        (
            endpoints("other", "{port: 1}"),
            "metadata: there is no Service default/other: these endpoints belong to no Service",
        ),
        (slice.to_owned(), "ports: Service default/db has no port `mysql`: these endpoints get no requests"),
    ];
    for (text, expected) in table {
        assert_eq!(warnings(&text), expected, "{text}");
    }
}

#[test]
fn settings_of_a_rule_without_effect_are_reported() {
    check_table(
        "DestinationRule",
        &[
            (
                "{host: web, trafficPolicy: {outlierDetection: {}}}",
                "spec.trafficPolicy.outlierDetection: ejects nothing: 10 % of 1 endpoint(s) is less than one",
            ),
            ("{host: web, trafficPolicy: {outlierDetection: {maxEjectionPercent: 100}}}", ""),
            (
                "{host: web, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 80}, \
                 loadBalancer: {simple: RANDOM}}]}}",
                "spec.trafficPolicy.tls: does not apply to port 80, whose portLevelSettings replace all of trafficPolicy",
            ),
            (
                "{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 8080}, tls: {mode: DISABLE}}]}}",
                "spec.trafficPolicy.portLevelSettings: web.default.svc.cluster.local has no port 8080: these settings \
                 have no effect",
            ),
            ("{host: web, trafficPolicy: {tls: {mode: DISABLE}}}", ""),
        ],
    );
}

#[test]
fn tls_that_no_pod_accepts_is_reported() {
    let pair = |mode: &str, tls: &str| {
        let rule =
            object("DestinationRule", &format!("{{host: web, trafficPolicy: {{tls: {{mode: {tls}}}}}}}"));
        warnings(&(object("PeerAuthentication", &format!("{{mtls: {{mode: {mode}}}}}")) + &rule))
    };
    assert_eq!(
        pair("STRICT", "ISTIO_MUTUAL") + &pair("DISABLE", "DISABLE") + &pair("PERMISSIVE", "DISABLE"),
        ""
    );
    assert_eq!(
        pair("STRICT", "DISABLE"),
        "spec.trafficPolicy.tls: is not mesh mTLS, which these pods require (mode STRICT): requests to port 80 of \
         web.default.svc.cluster.local fail"
    );
    assert_eq!(
        pair("DISABLE", "ISTIO_MUTUAL"),
        "spec.trafficPolicy.tls: is mesh mTLS, which these pods do not accept (no sidecar, or mode DISABLE): requests to \
         port 80 of web.default.svc.cluster.local fail"
    );
}

#[test]
fn unreachable_l4_routes_are_reported() {
    check_table(
        "VirtualService",
        &[
            (
                "{hosts: [web], http: [{match: [{port: 80}, {port: 8080}], route: [{destination: {host: web}}]}]}",
                "spec.http[0].match[1].port: none of the hosts has port 8080: nothing matches",
            ),
            (
                "{hosts: [tcp], http: [{route: [{destination: {host: web}}]}]}",
                "spec.http: has no effect for tcp.default.svc.cluster.local: none of its ports is HTTP",
            ),
            (
                "{hosts: [web], tcp: [{route: [{destination: {host: web}}]}]}",
                "spec.tcp: has no effect for web.default.svc.cluster.local: none of its ports is plain TCP",
            ),
            ("{hosts: [tcp], tcp: [{route: [{destination: {host: web}}]}]}", ""),
            ("{hosts: [db], http: [{route: [{destination: {host: db}}]}]}", ""),
            (
                "{hosts: [web.default], http: [{route: [{destination: {host: web}}]}]}",
                "spec.hosts[0]: `web.default` is not a service: it matches only requests to port 80 with this exact host",
            ),
            ("{hosts: [web, web.example.test], http: [{route: [{destination: {host: web}}]}]}", ""),
        ],
    );
}

#[test]
fn hosts_of_a_sidecar_that_import_nothing_are_reported() {
    let nothing = |host: &str| format!("spec.egress: host `{host}` imports nothing: no service matches it");
    check_table(
        "Sidecar",
        &[
            ("{egress: [{hosts: [./web.default.svc.cluster.local, istio-system/*]}]}", ""),
            ("{egress: [{hosts: [./web.default]}]}", &nothing("web.default")),
            (
                "{egress: [{hosts: [other/web.default.svc.cluster.local]}]}",
                &nothing("web.default.svc.cluster.local"),
            ),
        ],
    );
}

const GATE: &str = "---
apiVersion: v1
kind: Pod
metadata: {name: gate, namespace: edge, labels: {istio: gate}}
spec: {containers: [{name: istio-proxy, image: i, args: [proxy, router]}]}
status: {podIP: 10.244.0.8, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Secret
metadata: {name: whole, namespace: edge}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}
---
apiVersion: v1
kind: Secret
metadata: {name: half, namespace: edge}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----'}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: edge}
stringData: {password: x}
---
apiVersion: v1
kind: Secret
metadata: {name: astray, namespace: shop}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}
";

#[test]
fn a_missing_secret_of_a_gateway_is_named_with_its_namespace() {
    let gateway = |mode: &str, secret: &str| {
        let spec = format!(
            "{{selector: {{istio: gate}}, servers: [{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: \
             [a.example], tls: {{mode: {mode}, credentialName: {secret}}}}}]}}"
        );
        warnings(&(GATE.to_owned() + &object("Gateway", &spec)))
    };
    let reset = "TLS connections to port 443 are reset";
    let at = "spec.servers[0].tls.credentialName: ";
    assert_eq!(gateway("SIMPLE", "whole"), "");
    assert_eq!(gateway("SIMPLE", "none"), format!("{at}there is no Secret edge/none: {reset}"));
    assert_eq!(gateway("SIMPLE", "astray"), format!("{at}there is no Secret edge/astray: {reset}"));
    for secret in ["half", "other"] {
        let expected = format!("{at}Secret edge/{secret} has no tls.crt and tls.key: {reset}");
        assert_eq!(gateway("SIMPLE", secret), expected);
    }
    assert_eq!(gateway("MUTUAL", "whole"), format!("{at}Secret edge/whole has no ca.crt: {reset}"));
}

#[test]
fn a_secret_of_a_destination_rule_is_read_in_the_namespace_of_the_gateways() {
    let rule = |secret: &str| {
        let spec =
            format!("{{host: web, trafficPolicy: {{tls: {{mode: SIMPLE, credentialName: {secret}}}}}}}");
        let roots = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: roots, namespace: edge}\nstringData: {ca.crt: \
                     '-----BEGIN CERTIFICATE-----'}\n";
        warnings(&[GATE, roots, &object("DestinationRule", &spec)].concat())
    };
    assert_eq!(rule("roots"), "");
    assert_eq!(
        rule("none"),
        "spec.trafficPolicy.tls.credentialName: there is no Secret edge/none: requests from gateways to \
         web.default.svc.cluster.local fail"
    );
}

#[test]
fn ports_of_a_gateway_are_those_of_its_service() {
    let gateway = |number: u16| {
        format!(
            "{{selector: {{app: web}}, servers: [{{port: {{number: {number}, name: p, protocol: HTTP}}, hosts: ['*']}}]}}"
        )
    };
    let hosts = "tcp.default.svc.cluster.local, web.default.svc.cluster.local";
    let missing = format!(
        "spec.servers[0].port.number: 8443 is not a port of {hosts}: only clients of the pods' addresses reach it"
    );
    check_table("Gateway", &[(&gateway(80), ""), (&gateway(8080), ""), (&gateway(8443), &missing)]);
}
