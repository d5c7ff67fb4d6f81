//! Tests of route matching: hosts, paths, headers, weights, rewrites and redirects.

use super::*;
use crate::snapshot::table::{Action, RouteTable};
use api::model::matcher::{
    Fraction, HeaderMatch, HeaderMutations, HeaderTest, Pattern, QueryMatch, StringMatch,
};
use api::model::route as model;
use http::{HeaderMap, HeaderValue, Method};
use model::{Forward, PathMatch, RouteAction, RouteConfiguration, RouteMatch};
use proptest::prelude::*;

fn route(name: &str, criteria: RouteMatch) -> model::Route {
    model::Route {
        name: name.into(),
        criteria,
        action: RouteAction::Forward(Box::new(Forward::to(name))),
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        filters: vec![],
        origin: None,
    }
}

fn virtual_host(name: &str, domains: &[&str], routes: Vec<model::Route>) -> model::VirtualHost {
    model::VirtualHost {
        name: name.into(),
        domains: domains.iter().map(|d| (*d).to_owned()).collect(),
        routes,
        ..Default::default()
    }
}

fn table(virtual_hosts: Vec<model::VirtualHost>, ignore_port_in_host: bool) -> RouteTable {
    RouteTable::compile(&Arc::new(RouteConfiguration {
        name: "r".into(),
        virtual_hosts,
        ignore_port_in_host,
        ..Default::default()
    }))
    .unwrap()
}

fn head<'a>(authority: &'a str, target: &'a str, headers: &'a HeaderMap) -> Head<'a> {
    Head { method: &Method::GET, authority, target, scheme: "http", headers }
}

#[test]
fn the_most_specific_domain_wins() {
    let domains = ["a.example.com", "*.example.com", "*.com", "a.*", "a.example.*", "*"];
    let hosts = domains.iter().map(|d| virtual_host(d, &[d], vec![])).collect();
    let table = table(hosts, false);
    for (authority, expected) in [
        ("a.example.com", "a.example.com"),
        ("A.Example.COM", "a.example.com"),
        ("b.example.com", "*.example.com"),
        ("x.y.example.com", "*.example.com"),
        ("example.com", "*.com"),
        ("a.example.org", "a.example.*"),
        ("a.org", "a.*"),
        ("org", "*"),
        ("a.example.com:80", "a.example.*"),
    ] {
        assert_eq!(&*host(&table, authority).unwrap().name, expected, "{authority}");
    }
}

#[test]
fn ports_of_hosts_are_ignored_if_configured() {
    let table = table(vec![virtual_host("a", &["a.b", "[::1]"], vec![])], true);
    for authority in ["a.b", "a.b:8080", "[::1]:80", "[::1]"] {
        assert!(host(&table, authority).is_some(), "{authority}");
    }
    assert!(host(&table, "a.b.c:80").is_none());
}

#[test]
fn a_domain_belongs_to_one_host_only() {
    let hosts = vec![virtual_host("1", &["a"], vec![]), virtual_host("2", &["A"], vec![])];
    let result =
        RouteTable::compile(&Arc::new(RouteConfiguration { virtual_hosts: hosts, ..Default::default() }));
    assert!(result.unwrap_err().to_string().contains("`A`"));
}

fn taken(criteria: RouteMatch, target: &str, headers: &[(&'static str, &'static str)]) -> bool {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    let table = table(vec![virtual_host("h", &["*"], vec![route("r", criteria)])], false);
    find(&table, &head("h", target, &map), 0).is_ok()
}

#[test]
fn paths_match_as_envoy_does() {
    let prefix = |p: &str| PathMatch::Prefix(p.into());
    let exact = |p: &str| PathMatch::Exact(p.into());
    let regex = |p: &str| PathMatch::Regex(p.into());
    let segments = |p: &str| PathMatch::Segments(p.into());
    for (path, target, expected) in [
        (prefix("/"), "/x", true),
        (prefix("/a"), "/ab?c", true),
        (prefix("/a"), "/b", false),
        (exact("/a"), "/a?b=c", true),
        (exact("/a"), "/a/", false),
        (regex("/a.*"), "/abc?x", true),
        (regex("/a"), "/ab", false),
        (segments("/a"), "/a", true),
        (segments("/a"), "/a/b", true),
        (segments("/a"), "/ab", false),
        (segments("/a/"), "/a", true),
        (segments("/"), "/anything", true),
    ] {
        assert_eq!(taken(RouteMatch::path(path.clone()), target, &[]), expected, "{path:?} {target}");
    }
    let folded = RouteMatch { ignore_case: true, ..RouteMatch::path(prefix("/A")) };
    assert!(taken(folded, "/ab", &[]));
}

