//! Tables of objects that each kind's validator refuses, with the messages that users see.
#![expect(clippy::too_many_lines, reason = "tables are long")]

use super::*;
use crate::catalog::destination_rule::ClientTls;
use crate::catalog::policy::OutboundPolicy;
use crate::catalog::route::{HttpAction, RouteSet};
use crate::flow::Protocol;
use api::model::filter::Setting;
use api::model::filter::cors::CorsPolicy;
use api::model::matcher::{Fraction, HeaderTest, Pattern, StringMatch};
use api::model::route::RetryOn;
use api::resource::parse;
use proptest::prelude::*;
use std::time::Duration;

/// Validates the single object of a text.
pub(super) fn checked(text: &str) -> Checked {
    let parsed = parse::parse("a.yaml", text);
    assert!(parsed.refusals.is_empty(), "{text}: {:?}", parsed.refusals);
    let document = &parsed.documents[0];
    object(&document.place, &document.object, &Mesh::default())
}

pub(super) fn mesh_kind(group: &str, kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\nspec: {spec}\n"
    )
}

/// The first error of a spec as `path: reason`; empty when it is accepted.
fn error(kind: &str, spec: &str) -> String {
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    let checked = checked(&mesh_kind(group, kind, spec));
    assert_eq!(checked.item.is_none(), !checked.errors.is_empty());
    assert!(checked.errors.iter().all(|e| !e.next.is_empty()), "{:?}", checked.errors);
    checked.errors.first().map(|e| format!("{}: {}", e.path, e.reason)).unwrap_or_default()
}

fn errors_are(kind: &str, table: &[(&str, &str)]) {
    for (spec, expected) in table {
        assert_eq!(error(kind, spec), *expected, "{kind} {spec}");
    }
}

fn virtual_service(spec: &str) -> Arc<RouteSet> {
    let checked = checked(&mesh_kind("networking", "VirtualService", spec));
    match checked.item {
        Some(Item::Routes(vs)) => vs,
        _ => panic!("{spec}: {:?}", checked.errors),
    }
}

#[test]
fn the_sample_files_are_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/bookinfo");
    let folders = [folder.to_owned(), format!("{folder}/networking")];
    let entries = folders.iter().flat_map(|f| std::fs::read_dir(f).unwrap());
    let files: Vec<_> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let parsed = parse::parse(&file.display().to_string(), &std::fs::read_to_string(&file).unwrap());
        assert_eq!(parsed.refusals, []);
        for document in parsed.documents {
            let checked = object(&document.place, &document.object, &Mesh::default());
            assert_eq!((checked.errors, checked.warnings), (vec![], vec![]));
        }
    }
}

#[test]
fn virtual_services_are_refused_with_path_and_reason() {
    const ROUTE: &str = "http: [{route: [{destination: {host: b}}]}]";
    let with_route = |hosts: &str| format!("{{hosts: {hosts}, {ROUTE}}}");
    let hosts = [
        ("[a]", ""),
        ("[a.example.com, b.example.com]", ""),
        ("['*.example.com']", ""),
        ("['*']", "spec.hosts[0]: `*` would take all requests of the mesh"),
        ("[a, a]", "spec.hosts[1]: `a` overlaps spec.hosts[0]"),
        ("[a, A]", ""),
        ("[a, a.shop.svc.cluster.local]", ""),
        ("['*.b.c', a.b.c]", "spec.hosts[1]: `a.b.c` overlaps spec.hosts[0]"),
        ("['a b']", "spec.hosts[0]: `a b` is not a valid host"),
        ("['a.*.b']", "spec.hosts[0]: `a.*.b` is not a valid host"),
        ("['']", "spec.hosts[0]: is missing"),
    ];
    for (text, expected) in hosts {
        assert_eq!(error("VirtualService", &with_route(text)), expected, "{text}");
    }
    assert_eq!(error("VirtualService", &format!("{{hosts: ['*'], gateways: [g], {ROUTE}}}")), "");
    errors_are(
        "VirtualService",
        &[
            ("{hosts: [a]}", "spec: has no route"),
            (
                "{gateways: [g], http: [{route: [{destination: {host: b}}]}]}",
                "spec.gateways: is not used without spec.hosts",
            ),
            (
                "{hosts: [a], gateways: [a/b/c], http: [{route: [{destination: {host: b}}]}]}",
                "spec.gateways[0]: `a/b/c` is not a valid gateway name",
            ),
            (
                "{hosts: [a], exportTo: ['*', x], http: [{route: [{destination: {host: b}}]}]}",
                "spec.exportTo[0]: `*` cannot be combined with other entries",
            ),
            ("{http: [{delegate: {name: d}}]}", "spec.http: a delegate cannot delegate again"),
        ],
    );
}

/// The first error of one HTTP route.
fn route_error(route: &str) -> String {
    let error = error("VirtualService", &format!("{{hosts: [a], http: [{{{route}}}]}}"));
    error.strip_prefix("spec.http[0]").map(|e| e.trim_start_matches('.').to_owned()).unwrap_or(error)
}

#[test]
fn invalid_weights_are_refused() {
    let two = |one: i64, other: i64| {
        format!(
            "route: [{{destination: {{host: b}}, weight: {one}}}, {{destination: {{host: c}}, weight: {other}}}]"
        )
    };
    let table = [
        (two(80, 20), ""),
        (two(1, 2), ""),
        (two(0, 100), ""),
        (two(0, 0), "route: all weights are 0: no request would have a destination"),
        (two(-1, 101), "route[0].weight: -1 is not a valid weight"),
        (two(2_147_483_647, 2_147_483_647), ""),
        (two(2_147_483_648, 1), "route[0].weight: 2147483648 is not a valid weight"),
        ("route: [{destination: {host: b}, weight: 0}]".into(), ""),
    ];
    for (route, expected) in table {
        assert_eq!(route_error(&route), expected, "{route}");
    }
}

