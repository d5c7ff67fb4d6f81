//! What Istio accepts and rejects, kind by kind: each class of checks of its webhook and its CustomResourceDefinitions,
//! with cases on both sides of the boundary, in tables written for Ostria. Where Ostria reports more than Istio, the
//! table lists the warning.
#![expect(clippy::too_many_lines, reason = "tables are long")]

use super::tests::{checked, mesh_kind};

/// An object and the warnings about it, each by path and the beginning of the reason.
type Accepted<'a> = (&'a str, &'a [&'a str]);

fn group(kind: &str) -> &'static str {
    if kind == "PeerAuthentication" { "security" } else { "networking" }
}

fn taken(kind: &str, table: &[Accepted]) {
    for (spec, expected) in table {
        let checked = checked(&mesh_kind(group(kind), kind, spec));
        assert!(checked.item.is_some(), "{kind} {spec} is refused: {:?}", checked.errors);
        let warnings: Vec<String> =
            checked.warnings.iter().map(|w| format!("{}: {}", w.path, w.reason)).collect();
        assert_eq!(warnings.len(), expected.len(), "{kind} {spec}: {warnings:#?}");
        for expected in *expected {
            assert!(
                warnings.iter().any(|warning| warning.starts_with(expected)),
                "{kind} {spec}: no {expected} in {warnings:#?}"
            );
        }
    }
}

/// Checks specs that are refused for the named field and for no other.
fn refused(kind: &str, table: &[(&str, &str)]) {
    for (spec, path) in table {
        let checked = checked(&mesh_kind(group(kind), kind, spec));
        let paths: Vec<&str> = checked.errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, [*path], "{kind} {spec}: {:?}", checked.errors);
    }
}

#[test]
fn service_entries_are_taken_as_istio_takes_them() {
    const PORTS: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";
    let with_ports = |rest: &str| format!("{{hosts: [api.example.com], {rest}, {PORTS}}}");
    let texts = [
        "resolution: STATIC, endpoints: []",
        "resolution: DNS, workloadSelector: {labels: {app: web}}",
        "resolution: DNS_ROUND_ROBIN, workloadSelector: {labels: {app: web}}",
        "resolution: NONE, workloadSelector: {labels: {app: web}}",
        "resolution: STATIC, workloadSelector: {}",
        "resolution: DNS, endpoints: null, workloadSelector: {labels: {app: web}}",
        "resolution: DNS_ROUND_ROBIN, endpoints: [{address: one.example.com}]",
        "resolution: STATIC, endpoints: [{address: 'unix:///run/web.sock'}]",
        "exportTo: ['~']",
    ]
    .map(with_ports);
    let said: [&[&str]; 9] = [
        &["spec.endpoints: are missing"],
        &[],
        &[],
        &["spec.workloadSelector: is not used with resolution NONE"],
        &["spec.workloadSelector.labels: is empty: every workload of the namespace is selected"],
        &[],
        &[],
        &[],
        &[],
    ];
    let table: Vec<Accepted> = texts.iter().map(String::as_str).zip(said).collect();
    taken("ServiceEntry", &table);
    taken(
        "ServiceEntry",
        &[
            ("{hosts: [api.example.com]}", &[]),
            ("{hosts: ['*example.com']}", &["spec.hosts[0]: `*example.com` has a wildcard within a label"]),
            (
                "{hosts: [api.example.com, API.example.com]}",
                &["spec.hosts[1]: `api.example.com` is a duplicate"],
            ),
            ("{hosts: [api.example.com], addresses: [10.1.0.0/16]}", &[]),
            (
                "{hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: p}]}",
                &["spec.ports[1]: accepts only HTTP and TLS"],
            ),
            (
                "{hosts: [a.com], ports: [{number: 81, name: p, protocol: TCP}]}",
                &["spec.ports[0]: accepts no"],
            ),
            ("{hosts: [a.com], addresses: [10.1.0.1], ports: [{number: 81, name: p}]}", &[]),
            (
                "{hosts: [a.com], addresses: [0.0.0.0, 10.1.0.1]}",
                &["spec.addresses: is an unspecified address"],
            ),
            ("{hosts: [a.com], addresses: ['::/0']}", &[]),
            ("{hosts: [a.com], resolution: DNS, ports: [{number: 81, name: p}]}", &[]),
            (
                "{hosts: ['*.a.com'], resolution: STATIC, ports: [{number: 81, name: p, protocol: TCP}], \
              endpoints: [{address: 10.1.0.1}]}",
                &["spec.ports[0]: accepts no"],
            ),
            (
                "{hosts: [a.com, b.com], addresses: [10.1.0.1], resolution: DNS, ports: [{number: 443, name: tls, \
                 protocol: TLS}]}",
                &["spec.addresses: the hosts share addresses"],
            ),
        ],
    );
}

