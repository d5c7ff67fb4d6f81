//! A page of YAML that no other test or sample uses: other names, a StatefulSet behind a headless service, a Job,
//! configuration and secrets as files and variables, several ports, and rules for all of it.

use std::time::Duration;

use tests::mesh::Mesh;
use tests::wait;

use crate::PROBE;

const NAMESPACE: &str = "orchard";
const PICKER: &str = "deployment/picker";

#[test]
fn a_page_of_unfamiliar_yaml_works_the_same() {
    let mesh = Mesh::up(&["tests/tests/mesh/orchard.yaml", "samples/bookinfo/gateway-pod.yaml"], PROBE);
    configuration(&mesh);
    stateful(&mesh);
    rules(&mesh);
    other_protocols(&mesh);
    gateway(&mesh);
    wait::until("the job is done", Duration::from_secs(30), || {
        let jobs = mesh.get("jobs", NAMESPACE);
        if jobs[0]["status"]["succeeded"] == 1 { Ok(()) } else { Err(jobs[0]["status"].to_string()) }
    });
}

/// Checks that containers see configuration and secrets as variables and as files.
fn configuration(mesh: &Mesh) {
    let script = "echo $GREETING $WORD; cat /etc/orchard/rows /etc/secret/key";
    let text = mesh.ostria(&["exec", PICKER, "-n", NAMESPACE, "--", "sh", "-c", script]).text();
    assert_eq!(text, "good-morning pip\n12\nlock-and-key\n");
}

/// Checks that each pod of a StatefulSet has its own name behind the headless service.
fn stateful(mesh: &Mesh) {
    for name in ["tree-0", "tree-1"] {
        for host in [format!("{name}.tree"), format!("{name}.tree.orchard.svc.cluster.local")] {
            let report = mesh.echo(NAMESPACE, PICKER, &[&format!("http://{host}:7001/"), "-n", "5"]);
            assert_eq!(report.all_good().by_pod.get(name), Some(&5), "{host}: {report:?}");
        }
    }
    let report = mesh.echo(NAMESPACE, PICKER, &["grpc://tree:7002", "-n", "10", "--new-connection"]);
    assert_eq!(report.all_good().by_status.get("OK"), Some(&10), "{report:?}");
}

/// Checks matches, weights, rewrites, redirects, retries and timeouts.
fn rules(mesh: &Mesh) {
    let call = |path: &str, more: &[&str]| {
        mesh.echo(NAMESPACE, PICKER, &[&[&*format!("http://fruit{path}"), "--show"][..], more].concat())
    };
    let rewritten = call("/basket/apple?x=1", &[]);
    assert_eq!(rewritten.all_good().first_response["path"], "/sorted/apple", "{rewritten:?}");
    assert_eq!(rewritten.first_response["query"], "x=1", "{rewritten:?}");
    let sweet = call("/", &["-n", "20", "-H", "taste: very-sweet"]);
    assert_eq!(sweet.all_good().by_version.keys().collect::<Vec<_>>(), ["pear"], "{sweet:?}");
    let others = call("/", &["-n", "20"]);
    assert_eq!(others.all_good().by_version.keys().collect::<Vec<_>>(), ["apple"], "{others:?}");
    let moved = call("/old", &[]);
    assert_eq!(moved.by_status.get("301"), Some(&1), "{moved:?}");
    let late = call("/slow?delay=3s", &[]);
    assert_eq!(late.by_status.get("504"), Some(&1), "{late:?}");
    assert!(late.latency_ms["max"] < 2_000.0, "{late:?}");
    let retried = call("/flaky?fail=30%&fail_status=503", &["-n", "100"]);
    assert!(retried.failed <= 5, "a third fails once, one in 250 four times in a row: {retried:?}");
}

/// Checks WebSocket, TCP and TLS under other names and port numbers.
fn other_protocols(mesh: &Mesh) {
    for url in ["ws://fruit:80/talk", "tcp://press:4100", "tcp+first://press:4101"] {
        mesh.echo(NAMESPACE, PICKER, &[url, "-n", "3", "--stream", "2"]).all_good();
    }
    mesh.echo(NAMESPACE, PICKER, &["https://press:4443/", "--insecure", "-n", "3"]).all_good();
}

/// Checks that the gateway admits one host and no other.
fn gateway(mesh: &Mesh) {
    let page = mesh.page("/basket/plum", &[("host", "orchard.example")]);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text.contains("/sorted/plum"), "{page:?}");
    assert_eq!(mesh.page("/basket/plum", &[("host", "other.example")]).status, 404);
}