#[test]
fn http_routes_are_refused_with_path_and_reason() {
    const TO: &str = "route: [{destination: {host: b}}]";
    let with_route = [
        (
            "match: [{uri: {regex: '['}}]",
            "match[0].uri.regex: `[` is not a valid regular expression: unclosed character class",
        ),
        ("match: [{uri: {exact: /, prefix: /}}]", "match[0].uri: has several comparisons"),
        ("match: [{uri: {prefix: ''}}]", ""),
        ("match: [{authority: {prefix: ''}}]", "match[0].authority.prefix: is empty"),
        ("match: [{uri: {regex: ''}}]", "match[0].uri.regex: is empty"),
        ("match: [{headers: {a: {regex: ''}}}]", "match[0].headers.a.regex: is empty"),
        (
            "match: [{headers: {a: {regex: '*'}}}]",
            "match[0].headers.a.regex: `*` is not a valid regular expression: repetition operator missing expression",
        ),
        ("match: [{withoutHeaders: {a: {regex: '*'}}}]", ""),
        ("match: [{port: 0}]", ""),
        ("match: [{port: 65536}]", "match[0].port: 65536 is not a valid port number"),
        ("match: [{headers: {'a b': {exact: c}}}]", "match[0].headers.a b: `a b` is not a valid header name"),
        ("match: [{headers: {':path': {exact: c}}}]", ""),
        (
            "match: [{headers: {':status': {exact: c}}}]",
            "match[0].headers.:status: `:status` is not a valid header name",
        ),
        ("match: [{sourceLabels: {a: '*'}}]", "match[0].sourceLabels.a: `*` is not a valid label value"),
        (
            "match: [{headers: {'@request.auth.claims.sub': {exact: c}}}]",
            "match[0].headers.@request.auth.claims.sub: matching of JWT claims is not supported by this version: nothing verifies \
             tokens",
        ),
        ("match: [{statPrefix: x}]", "match[0].statPrefix: is not supported by this version"),
        ("match: [{sourceNamespace: A}]", ""),
        ("match: [{sourceNamespace: a.b}]", "match[0].sourceNamespace: `a.b` is not a valid namespace"),
        ("corsPolicy: {}", ""),
        ("corsPolicy: {allowOrigins: [{}]}", "corsPolicy.allowOrigins[0]: has no origin"),
        ("corsPolicy: {allowOrigins: [{exact: ''}]}", "corsPolicy.allowOrigins[0]: has no origin"),
        ("corsPolicy: {allowOrigins: [{prefix: ''}]}", "corsPolicy.allowOrigins[0].prefix: is empty"),
        (
            "corsPolicy: {allowOrigins: [{regex: '['}]}",
            "corsPolicy.allowOrigins[0].regex: `[` is not a valid regular expression: unclosed character class",
        ),
        ("corsPolicy: {allowOrigin: ['*'], allowMethods: ['*'], allowHeaders: ['*']}", ""),
        ("corsPolicy: {allowMethods: [GET, get]}", "corsPolicy.allowMethods[1]: `get` is not an HTTP method"),
        (
            "corsPolicy: {allowHeaders: ['a b']}",
            "corsPolicy.allowHeaders[0]: `a b` is not a valid header name",
        ),
        ("corsPolicy: {exposeHeaders: ['']}", "corsPolicy.exposeHeaders[0]: `` is not a valid header name"),
        ("corsPolicy: {maxAge: 1.5s}", "corsPolicy.maxAge: `1.5s` is more precise than a second"),
        ("corsPolicy: {maxAge: 24h, unmatchedPreflights: IGNORE}", ""),
        ("corsPolicy: {unmatchedPreflights: MAYBE}", "corsPolicy.unmatchedPreflights: `MAYBE` is not known"),
        (
            "timeout: '5'",
            "timeout: `5` is not a duration: the units are ns, us, ms, s, m and h; write it as 24h, 1h30m or 100ms",
        ),
        ("timeout: 0.5ms", "timeout: `0.5ms` is too short"),
        ("timeout: 1.5ms", "timeout: `1.5ms` is more precise than a millisecond"),
        ("timeout: 1000us", ""),
        ("retries: {attempts: -1}", "retries.attempts: -1 is not a valid number of attempts"),
        ("retries: {attempts: 0, retryOn: 5xx}", "retries.retryOn: has no effect with 0 attempts"),
        (
            "retries: {attempts: 1, retryOn: 'envoy-ratelimited'}",
            "retries.retryOn: `envoy-ratelimited` is not supported by this version",
        ),
        (
            "retries: {attempts: 1, retryOn: '5xx,oops'}",
            "retries.retryOn: `oops` is not a known retry condition",
        ),
        ("retries: {attempts: 1, retryOn: '999'}", "retries.retryOn: 999 is not a registered status code"),
        (
            "retries: {attempts: 1, retryOn: '5xx, 503'}",
            "retries.retryOn: ` 503` is not a known retry condition",
        ),
        ("retries: {attempts: 0, backoff: 1s}", ""),
        (
            "retries: {attempts: 1, retryRemoteLocalities: true}",
            "retries.retryRemoteLocalities: is not supported by this version",
        ),
        ("fault: {}", "fault: injects nothing"),
        ("fault: {delay: {percentage: {value: 1}}}", ""),
        ("fault: {abort: {percentage: {value: 1}}}", ""),
        (
            "fault: {abort: {httpStatus: 500, percentage: {value: 0.00001}}}",
            "fault.abort.percentage.value: 0.00001 is too small to be distinguished from 0",
        ),
        (
            "fault: {abort: {grpcStatus: '14', percentage: {value: 1}}}",
            "fault.abort.grpcStatus: `14` is not a gRPC status",
        ),
        (
            "fault: {abort: {httpStatus: 100, percentage: {value: 1}}}",
            "fault.abort.httpStatus: 100 is not a valid HTTP status",
        ),
        (
            "fault: {abort: {httpStatus: 500, percentage: {value: 101}}}",
            "fault.abort.percentage.value: 101 is not a percentage",
        ),
        (
            "fault: {abort: {httpStatus: 500, percentage: {value: -1}}}",
            "fault.abort.percentage.value: -1 is not a percentage",
        ),
        (
            "fault: {abort: {grpcStatus: NOPE, percentage: {value: 1}}}",
            "fault.abort.grpcStatus: `NOPE` is not a gRPC status",
        ),
        ("mirrorPercentage: {value: 1}", ""),
        ("mirrorPercentage: {value: 101}", "mirrorPercentage.value: 101 is not a percentage"),
        ("mirror: {host: '*'}", "mirror.host: `*` is not a valid destination"),
        ("mirror: {host: '*.a.com'}", ""),
        ("mirror: {host: 1.2.3.4}", "mirror.host: `1.2.3.4` is not a valid host"),
        ("mirror: {host: c}, mirrors: [{destination: {host: d}}]", "mirrors: cannot be combined with mirror"),
        ("rewrite: {}", "rewrite: changes nothing"),
        ("rewrite: {uri: ''}", "rewrite: changes nothing"),
        ("rewrite: {uriRegexRewrite: {match: a}}", "rewrite.uriRegexRewrite.rewrite: is missing"),
        (
            "rewrite: {authority: a}, headers: {request: {set: {Host: b}}}",
            "rewrite.authority: sets the authority, which headers.request sets too",
        ),
        (
            "headers: {request: {set: {host: a}, add: {':authority': b}}}",
            "headers.request.add.:authority: sets the authority a second time",
        ),
        (
            "rewrite: {uriRegexRewrite: {match: '(', rewrite: x}}",
            "rewrite.uriRegexRewrite.match: `(` is not a valid regular expression: unclosed group",
        ),
        (
            "headers: {request: {set: {':path': x}}}",
            "headers.request.set.:path: `:path` cannot be changed here",
        ),
        ("headers: {request: {add: {host: x}}}", ""),
        ("headers: {request: {remove: [host]}}", "headers.request.remove[0]: `host` cannot be changed here"),
        ("headers: {response: {set: {host: x}}}", "headers.response.set.host: `host` cannot be changed here"),
        ("headers: {response: {set: {a: '%HOSTNAME% %START_TIME(%s)%'}}}", ""),
        (
            "headers: {response: {set: {a: '%NOPE%'}}}",
            "headers.response.set.a: the value has an operator that is not supported by this version: %NOPE%",
        ),
        ("redirect: {uri: /}", "redirect: cannot be combined with route"),
    ];
    for (text, expected) in with_route {
        assert_eq!(route_error(&format!("{text}, {TO}")), expected, "{text}");
    }
    let without = [
        ("name: x", ": has no action"),
        ("route: [{}]", "route[0].destination: is missing"),
        ("route: [{destination: {host: ''}}]", "route[0].destination.host: is missing"),
        (
            "route: [{destination: {host: b, subset: V_1}}]",
            "route[0].destination.subset: `V_1` is not a valid name: use letters, digits and '-'",
        ),
        (
            "route: [{destination: {host: b, port: {number: 70000}}}]",
            "route[0].destination.port.number: 70000 is not a valid port number",
        ),
        ("redirect: {}", "redirect: changes nothing"),
        (
            "redirect: {uri: /, redirectCode: 304}",
            "redirect.redirectCode: 304 is not a supported redirect status",
        ),
        ("redirect: {uri: /}, timeout: 1s", ""),
        ("redirect: {uri: /}, rewrite: {uri: /}", "rewrite: is not used with redirect"),
        ("redirect: {uri: /}, fault: {abort: {httpStatus: 500}}", "fault: is not used with redirect"),
        ("redirect: {prefixRewrite: /}, match: [{uri: {prefix: /a}}]", ""),
        (
            "redirect: {prefixRewrite: /}, match: [{uri: {exact: /a}}]",
            "redirect.prefixRewrite: needs a prefix, and match[0].uri is not a prefix",
        ),
        ("redirect: {prefixRewrite: /, uri: /b}", "redirect.prefixRewrite: cannot be combined with uri"),
        ("directResponse: {status: 99}", "directResponse.status: 99 is not a valid HTTP status"),
        (
            "directResponse: {status: 200, body: {bytes: '%'}}",
            "directResponse.body.bytes: is not base64-encoded text",
        ),
        ("delegate: {name: ''}", ""),
        ("delegate: {name: d}, directResponse: {status: 200}", ""),
        ("delegate: {name: d}, redirect: {uri: /}", "delegate: cannot be combined with redirect"),
    ];
    for (text, expected) in without {
        assert_eq!(route_error(text), expected, "{text}");
    }
}

