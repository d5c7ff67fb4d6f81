//! Envoy as a sidecar and as a gateway of our pilot: it accepts the whole configuration of bookinfo, and routes
//! traffic by its rules.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::program::{self, Running};
use tests::report::Report;
use tests::{wait, wire};

use crate::plane::{ENVOY, PODS, Plane};

#[test]
#[ignore = "fetches Envoy"]
fn a_sidecar_envoy_serves_bookinfo_over_delta() {
    sidecar("DELTA_GRPC");
}

#[test]
#[ignore = "fetches Envoy"]
fn a_sidecar_envoy_serves_bookinfo_over_state_of_the_world() {
    sidecar("GRPC");
}

#[test]
#[ignore = "fetches Envoy"]
fn a_gateway_envoy_carries_requests_to_the_page() {
    let plane = Plane::bookinfo();
    let page = application(&plane, 0);
    let metadata = json!({"NAMESPACE": "istio-system", "LABELS": {"istio": "ingressgateway", "app": "istio-ingressgateway"}});
    let id = "router~127.1.0.9~gateway.istio-system~istio-system.svc.cluster.local";
    let envoy = plane.envoy(id, &metadata, "DELTA_GRPC");
    plane.until_accepted("gateway.istio-system");
    wait::until("the page is there", Duration::from_secs(10), || {
        let text = plane.fetch_if_there("http://127.0.0.1:8080/productpage")?;
        if text.contains("\"path\":\"/productpage\"") { Ok(()) } else { Err(text) }
    });
    envoy.end();
    page.end();
}

fn sidecar(protocol: &str) {
    let plane = Plane::bookinfo();
    let metadata = json!({
        "NAMESPACE": "default", "LABELS": {"app": "productpage", "version": "v1"},
        "SERVICE_ACCOUNT": "bookinfo-productpage", "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": "127.1.0.1",
    });
    let id = "sidecar~127.1.0.1~productpage-v1.default~default.svc.cluster.local";
    let envoy = plane.envoy(id, &metadata, protocol);
    plane.until_accepted(PROXY);
    let clusters = plane.fetch(&format!("{ENVOY}/clusters"));
    for name in ["reviews", "details", "ratings"] {
        let name = format!("outbound|9080||{name}.default.svc.cluster.local");
        assert!(clusters.contains(&name), "Envoy has no cluster {name}");
    }
    let applications: Vec<Running> = (1..PODS.len()).map(|number| application(&plane, number)).collect();
    capture(&plane);
    every_rule_is_accepted(&plane);
    shares_are_kept(&plane);
    the_user_jason_has_a_version_of_his_own(&plane);
    faults_are_injected(&plane);
    envoy.end();
    for application in applications {
        application.end();
    }
}

/// Each file of rules changes Envoy's configuration, and Envoy must accept each change.
fn every_rule_is_accepted(plane: &Plane) {
    let rules = program::repository("samples/bookinfo/networking");
    for file in std::fs::read_dir(&rules).expect("the sample has rules").flatten() {
        rule(plane, &file.file_name().to_string_lossy());
    }
}

fn shares_are_kept(plane: &Plane) {
    rule(plane, "virtual-service-reviews-80-20.yaml");
    let report = until(plane, "http://reviews:9080/", &[], |report| report.by_pod.len() == 2);
    assert_eq!(report.failed, 0, "{report:?}");
    let report = call(plane, "http://reviews:9080/", &["-n", "1000"]);
    let of = |pod: &str| report.by_pod.get(pod).copied().unwrap_or_default();
    assert_eq!(of("reviews-v1") + of("reviews-v2"), 1000, "{report:?}");
    assert!((760..=840).contains(&of("reviews-v1")), "not four of five requests went to v1: {report:?}");
}

fn the_user_jason_has_a_version_of_his_own(plane: &Plane) {
    rule(plane, "virtual-service-reviews-test-v2.yaml");
    let jason = ["-H", "end-user: jason", "-n", "20"];
    until(plane, "http://reviews:9080/", &jason, |report| only(report, "reviews-v2"));
    let report = call(plane, "http://reviews:9080/", &["-n", "20"]);
    assert!(only(&report, "reviews-v1"), "{report:?}");
}