#[test]
fn service_entries_are_refused_as_istio_refuses_them() {
    const PORT: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";
    let table = [
        ("hosts: [under_score.example.com]", "spec.hosts[0]"),
        ("hosts: [10.1.0.1]", "spec.hosts[0]"),
        ("hosts: [a.com], addresses: [10.1.0.0/16], resolution: DNS", "spec.addresses[0]"),
        (
            "hosts: [a.com], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.com}, {address: c.com}]",
            "spec.endpoints",
        ),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///s', ports: {http: 8080}}]",
            "spec.endpoints[0].ports",
        ),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix://s'}]",
            "spec.endpoints[0].address",
        ),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 10.1.0.1, labels: {'a b': c}}]",
            "spec.endpoints[0].labels",
        ),
        (
            "hosts: [a.com], workloadSelector: {labels: {'': web}}, resolution: STATIC",
            "spec.workloadSelector.labels",
        ),
        (
            "hosts: [a.com], workloadSelector: {labels: {app: w*}}, resolution: STATIC",
            "spec.workloadSelector.labels",
        ),
        ("hosts: [a.com], exportTo: [., shop]", "spec.exportTo[1]"),
        ("hosts: [a.com], endpoints: []", "spec.endpoints"),
        ("hosts: [a.com], resolution: NONE, endpoints: []", "spec.endpoints"),
        ("hosts: [a.com], resolution: STATIC, endpoints: [], workloadSelector: {}", "spec.workloadSelector"),
        ("hosts: [a.com], resolution: DNS, endpoints: [], workloadSelector: {}", "spec.workloadSelector"),
        ("hosts: [a.com], resolution: STATIC, endpoints: [{network: ''}]", "spec.endpoints[0].address"),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 'fe80::1%eth0'}]",
            "spec.endpoints[0].address",
        ),
        ("hosts: [a.com], addresses: ['fe80::1%eth0']", "spec.addresses[0]"),
    ];
    for (rest, path) in table {
        refused("ServiceEntry", &[(&format!("{{{rest}, {PORT}}}"), path)]);
    }
    refused(
        "ServiceEntry",
        &[
            ("{hosts: [a.com], ports: [{number: 80, name: a.b}]}", "spec.ports[0].name"),
            (
                "{hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///s'}]}",
                "spec.endpoints[0].address",
            ),
            (
                "{hosts: [a.com, b.com], resolution: STATIC, endpoints: [{address: 10.1.0.1}], ports: [{number: 81, \
                 name: tcp, protocol: TCP}]}",
                "spec.ports[0].protocol",
            ),
        ],
    );
}