#[test]
fn hosts_are_completed_with_the_objects_namespace() {
    let vs = virtual_service("{hosts: [Reviews], http: [{route: [{destination: {host: ratings}}]}]}");
    assert_eq!(vs.hosts, ["reviews.shop.svc.cluster.local"]);
    let hosts: Vec<&str> = vs.destinations().map(|d| d.host.as_str()).collect();
    assert_eq!(hosts, ["ratings.shop.svc.cluster.local"]);
}

#[test]
fn retry_conditions_have_the_names_of_the_model() {
    let vs = virtual_service(
        "{hosts: [a], http: [{match: [{headers: {A: {}, b: {}, c: {prefix: x}}, withoutHeaders: {d: \
         {exact: z}, e: {}}, method: {exact: GET}, queryParams: {q: {}}, port: 80, gateways: [mesh, n/g]}], route: \
         [{destination: {host: b}}]}]}",
    );
    let condition = &vs.http[0].matches[0];
    let shown: Vec<String> = condition
        .headers
        .iter()
        .map(|h| {
            let test = if matches!(h.test, HeaderTest::Present(true)) { "present" } else { "text" };
            format!("{} {test} {} {}", h.name, h.invert, h.missing_as_empty)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ":method text false false",
            "a present false false",
            "b present false false",
            "c text false false",
            "d text true true",
            "e present true false",
        ]
    );
    assert_eq!(condition.query[0].value, None);
    assert_eq!((condition.source.port, condition.source.gateways.len()), (Some(80), 2));
}

#[test]
fn a_single_destination_gets_all_requests_and_zero_weights_are_dropped() {
    let count = |spec: &str| match &virtual_service(spec).http[0].action {
        HttpAction::Forward(to) => to.iter().map(|d| d.weight).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(count("{hosts: [a], http: [{route: [{destination: {host: b}, weight: 0}]}]}"), [1]);
    let two = "{hosts: [a], http: [{route: [{destination: {host: b}, weight: 0}, {destination: {host: c}, weight: 7}]}]}";
    assert_eq!(count(two), [7]);
}

#[test]
fn retries_faults_mirrors_and_rewrites_are_parsed() {
    let vs = virtual_service(
        "{hosts: [a], http: [{route: [{destination: {host: b}, headers: {request: {set: {Host: inner}}}}], timeout: \
         1m, retries: {attempts: 3, perTryTimeout: 2s, retryOn: '5xx,503'}, fault: {delay: {fixedDelay: 7s, percent: \
         50}, abort: {httpStatus: 500}}, mirror: {host: m}, mirrors: [], headers: {request: {set: {':authority': \
         outer}, add: {x: z}, remove: [Z]}}}]}",
    );
    let route = &vs.http[0];
    let retries = route.retries.as_ref().unwrap();
    assert_eq!(retries.on, Some(vec![RetryOn::ServerError, RetryOn::RetriableStatusCodes]));
    assert_eq!((retries.status_codes.as_slice(), retries.attempts), ([503].as_slice(), 3));
    assert_eq!(route.timeout, Some(Duration::from_mins(1)));
    let Setting::Fault(fault) = &route.filters[0].setting else { panic!() };
    assert_eq!(fault.delay.unwrap().fraction.numerator, 500_000);
    assert_eq!(fault.abort, None, "a fault without percentage injects nothing");
    assert_eq!(route.mirrors[0].fraction.numerator, 1_000_000);
    assert_eq!(route.rewrite_authority.as_deref(), Some("outer"));
    assert_eq!(route.request_headers.remove, ["z"]);
    let HttpAction::Forward(to) = &route.action else { panic!() };
    assert_eq!(to[0].rewrite_authority.as_deref(), Some("inner"));
}

#[test]
fn a_cors_policy_becomes_filter_settings() {
    let of = |policy: &str| {
        let spec = format!(
            "{{hosts: [a], http: [{{route: [{{destination: {{host: b}}}}], corsPolicy: {policy}}}]}}"
        );
        match virtual_service(&spec).http[0].filters[0].setting.clone() {
            Setting::Cors(policy) => policy,
            other => panic!("{other:?}"),
        }
    };
    let all = Some(Fraction { numerator: 100, denominator: 100 });
    let silent =
        CorsPolicy { forward_not_matching_preflights: Some(true), enabled: all, ..CorsPolicy::default() };
    assert_eq!(of("{}"), silent);
    let cors = "{allowOrigins: [{exact: 'http://a'}, {regex: '.*b'}], allowMethods: [GET, PUT], allowHeaders: [a, b], \
                exposeHeaders: [c], maxAge: 24h, allowCredentials: false, unmatchedPreflights: IGNORE}";
    let pattern = |pattern| StringMatch { pattern, ignore_case: false };
    let expected = CorsPolicy {
        allow_origins: vec![
            pattern(Pattern::Exact("http://a".into())),
            pattern(Pattern::Regex(".*b".into())),
        ],
        allow_methods: "GET,PUT".into(),
        allow_headers: "a,b".into(),
        expose_headers: "c".into(),
        max_age: "86400".into(),
        allow_credentials: Some(false),
        forward_not_matching_preflights: Some(false),
        ..silent
    };
    assert_eq!(of(cors), expected);
    assert_eq!(of("{allowOrigin: ['*']}").allow_origins, [StringMatch::exact("*")]);
}

#[test]
fn suspicious_routes_are_accepted_with_a_warning() {
    let text = mesh_kind(
        "networking",
        "VirtualService",
        "{hosts: [a], http: [{fault: {abort: {httpStatus: 500}}, route: [{destination: {host: b}}]}, {route: \
         [{destination: {host: c}}]}]}",
    );
    let checked = checked(&text);
    let warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "a.yaml:1: VirtualService shop/a: spec.http[0].fault.abort: injects nothing without percentage; add \
             percentage.value: 100",
            "a.yaml:1: VirtualService shop/a: spec.http[1]: is never reached: spec.http[0] matches everything; put it \
             before that route",
        ]
    );
}