#[test]
fn all_conditions_must_hold() {
    let user = HeaderMatch {
        name: "end-user".into(),
        test: HeaderTest::Text(StringMatch::exact("jason")),
        invert: false,
        missing_as_empty: false,
    };
    let query = QueryMatch {
        name: "v".into(),
        value: Some(StringMatch { pattern: Pattern::Exact("2".into()), ignore_case: false }),
        absent: false,
    };
    let criteria = RouteMatch { headers: vec![user], query: vec![query], ..RouteMatch::any() };
    for (target, headers, expected) in [
        ("/?v=2", &[("end-user", "jason")][..], true),
        ("/?v=1", &[("end-user", "jason")], false),
        ("/?v=2", &[("end-user", "mary")], false),
        ("/?v=2", &[], false),
    ] {
        assert_eq!(taken(criteria.clone(), target, headers), expected, "{target} {headers:?}");
    }
    let grpc = RouteMatch { grpc: true, ..RouteMatch::any() };
    assert!(taken(grpc.clone(), "/", &[("content-type", "application/grpc+proto")]));
    assert!(!taken(grpc, "/", &[("content-type", "text/plain")]));
}

#[test]
fn the_first_route_that_matches_wins() {
    let routes = vec![
        route("user", RouteMatch::path(PathMatch::Prefix("/a".into()))),
        route("all", RouteMatch::any()),
    ];
    let table = table(vec![virtual_host("h", &["*"], routes)], false);
    let headers = HeaderMap::new();
    let name = |target: &str| find(&table, &head("h", target, &headers), 0).map(|r| r.route.name.to_string());
    assert_eq!(name("/a"), Ok("user".into()));
    assert_eq!(name("/b"), Ok("all".into()));
    assert_eq!(name("*"), Err(NoRoute::Route));
}

#[test]
fn a_share_of_requests_is_a_condition_too() {
    let half =
        RouteMatch { fraction: Some(Fraction { numerator: 50, denominator: 100 }), ..RouteMatch::any() };
    let table = table(vec![virtual_host("h", &["*"], vec![route("r", half)])], false);
    let headers = HeaderMap::new();
    let taken = (0..100).filter(|n| find(&table, &head("h", "/", &headers), *n).is_ok()).count();
    assert_eq!(taken, 50);
}

fn forward(criteria: PathMatch, change: impl FnOnce(&mut Forward)) -> RouteTable {
    let mut forward = Forward::to("c");
    change(&mut forward);
    let mut route = route("r", RouteMatch::path(criteria));
    route.action = RouteAction::Forward(Box::new(forward));
    table(vec![virtual_host("h", &["*"], vec![route])], false)
}

fn rewritten(table: &RouteTable, target: &str) -> Option<String> {
    let Action::Forward(forward) = &table.hosts[0].routes[0].action else { panic!("a forward") };
    rewrite::target(forward, target)
}

#[test]
fn prefixes_are_rewritten_with_the_query_kept() {
    let prefix = |p: &str| PathMatch::Prefix(p.into());
    for (from, to, target, expected) in [
        (prefix("/a"), "/b", "/a/c?d", "/b/c?d"),
        // The replacement is used as written: a double slash is the configuration's choice, as in Envoy.
        (prefix("/a"), "/", "/a/c", "//c"),
        (prefix("/a"), "/", "/a", "/"),
        (prefix("/a/"), "/", "/a/c", "/c"),
        (PathMatch::Exact("/a".into()), "/b", "/a?x", "/b?x"),
        (PathMatch::Segments("/a".into()), "/b", "/a/c", "/b/c"),
        (prefix("/"), "/v1/", "/x", "/v1/x"),
    ] {
        let table = forward(from.clone(), |f| f.prefix_rewrite = Some(to.into()));
        assert_eq!(rewritten(&table, target).as_deref(), Some(expected), "{from:?} -> {to}: {target}");
    }
}