#[test]
fn virtual_services_are_taken_as_istio_takes_them() {
    let route =
        |rest: &str| format!("{{hosts: [web], http: [{{route: [{{destination: {{host: web}}}}], {rest}}}]}}");
    let table: [(String, &[&str]); 15] = [
        (route("match: [{uri: {prefix: ''}}]"), &[]),
        (route("match: [{port: 0}]"), &[]),
        (route("match: [{headers: {':authority': {exact: web}}}]"), &[]),
        (route("match: [{withoutHeaders: {x-beta: {regex: '*'}}}]"), &[]),
        (
            route("match: [{sourceNamespace: Shop}]"),
            &["spec.http[0].match[0].sourceNamespace: `Shop` is not a valid namespace"],
        ),
        (
            route("mirrorPercentage: {value: 5}"),
            &["spec.http[0].mirrorPercentage: has no effect without mirror"],
        ),
        (route("mirror: {host: copy}, mirrorPercent: 5"), &["spec.http[0].mirrorPercent: is deprecated"]),
        (route("headers: {request: {set: {x-host: '%HOSTNAME%', x-env: '%ENVIRONMENT(A):9%'}}}"), &[]),
        (route("headers: {response: {add: {x-t: '%START_TIME(%Y %H:%M)% %STREAM_ID%'}}}"), &[]),
        (route("headers: {request: {add: {host: other}}}"), &[]),
        (
            route("fault: {delay: {percentage: {value: 5}}}"),
            &["spec.http[0].fault.delay.fixedDelay: is missing"],
        ),
        (
            route("fault: {abort: {percentage: {value: 5}}}"),
            &["spec.http[0].fault.abort.httpStatus: is missing"],
        ),
        (route("retries: {attempts: 0, backoff: 1s}"), &["spec.http[0].retries.backoff: has no effect"]),
        (route("retries: {attempts: 1, retryRemoteLocalities: false}"), &[]),
        (
            route("match: [{gateways: [edge.ingress]}]"),
            &["spec.http[0].match[0].gateways[0]: `edge.ingress` is an old form"],
        ),
    ];
    for (spec, said) in &table {
        taken("VirtualService", &[(spec, said)]);
    }
    taken(
        "VirtualService",
        &[
            ("{hosts: [web], http: [{route: [{destination: {host: '*.example.com', subset: V1}}]}]}", &[]),
            ("{hosts: [web], tcp: [{route: [{destination: {host: '*-db.example.com'}}]}]}", &[]),
            (
                "{hosts: [web], tls: [{match: [{sniHosts: [10.1.0.1]}], route: [{destination: {host: web}}]}]}",
                &["spec.tls[0].match[0].sniHosts[0]: `10.1.0.1` is an address"],
            ),
            (
                "{hosts: ['*.a.com'], tls: [{match: [{sniHosts: ['*-x.a.com']}], route: [{destination: {host: web}}]}]}",
                &["spec.tls[0].match[0].sniHosts[0]: `*-x.a.com` has a wildcard within a label"],
            ),
            ("{hosts: [web], http: [{redirect: {derivePort: FROM_PROTOCOL_DEFAULT}}]}", &[]),
            (
                "{hosts: ['*'], gateways: [edge], tls: [{match: [{sniHosts: [outbound_.80_.v1_.web.shop.global]}], \
                 route: [{destination: {host: web}}]}]}",
                &[],
            ),
            (
                "{hosts: [web], http: [{redirect: {uri: /}, timeout: 1s, retries: {attempts: 1}}]}",
                &["spec.http[0].timeout: is not used", "spec.http[0].retries: is not used"],
            ),
            ("{hosts: [web], http: [{match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b}}]}", &[]),
            (
                "{hosts: [web], http: [{delegate: {name: d}, directResponse: {status: 200}}]}",
                &["spec.http[0].directResponse: is ignored together with delegate"],
            ),
            (
                "{hosts: [web], http: [{directResponse: {status: 200, body: {}}}]}",
                &["spec.http[0].directResponse.body"],
            ),
            ("{hosts: [web, WEB], http: [{redirect: {uri: /}}]}", &["spec.hosts[1]: `WEB` overlaps"]),
        ],
    );
}

/// A valid route.
const TO: &str = "http: [{route: [{destination: {host: web}}]}]";