#[test]
fn tls_and_tcp_routes_are_refused_with_path_and_reason() {
    errors_are(
        "VirtualService",
        &[
            ("{hosts: [a.b], tls: [{route: [{destination: {host: b}}]}]}", "spec.tls[0].match: is missing"),
            (
                "{hosts: [a.b], tls: [{match: [{}], route: [{destination: {host: b}}]}]}",
                "spec.tls[0].match[0].sniHosts: is missing",
            ),
            (
                "{hosts: [a.b], tls: [{match: [{sniHosts: [c.b]}], route: [{destination: {host: b}}]}]}",
                "spec.tls[0].match[0].sniHosts[0]: `c.b` is not covered by spec.hosts",
            ),
            ("{hosts: ['*.b'], tls: [{match: [{sniHosts: [C.b]}], route: [{destination: {host: b}}]}]}", ""),
            ("{hosts: [a], tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: b}}]}]}", ""),
            (
                "{hosts: [a], tls: [{match: [{sniHosts: [a.shop.svc.cluster.local]}], route: [{destination: {host: \
                 b}}]}]}",
                "spec.tls[0].match[0].sniHosts[0]: `a.shop.svc.cluster.local` is not covered by spec.hosts",
            ),
            ("{hosts: [a.b], tcp: [{route: []}]}", "spec.tcp[0].route: is missing"),
            (
                "{hosts: [a.b], tcp: [{match: [{destinationSubnets: [10.0.0.0/33]}], route: [{destination: {host: \
                 b}}]}]}",
                "spec.tcp[0].match[0].destinationSubnets[0]: `10.0.0.0/33` is not an IP address or network",
            ),
            (
                "{hosts: [a.b], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: b}}]}]}",
                "spec.tcp[0].match[0].sourceSubnet: is not supported by this version",
            ),
        ],
    );
}

#[test]
fn destination_rules_are_refused_with_path_and_reason() {
    errors_are(
        "DestinationRule",
        &[
            ("{host: a}", ""),
            ("{}", "spec.host: is missing"),
            ("{host: '*.local'}", ""),
            (
                "{host: a, subsets: [{name: v1}, {name: v1}]}",
                "spec.subsets[1].name: `v1` is already used by spec.subsets[0]",
            ),
            (
                "{host: a, subsets: [{name: v_1}]}",
                "spec.subsets[0].name: `v_1` is not a valid name: use letters, digits and '-'",
            ),
            ("{host: a, subsets: [{labels: {a: b}}]}", "spec.subsets[0].name: is missing"),
            ("{host: a, trafficPolicy: {}}", "spec.trafficPolicy: is empty"),
            ("{host: a, workloadSelector: {}}", "spec.workloadSelector: is not supported by this version"),
            (
                "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {}}}}",
                "spec.trafficPolicy.loadBalancer.localityLbSetting: is not supported by this version",
            ),
            (
                "{host: a, trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}}",
                "spec.trafficPolicy.loadBalancer.consistentHash: cannot be combined with simple",
            ),
            ("{host: a, subsets: [{name: V1}]}", ""),
            (
                "{host: a, exportTo: ['~']}",
                "spec.exportTo[0]: `~` would hide the object from every namespace",
            ),
            ("{host: a, exportTo: [b, b]}", "spec.exportTo[1]: namespace `b` is a duplicate"),
            ("{host: a, exportTo: [., shop]}", "spec.exportTo[1]: namespace `shop` is a duplicate"),
            ("{host: a, trafficPolicy: {loadBalancer: {consistentHash: {}}}}", ""),
            (
                "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 9, \
                 maglev: {tableSize: 7}}}}}",
                "spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize: cannot be combined with ringHash and maglev",
            ),
            (
                "{host: a, trafficPolicy: {connectionPool: {http: {maxRetries: 2147483648}}}}",
                "spec.trafficPolicy.connectionPool.http.maxRetries: 2147483648 is too great",
            ),
            (
                "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c, insecureSkipVerify: true}}}",
                "spec.trafficPolicy.tls.insecureSkipVerify: cannot be combined with credentialName",
            ),
            (
                "{host: a, trafficPolicy: {tls: {mode: MUTUAL, credentialName: c, insecureSkipVerify: true}}}",
                "",
            ),
            (
                "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c, caCertificates: x}}}",
                "spec.trafficPolicy.tls.credentialName: cannot be combined with files",
            ),
            ("{host: a, trafficPolicy: {tls: {mode: SIMPLE, clientCertificate: x, privateKey: x}}}", ""),
            (
                "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: 'configmap://c'}}}",
                "spec.trafficPolicy.tls.credentialName: a reference to anything but a Secret is not supported by \
                 this version",
            ),
            (
                "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: x}}}}",
                "spec.trafficPolicy.loadBalancer.consistentHash: has 2 keys",
            ),
            (
                "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}}}}",
                "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize: 10 is not a prime number below 5000011",
            ),
            (
                "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 18446744073709551615}}}}}",
                "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize: 18446744073709551615 is not a prime number below 5000011",
            ),
            ("{host: a, trafficPolicy: {connectionPool: {}}}", "spec.trafficPolicy.connectionPool: is empty"),
            (
                "{host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}}",
                "spec.trafficPolicy.connectionPool.tcp.connectTimeout: `0s` is too short",
            ),
            (
                "{host: a, trafficPolicy: {connectionPool: {http: {maxConcurrentStreams: 1}}}}",
                "spec.trafficPolicy.connectionPool.http.maxConcurrentStreams: is not supported by this version",
            ),
            (
                "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}",
                "spec.trafficPolicy.outlierDetection.maxEjectionPercent: 101 is not a percentage",
            ),
            (
                "{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}",
                "spec.trafficPolicy.tls.clientCertificate: is missing",
            ),
            ("{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, caCertificates: x}}}", ""),
            (
                "{host: a, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: x}}}",
                "spec.trafficPolicy.tls.insecureSkipVerify: cannot be combined with caCertificates",
            ),
            (
                "{host: a, trafficPolicy: {portLevelSettings: [{tls: {mode: DISABLE}}]}}",
                "spec.trafficPolicy.portLevelSettings[0].port: is missing",
            ),
            (
                "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 1}}]}}",
                "spec.trafficPolicy.portLevelSettings[0]: is empty",
            ),
        ],
    );
}

