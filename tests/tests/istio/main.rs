//! The proxy under Istio's control plane: a sidecar in each of two networks and a gateway take everything that istiod
//! sends for the configuration in `config`, and serve by it.
//!
//! `make test` replays what istiod has sent (`recorded`, which `make istio-record` writes). `make istio` runs an istiod,
//! which Go builds the first time, and makes the same checks under it.

mod plane;

use std::path::Path;
use std::time::Duration;

use plane::{GATEWAY, PAGE, PAGE_ADDRESS, Plane, RATINGS, REVIEWS, REVIEWS_ADDRESS};
use tests::program::{self, Running};
use tests::report::Report;
use tests::{pair, wait, wire};

#[test]
fn the_proxy_serves_by_what_istiod_sent() {
    check(Plane::Recording);
}

#[test]
#[ignore = "builds istiod"]
fn the_proxy_serves_under_istiod() {
    check(Plane::Istiod);
}

/// An unmodified Envoy stands in for Istio's, which cannot be had: with what istiod sends to it, except for Istio's own
/// filters, it and a sidecar of ours call each other.
#[test]
#[ignore = "fetches Envoy"]
fn an_envoy_under_istiod_and_the_proxy_call_each_other() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    let [page, reviews] = servers(folder);
    let (here, there) = (page.pid(), reviews.pid());
    let envoy = Plane::envoy(&PAGE, here, folder);
    let own = Plane::Recording.proxy(&REVIEWS, there, folder);
    REVIEWS.until_configured(there);
    PAGE.until_configured(here);
    between_sidecars(here, there);
    policies_are_enforced(here);
    end(own);
    for process in envoy {
        process.end();
    }
    reviews.end();
    page.end();
}

/// Writes the recordings that the first test replays.
#[test]
#[ignore = "builds istiod"]
fn record() {
    Plane::record(&[&PAGE, &REVIEWS, &RATINGS, &GATEWAY]);
}

/// Calls of each kind between two sidecars, which use the two forms of the protocol, and through a gateway.
fn check(plane: Plane) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    let [page, reviews] = servers(folder);
    let (here, there) = (page.pid(), reviews.pid());
    let istiod = plane.start(here, folder);
    let placed = [(&PAGE, here), (&REVIEWS, there), (&GATEWAY, there)];
    let started = placed.map(|(proxy, node)| plane.proxy(proxy, node, folder));
    for (proxy, node) in placed {
        proxy.until_configured(node);
    }
    between_sidecars(here, there);
    routes_are_followed(here);
    policies_are_enforced(here);
    through_the_gateway(there);
    started.into_iter().for_each(end);
    // Its listeners have the ports of the other sidecar.
    let scoped = plane.proxy(&RATINGS, here, folder);
    RATINGS.until_configured(here);
    end(scoped);
    if let Some(istiod) = istiod {
        istiod.end();
    }
    reviews.end();
    page.end();
}

/// Writes certificates, and starts the applications of the two sidecars, each in its own network.
fn servers(folder: &Path) -> [Running; 2] {
    tests::certificates::write(folder);
    let echo = program::path("echo");
    let server = |name| [&SERVER.split(' ').collect::<Vec<_>>()[..], &["--pod-name", name]].concat();
    let page = wire::alone(&echo, &server("productpage-v1"));
    let reviews = pair::inside(page.pid(), &echo, &server("reviews-v1"));
    pair::join([(page.pid(), PAGE_ADDRESS), (reviews.pid(), REVIEWS_ADDRESS)], "9080,9090,9091,9092");
    [page, reviews]
}

fn end((proxy, server): (Running, Option<Running>)) {
    assert_eq!(proxy.end().code, 0, "the proxy does not end well");
    server.map(Running::end);
}