#[test]
fn virtual_services_are_refused_as_istio_refuses_them() {
    let table = [
        ("match: [{uri: {regex: ''}}]", "match[0].uri.regex"),
        ("match: [{method: {regex: ''}}]", "match[0].method.regex"),
        ("match: [{queryParams: {q: {regex: ''}}}]", "match[0].queryParams.q.regex"),
        ("match: [{withoutHeaders: {h: {regex: ''}}}]", "match[0].withoutHeaders.h.regex"),
        ("match: [{scheme: {prefix: ''}}]", "match[0].scheme.prefix"),
        ("match: [{sourceLabels: {'': web}}]", "match[0].sourceLabels"),
        ("match: [{gateways: [a/b.c]}]", "match[0].gateways[0]"),
        ("timeout: 1500us", "timeout"),
        ("retries: {attempts: 1, perTryTimeout: 1.0001s}", "retries.perTryTimeout"),
        ("retries: {attempts: 1, backoff: 1ns}", "retries.backoff"),
        ("retries: {attempts: 0, retryOn: 5xx}", "retries.retryOn"),
        ("retries: {attempts: 1, retryOn: '5xx,'}", "retries.retryOn"),
        ("fault: {delay: {fixedDelay: 1.0005s, percentage: {value: 1}}}", "fault.delay.fixedDelay"),
        ("rewrite: {uriRegexRewrite: {match: /a}}", "rewrite.uriRegexRewrite.rewrite"),
        ("rewrite: {uri: '', authority: ''}", "rewrite"),
        ("rewrite: {authority: a}, headers: {request: {add: {':authority': b}}}", "rewrite.authority"),
        ("headers: {request: {set: {HOST: a, ':authority': b}}}", "headers.request.set.HOST"),
        ("headers: {response: {remove: [Host]}}", "headers.response.remove[0]"),
        ("headers: {request: {set: {x: 5%}}}", "headers.request.set.x"),
    ];
    for (rest, path) in table {
        let spec = format!("{{hosts: [web], http: [{{route: [{{destination: {{host: web}}}}], {rest}}}]}}");
        refused("VirtualService", &[(&spec, &format!("spec.http[0].{path}"))]);
    }
    refused(
        "VirtualService",
        &[
            (&format!("{{hosts: [web], exportTo: ['~'], {TO}}}"), "spec.exportTo[0]"),
            (&format!("{{hosts: [web], exportTo: [a, a], {TO}}}"), "spec.exportTo[1]"),
            (&format!("{{hosts: [we_b.example.com], {TO}}}"), "spec.hosts[0]"),
            (&format!("{{hosts: [web.1], {TO}}}"), "spec.hosts[0]"),
            (&format!("{{hosts: [web], gateways: ['12'], {TO}}}"), "spec.gateways[0]"),
            (
                "{hosts: [web], http: [{route: [{destination: {host: 10.1.0.1}}]}]}",
                "spec.http[0].route[0].destination.host",
            ),
            ("{hosts: [web], http: [{redirect: {uri: /}, rewrite: {uri: /}}]}", "spec.http[0].rewrite"),
            (
                "{hosts: [web], http: [{directResponse: {status: 200}, fault: {abort: {httpStatus: 500}}}]}",
                "spec.http[0].fault",
            ),
            (
                "{hosts: [web], tls: [{match: [{sniHosts: [other.example.com]}], route: [{destination: {host: web}}]}]}",
                "spec.tls[0].match[0].sniHosts[0]",
            ),
        ],
    );
}