#[test]
fn a_policy_overlays_block_by_block_but_a_port_replaces_all() {
    let text = mesh_kind(
        "networking",
        "DestinationRule",
        "{host: a, trafficPolicy: {tls: {mode: DISABLE}, connectionPool: {tcp: {maxConnections: 0, connectTimeout: \
         1s}}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}, subsets: [{name: v1, \
         trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}, {name: v2, trafficPolicy: {portLevelSettings: [{port: {number: \
         80}, tls: {mode: DISABLE}}]}}]}",
    );
    let Some(Item::DestinationRule(rule)) = checked(&text).item else { panic!() };
    let whole = rule.effective(81, "");
    assert_eq!(whole.tls, Some(ClientTls::Disable));
    assert_eq!(whole.connection_pool.unwrap().limits.max_connections, u32::MAX, "0 is no limit");
    let port = rule.effective(80, "");
    assert!(port.tls.is_none() && port.connection_pool.is_none() && port.load_balancer.is_some());
    let subset = rule.effective(81, "v1");
    assert!(matches!(subset.tls, Some(ClientTls::Istio { .. })) && subset.connection_pool.is_some());
    let subset_port = rule.effective(80, "v2");
    assert!(subset_port.load_balancer.is_none() && subset_port.tls == Some(ClientTls::Disable));
}

#[test]
fn gateways_are_refused_with_path_and_reason() {
    let server = |rest: &str| format!("{{servers: [{{hosts: ['*'], {rest}}}]}}");
    let table = [
        ("port: {number: 80, name: http, protocol: HTTP}", ""),
        ("port: {number: 80, name: http, protocol: HTTP}, tls: {httpsRedirect: true}", ""),
        ("name: x", "spec.servers[0].port: is missing"),
        (
            "port: {number: 0, name: http, protocol: HTTP}",
            "spec.servers[0].port.number: 0 is not a valid port number",
        ),
        ("port: {number: 80, protocol: HTTP}", "spec.servers[0].port.name: is missing"),
        (
            "port: {number: 80, name: http, protocol: HTP}",
            "spec.servers[0].port.protocol: `HTP` is not a known protocol",
        ),
        (
            "port: {number: 80, name: http, protocol: HTTP}, bind: 1.2.3.4",
            "spec.servers[0].bind: is not supported by this version",
        ),
        (
            "port: {number: 80, name: http, protocol: HTTP}, tls: {mode: SIMPLE}",
            "spec.servers[0].tls: has no effect: the server uses plaintext",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}",
            "spec.servers[0].tls: is missing: the server uses TLS",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: SIMPLE}",
            "spec.servers[0].tls.credentialName: is missing",
        ),
        ("port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: c}", ""),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: c}",
            "spec.servers[0].tls.privateKey: is missing",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: MUTUAL, serverCertificate: c, privateKey: k}",
            "spec.servers[0].tls.caCertificates: is missing: clients cannot be verified",
        ),
        ("port: {number: 443, name: s, protocol: TLS}, tls: {mode: PASSTHROUGH}", ""),
        ("port: {number: 443, name: s, protocol: TLS}, tls: {mode: PASSTHROUGH, credentialName: c}", ""),
        (
            "port: {number: 443, name: s, protocol: TLS}, tls: {credentialName: c, serverCertificate: a, privateKey: b}",
            "spec.servers[0].tls.credentialName: cannot be combined with files",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: c, privateKey: b}",
            "",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: ISTIO_MUTUAL, credentialName: c}",
            "spec.servers[0].tls.credentialName: is not used with mode ISTIO_MUTUAL",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: c, httpsRedirect: true}",
            "",
        ),
        ("port: {number: 80, name: http, protocol: HTTP}, tls: {}", ""),
        (
            "port: {number: 80, name: http, protocol: HTTP}, tls: {httpsRedirect: true, mode: SIMPLE}",
            "spec.servers[0].tls: has no effect: the server uses plaintext",
        ),
        (
            "port: {number: 80, name: tcp, protocol: TCP}, tls: {}",
            "spec.servers[0].tls: has no effect: the server uses plaintext",
        ),
        (
            "port: {number: 443, name: s, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}",
            "spec.servers[0].tls.mode: is not supported by this version",
        ),
        (
            "port: {number: 443, name: s, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_1}",
            "spec.servers[0].tls.minProtocolVersion: TLS 1.0 and 1.1 are not supported: they are insecure",
        ),
    ];
    for (rest, expected) in table {
        assert_eq!(error("Gateway", &server(rest)), expected, "{rest}");
    }
    errors_are(
        "Gateway",
        &[
            ("{}", "spec.servers: is missing"),
            (
                "{servers: [{port: {number: 80, name: a, protocol: HTTP}}]}",
                "spec.servers[0].hosts: is missing",
            ),
            (
                "{servers: [{hosts: [a.b/a.com], port: {number: 80, name: a, protocol: HTTP}}]}",
                "spec.servers[0].hosts[0]: `a.b` is not a valid namespace",
            ),
            (
                "{servers: [{hosts: [~/a.com], port: {number: 80, name: a, protocol: HTTP}}]}",
                "spec.servers[0].hosts[0]: `~` is not a valid namespace",
            ),
            (
                "{servers: [{hosts: [a], port: {number: 80, name: a, protocol: HTTP}}]}",
                "spec.servers[0].hosts[0]: `a` is a short name",
            ),
            (
                "{servers: [{hosts: ['*a.com'], port: {number: 80, name: a, protocol: HTTP}}]}",
                "spec.servers[0].hosts[0]: `*a.com` has a wildcard within a label",
            ),
            (
                "{servers: [{hosts: [a.a], port: {number: 80, name: a, protocol: HTTP}}, {hosts: [b.b], port: {number: 81, name: a, protocol: HTTP}}]}",
                "spec.servers[1].port.name: `a` is already the name of the port of spec.servers[0]",
            ),
            (
                "{servers: [{hosts: [a.a], port: {number: 80, name: a, protocol: HTTP}}, {hosts: [b.b], port: {number: 80, name: b, protocol: TCP}}]}",
                "",
            ),
            (
                "{servers: [{hosts: [a.a], port: {number: 80, name: a, protocol: HTTP}}, {hosts: [b.b], port: {number: 80, name: b, protocol: HTTP}}]}",
                "",
            ),
        ],
    );
}