/// Each side learns the other's identity over mutual TLS; opaque bytes pass too, also from a server that sends first.
fn between_sidecars(here: u32, there: u32) {
    let caller = until(here, "http://reviews:9080/", &["--connect", "10.96.0.12:9080"], |r| r.ok == 1);
    let seen = caller.seen_header("x-forwarded-client-cert").unwrap_or_default();
    assert!(seen.contains("URI=spiffe://cluster.local/ns/default/sa/bookinfo-productpage"), "{seen}");
    assert!(seen.contains("By=spiffe://cluster.local/ns/default/sa/bookinfo-reviews"), "{seen}");
    assert_eq!(caller.seen_header("x-envoy-peer-metadata"), None);
    let caller = until(there, "http://productpage:9080/", &["--connect", "10.96.0.11:9080"], |r| r.ok == 1);
    let seen = caller.seen_header("x-forwarded-client-cert").unwrap_or_default();
    assert!(seen.contains("URI=spiffe://cluster.local/ns/default/sa/bookinfo-reviews"), "{seen}");
    for url in ["tcp://10.96.0.12:9090", "tcp+first://10.96.0.12:9091", "http://10.96.0.12:9092/"] {
        assert_eq!(call(here, url, &[]).all_good().by_pod.get("reviews-v1"), Some(&1), "{url}");
    }
}

fn routes_are_followed(here: u32) {
    for (path, more, status) in [
        ("/", &[][..], "200"),
        ("/answered", &[], "203"),
        ("/faulty", &[], "418"),
        ("/moved", &[], "302"),
        // Nothing listens where the subset's only pod is said to be.
        ("/", &["-H", "end-user: jason"], "503"),
    ] {
        let line = [&["--connect", "10.96.0.12:9080"], more].concat();
        let report = call(here, &format!("http://reviews:9080{path}"), &line);
        assert_eq!(report.by_status.get(status), Some(&1), "{path} {more:?}: {report:?}");
    }
}

/// The authorization policy refuses paths, and STRICT refuses plaintext.
fn policies_are_enforced(here: u32) {
    for path in ["/denied/x", "/some/secret", "/a/any/b"] {
        let report = call(here, &format!("http://reviews:9080{path}"), &["--connect", "10.96.0.12:9080"]);
        assert_eq!(report.by_status.get("403"), Some(&1), "{path}: {report:?}");
    }
    call(here, &format!("http://{REVIEWS_ADDRESS}:9080/"), &[]).none_good();
    call(here, &format!("http://{REVIEWS_ADDRESS}:9092/"), &[]).all_good();
}

fn through_the_gateway(there: u32) {
    let report = until(there, "http://127.0.0.1:8080/productpage", &[], |report| report.ok == 1);
    let seen = report.seen_header("x-forwarded-client-cert").unwrap_or_default();
    assert!(seen.contains("URI=spiffe://cluster.local/ns/istio-system/sa/gateway"), "{seen}");
    let report = call(there, "http://127.0.0.1:8080/elsewhere", &[]);
    assert_eq!(report.by_status.get("404"), Some(&1), "{report:?}");
    let report = call(there, "http://moved.test:8081/", &["--connect", "127.0.0.1:8081"]);
    assert_eq!(report.by_status.get("301"), Some(&1), "{report:?}");
}

/// Sends a request until the report is as wanted.
fn until(node: u32, url: &str, line: &[&str], wanted: impl Fn(&Report) -> bool) -> Report {
    let mut last = None;
    wait::until("the call succeeds", Duration::from_secs(30), || {
        let report = call(node, url, line);
        let result = if wanted(&report) { Ok(()) } else { Err(format!("{report:?}")) };
        last = Some(report);
        result
    });
    last.expect("at least one request was sent")
}

fn call(node: u32, url: &str, line: &[&str]) -> Report {
    let line = [&["client", "--allow-failures", "--show", "--timeout", "5s"], line, &[url]].concat();
    Report::of(&wire::enter(node, &program::path("echo"), &line).finish(program::TIMEOUT))
}

const SERVER: &str = "server --http 9080 --tcp 9090 --tcp-server-first 9091 --http 9092 --shutdown-delay 0s";