#[test]
fn conditions_hidden_by_earlier_ones_are_reported() {
    let two = |first: &str, second: &str| {
        format!(
            "{{hosts: [web], http: [{{match: [{first}], route: [{{destination: {{host: a}}}}]}}, {{match: [{second}], \
             route: [{{destination: {{host: b}}}}]}}]}}"
        )
    };
    let hidden = [
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}"),
        ("{uri: {prefix: /a}}", "{uri: {exact: /a}, method: {exact: GET}}"),
        ("{uri: {prefix: /a}, name: one}", "{uri: {prefix: /a}, name: two}"),
        ("{headers: {h: {}}}", "{headers: {h: {exact: v}}, port: 80}"),
        ("{uri: {prefix: /A}, ignoreUriCase: true}", "{uri: {prefix: /A}}"),
        ("{sourceLabels: {app: web}}", "{sourceLabels: {app: web, version: v1}, sourceNamespace: shop}"),
    ];
    for (first, second) in hidden {
        let reason =
            "spec.http[1]: is never reached: spec.http[0].match[0] matches everything that it matches";
        taken("VirtualService", &[(&two(first, second), &[reason])]);
    }
    let reached = [
        ("{uri: {prefix: /a/b}}", "{uri: {prefix: /a}}"),
        ("{uri: {prefix: /a}, method: {exact: GET}}", "{uri: {prefix: /a/b}}"),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a}, ignoreUriCase: true}"),
        ("{uri: {regex: /a.*}}", "{uri: {prefix: /a}}"),
        ("{headers: {h: {exact: v}}}", "{headers: {h: {}}}"),
        ("{withoutHeaders: {h: {}}}", "{uri: {prefix: /}}"),
        ("{port: 80}", "{port: 81}"),
        ("{gateways: [edge]}", "{uri: {prefix: /}}"),
    ];
    for (first, second) in reached {
        taken("VirtualService", &[(&two(first, second), &[])]);
    }
    let tls = |first: &str, second: &str| {
        let route = |sni: &str| {
            format!("{{match: [{{sniHosts: ['{sni}']}}], route: [{{destination: {{host: a}}}}]}}")
        };
        format!("{{hosts: ['*.com'], tls: [{}, {}]}}", route(first), route(second))
    };
    taken("VirtualService", &[(&tls("*.a.com", "x.a.com"), &["spec.tls[1]: is never reached"])]);
    taken("VirtualService", &[(&tls("x.a.com", "*.a.com"), &[])]);
    taken(
        "VirtualService",
        &[(
            "{hosts: [web], tcp: [{route: [{destination: {host: a}}]}, {route: [{destination: {host: b}}]}]}",
            &["spec.tcp[1]: is never reached: spec.tcp[0] matches everything"],
        )],
    );
}

#[test]
fn destination_rules_get_istios_verdicts() {
    let policy = |text: &str| format!("{{host: web, trafficPolicy: {{{text}}}}}");
    let table: [(String, &[&str]); 13] = [
        (
            policy("tls: {mode: SIMPLE, clientCertificate: /c, privateKey: /k}"),
            &["spec.trafficPolicy.tls.clientCertificate", "spec.trafficPolicy.tls.privateKey"],
        ),
        (policy("tls: {mode: ISTIO_MUTUAL, caCertificates: /r}"), &["spec.trafficPolicy.tls.caCertificates"]),
        (
            policy("tls: {mode: DISABLE, insecureSkipVerify: true}"),
            &["spec.trafficPolicy.tls.insecureSkipVerify"],
        ),
        (policy("tls: {mode: MUTUAL, credentialName: c, insecureSkipVerify: true}"), &[]),
        (
            policy("loadBalancer: {consistentHash: {}}"),
            &["spec.trafficPolicy.loadBalancer.consistentHash: has no key"],
        ),
        (
            policy("loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 9}}"),
            &["spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize: is deprecated"],
        ),
        (
            policy("portLevelSettings: [{port: {number: 80}, tls: {}}, {port: {number: 80}, tls: {}}]"),
            &["spec.trafficPolicy.portLevelSettings[1].port.number: 80 already has settings"],
        ),
        (policy("outlierDetection: {splitExternalLocalOriginErrors: false}"), &[]),
        (
            policy("loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: -1s}}}"),
            &["spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.ttl: is negative: no cookie is set"],
        ),
        (policy("loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: -0s}}}"), &[]),
        (
            policy("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 1}}}"),
            &["spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize: has a single entry"],
        ),
        (policy("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 2}}}"), &[]),
        (policy("tls: {mode: SIMPLE, credentialName: 'kubernetes://c'}"), &[]),
    ];
    for (spec, said) in &table {
        taken("DestinationRule", &[(spec, said)]);
    }
    let table = [
        ("tls: {mode: SIMPLE, credentialName: c, insecureSkipVerify: true}", "tls.insecureSkipVerify"),
        (
            "tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, credentialName: c}",
            "tls.credentialName",
        ),
        ("tls: {mode: SIMPLE, subjectAltNames: [a], insecureSkipVerify: true}", "tls.insecureSkipVerify"),
        ("connectionPool: {tcp: {connectTimeout: 1.0001s}}", "connectionPool.tcp.connectTimeout"),
        ("connectionPool: {http: {idleTimeout: 1500us}}", "connectionPool.http.idleTimeout"),
        ("outlierDetection: {interval: 1.0001s}", "outlierDetection.interval"),
        ("outlierDetection: {baseEjectionTime: 1.0001s}", "outlierDetection.baseEjectionTime"),
        (
            "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}}",
            "loadBalancer.consistentHash.maglev.tableSize",
        ),
        ("portLevelSettings: [{port: {number: 80}}]", "portLevelSettings[0]"),
        (
            "loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: '-1'}}}",
            "loadBalancer.consistentHash.httpCookie.ttl",
        ),
        ("tls: {mode: SIMPLE, credentialName: 'configmap://c'}", "tls.credentialName"),
        ("tls: {mode: MUTUAL, credentialName: 'kubernetes://'}", "tls.credentialName"),
    ];
    for (text, path) in table {
        refused("DestinationRule", &[(&policy(text), &format!("spec.trafficPolicy.{path}"))]);
    }
    refused("DestinationRule", &[("{host: 10.1.0.1}", "spec.host"), ("{host: a_b.com}", "spec.host")]);
}