#[test]
fn service_entries_are_refused_with_path_and_reason() {
    const PORTS: &str = "ports: [{number: 443, name: tls, protocol: TLS}]";
    let table = [
        ("hosts: [a.com], resolution: DNS", ""),
        ("hosts: [a.com]", ""),
        ("resolution: DNS", "spec.hosts: is missing"),
        ("hosts: ['*']", "spec.hosts[0]: `*` would match every host"),
        ("hosts: ['*.a.com'], resolution: DNS", "spec.hosts[0]: `*.a.com` cannot be resolved"),
        ("hosts: ['*.a.com']", ""),
        ("hosts: [a.com], resolution: STATIC", ""),
        ("hosts: ['12'], resolution: DNS", "spec.hosts[0]: `12` cannot be resolved"),
        ("hosts: [a_b.com]", "spec.hosts[0]: `a_b.com` is not a valid host"),
        ("hosts: [1.2.3.4]", "spec.hosts[0]: `1.2.3.4` is not a valid host"),
        ("hosts: [a.com], resolution: DNS, workloadSelector: {labels: {a: b}}", ""),
        (
            "hosts: [a.com], resolution: STATIC, workloadSelector: {labels: {'': b}}",
            "spec.workloadSelector.labels: has a label without a name",
        ),
        (
            "hosts: [a.com], resolution: STATIC, workloadSelector: {labels: {a: '*'}}",
            "spec.workloadSelector.labels: `a=*` has a wildcard",
        ),
        (
            "hosts: [a.com], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.com}, {address: c.com}]",
            "spec.endpoints: has several entries, and DNS_ROUND_ROBIN resolves one name",
        ),
        ("hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///a'}]", ""),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///a', ports: {tls: 1}}]",
            "spec.endpoints[0].ports: are not used with a Unix socket",
        ),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///a/'}]",
            "spec.endpoints[0].address: `unix:///a/` is not an absolute file path",
        ),
        (
            "hosts: [a.com], resolution: DNS, endpoints: [{address: 'unix:///a'}]",
            "spec.endpoints[0].address: `unix:///a` is not a valid host",
        ),
        (
            "hosts: [a.com], resolution: DNS, addresses: [10.0.0.0/24]",
            "spec.addresses[0]: `10.0.0.0/24` is a network, which cannot stand for names that DNS resolves",
        ),
        ("hosts: [a.com], resolution: STATIC, endpoints: [{address: 1.2.3.4}]", ""),
        ("hosts: [a.com], resolution: STATIC, workloadSelector: {labels: {a: b}}", ""),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: b.com}]",
            "spec.endpoints[0].address: `b.com` is not an IP address",
        ),
        (
            "hosts: [a.com], endpoints: [{address: 1.2.3.4}]",
            "spec.endpoints: are not used with resolution NONE",
        ),
        (
            "hosts: [a.com], resolution: DYNAMIC_DNS",
            "spec.resolution: DYNAMIC_DNS is not supported by this version",
        ),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{address: 1.2.3.4, ports: {http: 80}}]",
            "spec.endpoints[0].ports.http: no port of spec.ports is named `http`",
        ),
        (
            "hosts: [a.com], addresses: [10.0.0.0/40]",
            "spec.addresses[0]: `10.0.0.0/40` is not an IP address or network",
        ),
    ];
    for (rest, expected) in table {
        assert_eq!(error("ServiceEntry", &format!("{{{rest}, {PORTS}}}")), expected, "{rest}");
    }
    errors_are(
        "ServiceEntry",
        &[
            ("{hosts: [a.com]}", ""),
            (
                "{hosts: [a.com, b.com], resolution: DNS, ports: [{number: 80, name: a}]}",
                "spec.ports[0].protocol: connections to port 80 do not show which host they are for",
            ),
            (
                "{hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///a'}], ports: [{number: 80, name: \
                 a}, {number: 81, name: b}]}",
                "spec.endpoints[0].address: a Unix socket serves one port, and spec.ports has 2",
            ),
            ("{hosts: [a.com], ports: [{number: 80}]}", "spec.ports[0].name: is missing"),
            (
                "{hosts: [a.com], ports: [{number: 80, name: a, protocol: X}]}",
                "spec.ports[0].protocol: `X` is not a known protocol",
            ),
            (
                "{hosts: [a.com], ports: [{number: 80, name: a}, {number: 80, name: b}]}",
                "spec.ports[1].number: 80 is a duplicate",
            ),
        ],
    );
}

#[test]
fn sidecars_and_peer_authentications_are_refused_with_path_and_reason() {
    errors_are(
        "Sidecar",
        &[
            ("{egress: [{hosts: ['./*', 'istio-system/*']}]}", ""),
            ("{egress: [{hosts: [a]}]}", "spec.egress[0].hosts[0]: `a` has no namespace"),
            ("{egress: [{}]}", "spec.egress[0].hosts: is missing"),
            (
                "{egress: [{port: {number: 1}, hosts: ['*/*']}]}",
                "spec.egress[0].port: is not supported by this version",
            ),
            ("{ingress: [{}]}", "spec.ingress: is not supported by this version"),
            ("{ingress: []}", "spec: is empty"),
            ("{}", "spec: is empty"),
            ("{workloadSelector: {labels: {a: b}}}", "spec: is empty"),
            ("{outboundTrafficPolicy: {}}", ""),
            (
                "{egress: [{hosts: ['./*']}, {hosts: ['./*']}]}",
                "spec.egress[0]: has no port and is not the last: it takes all ports",
            ),
            ("{egress: [{hosts: [./a]}]}", "spec.egress[0].hosts[0]: `a` is a short name"),
            (
                "{egress: [{hosts: ['./*a.com']}]}",
                "spec.egress[0].hosts[0]: `*a.com` has a wildcard within a label",
            ),
            ("{egress: [{hosts: ['./1.2.3.4']}]}", "spec.egress[0].hosts[0]: `1.2.3.4` is not a valid host"),
            ("{egress: [{hosts: ['~x/*']}]}", ""),
            ("{egress: [{hosts: ['~~x/*']}]}", "spec.egress[0].hosts[0]: `~x` is not a valid namespace"),
        ],
    );
    errors_are(
        "PeerAuthentication",
        &[
            ("{}", ""),
            ("{mtls: {mode: STRICT}}", ""),
            (
                "{portLevelMtls: {80: {mode: STRICT}}}",
                "spec.portLevelMtls: needs a selector: ports are those of workloads",
            ),
            ("{selector: {matchLabels: {a: b}}, portLevelMtls: {80: {mode: DISABLE}}}", ""),
            ("{selector: {matchLabels: {a: b}}, portLevelMtls: {}}", "spec.portLevelMtls: is empty"),
            ("{selector: {matchLabels: {'': b}}}", "spec.selector.matchLabels: has a label without a name"),
            (
                "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: DISABLE}}}",
                "spec.portLevelMtls.http: `http` is not a valid port number",
            ),
            (
                "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: DISABLE}}}",
                "spec.portLevelMtls.0: 0 is not a valid port number",
            ),
        ],
    );
    let root = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: \
                istio-system}\nspec: {selector: {matchLabels: {a: b}}}";
    assert_eq!(checked(root).errors[0].path, "spec.selector");
}