#[test]
fn expressions_rewrite_with_groups() {
    let table = forward(PathMatch::Prefix("/".into()), |f| {
        f.regex_rewrite = Some(("^/service/([^/]+)(/.*)$".into(), "\\2/instance/\\1".into()));
    });
    assert_eq!(rewritten(&table, "/service/foo/v1/api?q").as_deref(), Some("/v1/api/instance/foo?q"));
    let untouched = forward(PathMatch::Prefix("/".into()), |_| {});
    assert_eq!(rewritten(&untouched, "/a"), None);
}

#[test]
fn redirects_lead_where_they_say() {
    let headers = HeaderMap::new();
    let redirect = model::Redirect { status: 301, ..Default::default() };
    let cases = [
        (model::Redirect { scheme: Some("https".into()), ..redirect.clone() }, "a:80", "https://a/x/y?q"),
        (
            model::Redirect { scheme: Some("https".into()), ..redirect.clone() },
            "a:8080",
            "https://a:8080/x/y?q",
        ),
        (model::Redirect { host: Some("b".into()), ..redirect.clone() }, "a:8080", "http://b/x/y?q"),
        (model::Redirect { port: Some(8443), ..redirect.clone() }, "a", "http://a:8443/x/y?q"),
        // A configured port stays even if it is the scheme's default, as in Envoy.
        (model::Redirect { port: Some(80), ..redirect.clone() }, "a:81", "http://a:80/x/y?q"),
        (model::Redirect { path: Some("/new".into()), ..redirect.clone() }, "a", "http://a/new?q"),
        (model::Redirect { prefix: Some("/z".into()), ..redirect.clone() }, "a", "http://a/z/y?q"),
        (
            model::Redirect { regex: Some(("^/x/(.*)$".into(), "/\\1/x".into())), ..redirect.clone() },
            "a",
            "http://a/y/x?q",
        ),
        (model::Redirect { strip_query: true, ..redirect }, "a", "http://a/x/y"),
    ];
    for (redirect, authority, expected) in cases {
        let head = head(authority, "/x/y?q", &headers);
        let criteria = RouteMatch::path(PathMatch::Prefix("/x".into()));
        let action = RouteAction::Redirect(redirect.clone());
        let made = model::Route { action, ..route("r", criteria) };
        let table = table(vec![virtual_host("h", &["*"], vec![made])], false);
        let Action::Redirect(compiled) = &table.hosts[0].routes[0].action else { panic!("no redirect") };
        assert_eq!(redirect::location(compiled, &head), expected, "{redirect:?}");
    }
}

fn weighted(weights: &[u32]) -> Clusters {
    let list = weights.iter().enumerate().map(|(i, w)| model::WeightedCluster {
        name: i.to_string(),
        weight: *w,
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        host_rewrite: None,
    });
    crate::snapshot::table::clusters(&model::ClusterChoice::Weighted(list.collect())).unwrap()
}

proptest! {
    #[test]
    fn weights_are_kept_exactly(weights in proptest::collection::vec(0u32..50, 1..6)) {
        let sum: u32 = weights.iter().sum();
        prop_assume!(sum > 0);
        let clusters = weighted(&weights);
        let mut counts = vec![0u32; weights.len()];
        for random in 0..sum {
            let chosen = cluster(&clusters, &HeaderMap::new(), random).unwrap();
            counts[chosen.name().parse::<usize>().unwrap()] += 1;
        }
        prop_assert_eq!(counts, weights);
    }
}

#[test]
fn a_cluster_may_be_named_by_a_header() {
    let clusters =
        crate::snapshot::table::clusters(&model::ClusterChoice::Header("x-cluster".into())).unwrap();
    let mut headers = HeaderMap::new();
    assert!(cluster(&clusters, &headers, 0).is_none());
    headers.insert("x-cluster", HeaderValue::from_static("c"));
    assert_eq!(&**cluster(&clusters, &headers, 0).unwrap().name(), "c");
}