fn faults_are_injected(plane: &Plane) {
    rule(plane, "virtual-service-ratings-test-abort.yaml");
    let jason = ["-H", "end-user: jason"];
    let failed = |report: &Report| report.by_status.get("500") == Some(&1);
    until(plane, "http://ratings:9080/", &jason, failed);
    assert_eq!(call(plane, "http://ratings:9080/", &[]).failed, 0);
    rule(plane, "virtual-service-ratings-test-delay.yaml");
    // Envoy's timers count from the start of an event loop iteration, so a delay of 7 s ends up to a few ms early.
    let late = |report: &Report| report.failed == 0 && report.latency_ms["max"] >= 6_900.0;
    until(plane, "http://ratings:9080/", &jason, late);
    let report = call(plane, "http://ratings:9080/", &[]);
    assert!(report.latency_ms["max"] < 5000.0, "who is not jason waits too: {report:?}");
}

fn only(report: &Report, pod: &str) -> bool {
    report.failed == 0 && report.by_pod.len() == 1 && report.by_pod.contains_key(pod)
}

/// Replaces the file of rules with another one, and waits until Envoy has acknowledged it.
fn rule(plane: &Plane, name: &str) {
    let file = program::repository("samples/bookinfo/networking").join(name);
    std::fs::copy(file, plane.config.join("rule.yaml")).expect("the folder can be written");
    wait::pause(Duration::from_millis(300));
    plane.until_accepted(PROXY);
}

/// Sends requests as an application with this sidecar would: to a service's address, which is captured.
fn call(plane: &Plane, url: &str, more: &[&str]) -> Report {
    let line = ["client", "--allow-failures", "--timeout", "15s", "--connect", "10.96.0.77:9080"];
    let line = [&line[..], more, &[url]].concat();
    Report::of(&wire::enter(plane.node(), &program::path("echo"), &line).finish(Duration::from_secs(60)))
}

fn until(plane: &Plane, url: &str, more: &[&str], wanted: impl Fn(&Report) -> bool) -> Report {
    let mut last = None;
    wait::until("the rule is in force", Duration::from_secs(30), || {
        let many = if more.is_empty() { &["-n", "50"][..] } else { more };
        let report = call(plane, url, many);
        let good = wanted(&report);
        let shown = format!("{report:?}");
        last = Some(report);
        if good { Ok(()) } else { Err(shown) }
    });
    last.expect("it was called at least once")
}

/// Starts the application of one of bookinfo's pods.
fn application(plane: &Plane, number: usize) -> Running {
    let address = format!("127.1.0.{}", number + 1);
    let line = [
        "server",
        "--address",
        &address,
        "--http",
        "9080",
        "--pod-name",
        PODS[number],
        "--shutdown-delay",
        "0s",
    ];
    wire::enter(plane.node(), &program::path("echo"), &line)
}

/// Redirects traffic of applications to services to the sidecar, with our own init program.
fn capture(plane: &Plane) {
    // Traffic that leaves through the loopback interface is not captured.
    for line in [
        "link add out type veth peer name in",
        "link set in up",
        "address add 10.8.0.1/24 dev out",
        "link set out up",
        "route add 10.96.0.0/12 dev out",
    ] {
        let line: Vec<&str> = line.split(' ').collect();
        let outcome = wire::enter(plane.node(), Path::new("ip"), &line).finish(program::TIMEOUT);
        assert_eq!(outcome.code, 0, "{outcome}");
    }
    let init = ["init", "-i", "10.96.0.0/12", "-b", ""];
    let outcome = wire::enter(plane.node(), &program::path("ostria-proxy"), &init).finish(program::TIMEOUT);
    assert_eq!(outcome.code, 0, "{outcome}");
}

const PROXY: &str = "productpage-v1.default";