#[test]
fn ports_have_the_protocol_that_istio_selects() {
    let table = [
        ("TCP", None, "http", 80, Protocol::Http),
        ("TCP", None, "http-web", 80, Protocol::Http),
        ("TCP", None, "HTTP2-x", 80, Protocol::Http2),
        ("TCP", None, "grpc", 80, Protocol::Grpc),
        ("TCP", None, "grpc-web", 80, Protocol::GrpcWeb),
        ("TCP", None, "https", 443, Protocol::Https),
        ("TCP", None, "tls-x", 443, Protocol::Tls),
        ("TCP", None, "tcp", 80, Protocol::Tcp),
        ("TCP", None, "mongo-db", 80, Protocol::Tcp),
        ("TCP", None, "httpx", 80, Protocol::Sniffed),
        ("TCP", None, "", 80, Protocol::Sniffed),
        ("TCP", None, "", 3306, Protocol::Tcp),
        ("TCP", None, "http", 3306, Protocol::Http),
        ("TCP", Some("grpc"), "http", 80, Protocol::Grpc),
        ("TCP", Some("kubernetes.io/h2c"), "", 80, Protocol::Http2),
        ("TCP", Some("kubernetes.io/ws"), "", 80, Protocol::Http),
        ("TCP", Some("example.com/x"), "http", 80, Protocol::Sniffed),
        ("UDP", Some("http"), "http", 80, Protocol::Udp),
    ];
    for (transport, application, name, number, expected) in table {
        assert_eq!(
            service::protocol(transport, application, name, number),
            expected,
            "{name} {application:?}"
        );
    }
}

#[test]
fn a_workload_is_named_after_its_owner() {
    let pod = |owner: &str, labels: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p-1, labels: {{{labels}}}, ownerReferences: [{owner}]}}\n"
        );
        match checked(&text).item {
            Some(Item::Workload(w)) => w.workload_name.clone(),
            other => panic!("{other:?}"),
        }
    };
    let owner = |kind: &str, name: &str| {
        format!("{{apiVersion: v1, kind: {kind}, name: {name}, uid: u, controller: true}}")
    };
    assert_eq!(pod(&owner("ReplicaSet", "reviews-v1-6f9c"), "pod-template-hash: 6f9c"), "reviews-v1");
    assert_eq!(pod(&owner("ReplicaSet", "reviews-v1-6f9c"), ""), "reviews-v1");
    assert_eq!(pod(&owner("ReplicaSet", "reviews-v1"), "pod-template-hash: x"), "reviews-v1");
    assert_eq!(pod(&owner("StatefulSet", "db"), ""), "db");
    assert_eq!(pod(&owner("Job", "backup-28333220"), ""), "backup");
    assert_eq!(pod(&owner("Job", "migrate-2"), ""), "migrate-2");
    assert_eq!(pod("", ""), "p-1");
    assert_eq!(pod(&owner("StatefulSet", "db"), "service.istio.io/workload-name: store"), "store");
}

#[test]
fn the_meshs_settings_come_from_the_config_map_of_the_root_namespace() {
    let text = |namespace: &str, mesh: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: {namespace}}}\ndata:\n  mesh: |-\n    {mesh}\n"
        )
    };
    let settings = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
    let Some(Item::Mesh(mesh)) = checked(&text("istio-system", settings)).item else { panic!() };
    assert_eq!(mesh.outbound, OutboundPolicy::RegistryOnly);
    assert!(matches!(checked(&text("shop", settings)).item, Some(Item::Other)));
    let errors = checked(&text("istio-system", "meshNetworks: {}")).errors;
    assert_eq!(errors[0].path, "data.mesh.meshNetworks");
    let networks =
        |written: &str| checked(&(text("istio-system", settings) + "  meshNetworks: '" + written + "'\n"));
    assert_eq!(networks("networks: {}").errors, []);
    assert_eq!(networks("networks: {a: {}}").errors[0].path, "data.meshNetworks");
}

#[test]
fn weights_that_do_not_add_up_to_100_are_reported_as_percentages() {
    let warning = |one: u32, other: u32| {
        let object = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{{route: \
             [{{destination: {{host: b}}, weight: {one}}}, {{destination: {{host: c}}, weight: {other}}}]}}]}}\n"
        );
        let checked = checked(&object);
        assert_eq!(checked.errors, []);
        checked.warnings.iter().map(|w| format!("{}: {}", w.path, w.reason)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(warning(80, 20), "");
    assert_eq!(warning(0, 100), "");
    let reason = "spec.http[0].route: the weights add up to 120, not 100: they are shares of 50 %, 50 %";
    assert_eq!(warning(60, 60), reason);
    let reason = "spec.http[0].route: the weights add up to 3, not 100: they are shares of 33.3 %, 66.7 %";
    assert_eq!(warning(1, 2), reason);
}

/// Validates a ConfigMap with this MeshConfig.
fn config_map(mesh: &str) -> Checked {
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n";
    checked(&format!("{head}    {}\n", mesh.replace('\n', "\n    ")))
}

fn settings(mesh: &str) -> Result<Arc<Mesh>, String> {
    let checked = config_map(mesh);
    match checked.item {
        Some(Item::Mesh(mesh)) => Ok(mesh),
        _ => Err(checked.errors[0].path.clone()),
    }
}