#[test]
fn gateways_get_istios_verdicts() {
    let server = |hosts: &str, protocol: &str, tls: &str| {
        format!(
            "{{servers: [{{hosts: [{hosts}], port: {{number: 443, name: p, protocol: {protocol}}}{tls}}}]}}"
        )
    };
    let table: [(String, &[&str]); 9] = [
        (
            server("'*'", "HTTPS", ", tls: {mode: SIMPLE, credentialName: c, httpsRedirect: true}"),
            &["spec.servers[0].tls.httpsRedirect"],
        ),
        (server("'*'", "TLS", ", tls: {credentialName: c}"), &["spec.servers[0].tls.credentialName"]),
        (
            server("'*'", "HTTPS", ", tls: {mode: SIMPLE, credentialName: c, privateKey: /k}"),
            &["spec.servers[0].tls.privateKey"],
        ),
        (
            server("'*'", "HTTPS", ", tls: {mode: MUTUAL, credentialName: c, caCertificates: /r}"),
            &["spec.servers[0].tls.caCertificates"],
        ),
        (
            server("'*'", "HTTPS", ", tls: {mode: SIMPLE, credentialName: c, subjectAltNames: [a]}"),
            &["spec.servers[0].tls.subjectAltNames"],
        ),
        (server("'*'", "HTTP", ", tls: {}"), &["spec.servers[0].tls: has no effect"]),
        (server("10.1.0.1", "HTTP", ""), &[]),
        (server("shop/*.example.com", "HTTP", ""), &[]),
        (server("'*'", "HTTPS", ", tls: {mode: SIMPLE, credentialName: 'kubernetes://c'}"), &[]),
    ];
    for (spec, said) in &table {
        taken("Gateway", &[(spec, said)]);
    }
    let table = [
        (server("web", "HTTP", ""), "spec.servers[0].hosts[0]"),
        (server("'*shop.example.com'", "HTTP", ""), "spec.servers[0].hosts[0]"),
        (server("'shop/*-a.example.com'", "HTTP", ""), "spec.servers[0].hosts[0]"),
        (server("'~/web.example.com'", "HTTP", ""), "spec.servers[0].hosts[0]"),
        (server("'2001:db8::1'", "HTTP", ""), "spec.servers[0].hosts[0]"),
        (
            server("'*'", "HTTPS", ", tls: {mode: SIMPLE, credentialName: c, credentialNames: []}"),
            "spec.servers[0].tls.credentialNames",
        ),
        (
            server("'*'", "HTTPS", ", tls: {mode: SIMPLE, credentialName: 'file://c'}"),
            "spec.servers[0].tls.credentialName",
        ),
        (
            server("'*'", "HTTP", ", tls: {httpsRedirect: true, mode: SIMPLE, credentialName: c}"),
            "spec.servers[0].tls",
        ),
        (server("'*'", "TCP", ", tls: {httpsRedirect: true}"), "spec.servers[0].tls"),
        (
            server(
                "'*'",
                "HTTPS",
                ", tls: {mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2}",
            ),
            "spec.servers[0].tls.minProtocolVersion",
        ),
        (
            server(
                "'*'",
                "HTTPS",
                ", tls: {mode: SIMPLE, credentialName: c, privateKey: /k, serverCertificate: /c}",
            ),
            "spec.servers[0].tls.credentialName",
        ),
    ];
    for (spec, path) in &table {
        refused("Gateway", &[(spec, path)]);
    }
}