#[test]
fn paths_are_normalised_as_configured_or_with_istios_default() {
    use crate::catalog::policy::PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
    for (written, expected) in [
        ("trustDomain: a", Base),
        ("pathNormalization: {}", Base),
        ("pathNormalization: {normalization: DEFAULT}", Base),
        ("pathNormalization: {normalization: BASE}", Base),
        ("pathNormalization: {normalization: NONE}", None),
        ("pathNormalization: {normalization: MERGE_SLASHES}", MergeSlashes),
        ("pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}", DecodeAndMergeSlashes),
    ] {
        assert_eq!(settings(written).unwrap().paths, expected, "{written}");
    }
    for (written, path) in [
        ("pathNormalization: {normalization: base}", "data.mesh.pathNormalization.normalization"),
        ("pathNormalization: {normalisation: BASE}", "data.mesh.pathNormalization.normalisation"),
    ] {
        assert_eq!(settings(written).unwrap_err(), path);
    }
}

#[test]
fn ignored_settings_are_warnings() {
    let warnings = |mesh: &str| {
        let head =
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n";
        let found = checked(&format!("{head}  mesh: |-\n    {mesh}\n")).warnings;
        found.into_iter().map(|warning| warning.path).collect::<Vec<_>>().join(" ")
    };
    for (written, paths) in [
        ("defaultConfig: {concurrency: 2}", "data.mesh.defaultConfig"),
        ("enablePrometheusMerge: false", "data.mesh.enablePrometheusMerge"),
        ("accessLogEncoding: JSON", "data.mesh.accessLogEncoding"),
        ("accessLogFormat: a", "data.mesh.accessLogFormat"),
        ("{accessLogFormat: a, accessLogFile: /dev/stdout}", ""),
        ("connectTimeout: 3s", ""),
    ] {
        assert_eq!(warnings(written), paths, "{written}");
    }
}

#[test]
fn settings_that_the_injector_reads_from_a_cluster_are_no_warnings_there() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |-\n    \
                enablePrometheusMerge: false\n    defaultConfig: {concurrency: 2}\n    accessLogFormat: a\n";
    let parsed = parse::parse("a.yaml", text).documents.remove(0);
    let warnings = |place: &Place| {
        let found = object(place, &parsed.object, &Mesh::default()).warnings;
        found.into_iter().map(|warning| warning.path).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&Place::cluster("c", "1")), ["data.mesh.accessLogFormat"]);
    assert_eq!(warnings(&Place::new("a.yaml", 1)).len(), 3);
}

#[test]
fn each_line_of_a_text_log_has_an_end() {
    use api::model::access_log::{JsonFormat, LogFormat};
    let format = |text: &str, encoding: &str| {
        let log =
            format!("accessLogFile: /dev/stdout\naccessLogFormat: {text}\naccessLogEncoding: {encoding}");
        settings(&log).unwrap().access_log[0].format.clone()
    };
    let text = |text: &str| LogFormat::Text(text.into());
    for (written, expected) in [
        ("'%PROTOCOL%'", text("%PROTOCOL%\n")),
        ("\"%PROTOCOL%\\n\"", text("%PROTOCOL%\n")),
        ("\"%PROTOCOL%\\r\\n\"", text("%PROTOCOL%\r\n")),
        ("\"a\\nb\"", text("a\nb\n")),
        ("' '", text(" \n")),
        ("''", LogFormat::DefaultText),
    ] {
        assert_eq!(format(written, "TEXT"), expected, "{written}");
    }
    let json = |value: &serde_json::Value| LogFormat::Json(JsonFormat::fields(value.as_object().unwrap()));
    assert_eq!(format("'{\"p\": \"%PROTOCOL%\"}'", "JSON"), json(&serde_json::json!({"p": "%PROTOCOL%"})));
    let nested = serde_json::json!({"b": {"d": [1, "%PROTOCOL%"], "c": null}, "a": true});
    assert_eq!(
        format(&format!("'{nested}'"), "JSON"),
        json(&nested),
        "objects, lists, numbers and truth values"
    );
    let LogFormat::Json(default) = format("''", "JSON") else { panic!("it is JSON") };
    assert_eq!(default.len(), 24);
    assert!(default.is_sorted_by_key(|(key, _)| key), "a proxy gets a map, whose keys are in order");
}

#[test]
fn log_operators_are_those_that_proxies_support() {
    let refused = |encoding: &str, text: &str| {
        let log =
            format!("accessLogFile: /dev/stdout\naccessLogFormat: '{text}'\naccessLogEncoding: {encoding}");
        config_map(&log).errors.iter().map(|error| error.reason.clone()).collect::<String>()
    };
    for row in api::format::rows().filter(|row| !row.example().contains('\'')) {
        let text = refused("TEXT", &row.example());
        assert_eq!(text.is_empty(), row.refusal().is_none(), "{}: {text}", row.name);
        assert!(row.refusal().is_none_or(|reason| text.contains(reason)), "{}: {text}", row.name);
    }
    let nested = refused("JSON", "{\"a\": {\"b\": [\"%NOPE%\"]}}");
    assert!(nested.contains("not supported by this version: %NOPE%"), "{nested}");
}

const REAL: [&str; 4] = [
    include_str!("../../../samples/bookinfo/networking/virtual-service-ratings-test-delay.yaml"),
    include_str!("../../../samples/bookinfo/networking/destination-rule-all-mtls.yaml"),
    include_str!("../../../samples/bookinfo/networking/bookinfo-gateway.yaml"),
    include_str!("../../../samples/bookinfo/bookinfo.yaml"),
];

proptest! {
    #[test]
    fn a_mutated_file_never_panics_and_invalid_objects_change_nothing(
        file in 0..REAL.len(), at in 0..10_000usize, cut in 0..12usize, put in "[-0-9a-z*:{}\\[\\]\n ]{0,6}"
    ) {
        let catalog = applied(&crate::catalog::Catalog::default(), &REAL.join("\n---\n"));
        let mut bytes = REAL[file].as_bytes().to_vec();
        let at = at % bytes.len();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put.into_bytes());
        let parsed = parse::parse("a.yaml", &String::from_utf8_lossy(&bytes));
        let refused: Vec<_> = parsed.refusals.iter().filter_map(|r| r.key.clone()).collect();
        let facts = parsed.documents.into_iter().map(Fact::Upsert);
        let facts = facts.chain(parsed.refusals.into_iter().map(Fact::Refused)).collect();
        let (changes, verdicts) = judge(facts, catalog.mesh());
        let (next, _) = catalog.apply(changes);
        let rejected = verdicts.into_iter().filter(|v| !v.accepted()).filter_map(|v| v.key);
        for key in rejected.chain(refused).filter(|key| catalog.item(key).is_some()) {
            prop_assert_eq!(catalog.item(&key), next.item(&key), "{} changed", key);
        }
    }
}

fn applied(catalog: &crate::catalog::Catalog, text: &str) -> crate::catalog::Catalog {
    let parsed = parse::parse("a.yaml", text);
    assert_eq!(parsed.refusals, []);
    let facts = parsed.documents.into_iter().map(Fact::Upsert).collect();
    catalog.apply(judge(facts, catalog.mesh()).0).0
}