#[test]
fn a_gateway_that_was_converted_from_the_gateway_api_may_serve_no_namespace() {
    let converted = mesh_kind(
        "networking",
        "Gateway",
        "{servers: [{hosts: ['~/web.example.com'], port: {number: 80, name: p, protocol: HTTP}}]}",
    )
    .replace("name: a,", "name: a.b, annotations: {internal.istio.io/gateway-semantics: gateway},");
    assert!(checked(&converted).item.is_some(), "{:?}", checked(&converted).errors);
    let plain = converted.replace("semantics: gateway", "semantics: other");
    let paths: Vec<String> = checked(&plain).errors.into_iter().map(|error| error.path).collect();
    assert_eq!(paths, ["metadata.name", "spec.servers[0].hosts[0]"]);
}

#[test]
fn sidecars_and_peer_authentications_get_istios_verdicts() {
    taken(
        "Sidecar",
        &[
            ("{outboundTrafficPolicy: {}}", &[]),
            (
                "{workloadSelector: {}, egress: [{hosts: ['./*']}]}",
                &["spec.workloadSelector.labels: is empty"],
            ),
            ("{egress: [{hosts: ['./*', shop/web.example.com]}]}", &["spec.egress[0].hosts[1]: `shop/web"]),
            ("{egress: [{hosts: ['./*', '*/*']}]}", &["spec.egress[0].hosts[0]: `./*` is included in `*/*`"]),
            ("{egress: [{hosts: [a/b.c, a/b.c]}]}", &["spec.egress[0].hosts[1]: `a/b.c` is included"]),
            ("{egress: [{hosts: ['~/*', ./a.b, c/a.b]}]}", &[]),
            ("{egress: [{hosts: ['./*'], captureMode: DEFAULT}]}", &[]),
        ],
    );
    refused(
        "Sidecar",
        &[
            ("{}", "spec"),
            ("{egress: []}", "spec"),
            ("{workloadSelector: {labels: {app: web}}}", "spec"),
            (
                "{workloadSelector: {labels: {'': web}}, egress: [{hosts: ['./*']}]}",
                "spec.workloadSelector.labels",
            ),
            ("{egress: [{hosts: ['./*']}, {hosts: [a/*]}]}", "spec.egress[0]"),
            ("{egress: [{hosts: [./web]}]}", "spec.egress[0].hosts[0]"),
            ("{egress: [{hosts: ['./*web.example.com']}]}", "spec.egress[0].hosts[0]"),
            ("{egress: [{hosts: [./a_b.com]}]}", "spec.egress[0].hosts[0]"),
            ("{egress: [{hosts: ['~~/*', ./*]}]}", "spec.egress[0].hosts[0]"),
            ("{egress: [{hosts: ['./*'], captureMode: NONE}]}", "spec.egress[0].captureMode"),
        ],
    );
    taken(
        "PeerAuthentication",
        &[
            ("{selector: {}, mtls: {mode: STRICT}}", &["spec.selector.matchLabels: is empty"]),
            ("{selector: {matchLabels: {app: web}}, portLevelMtls: {80: {}}}", &[]),
        ],
    );
    refused(
        "PeerAuthentication",
        &[
            ("{selector: {matchLabels: {app: web}}, portLevelMtls: {}}", "spec.portLevelMtls"),
            ("{selector: {matchLabels: {'': web}}}", "spec.selector.matchLabels"),
            ("{selector: {matchLabels: {app: '*'}}}", "spec.selector.matchLabels"),
            ("{portLevelMtls: {80: {mode: STRICT}}}", "spec.portLevelMtls"),
            ("{selector: {matchLabels: {app: web}}, portLevelMtls: {'+80': {}}}", "spec.portLevelMtls.+80"),
            ("{selector: {}, portLevelMtls: {80: {mode: STRICT}}}", "spec.portLevelMtls"),
        ],
    );
}
