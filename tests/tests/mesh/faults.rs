//! Parts of a running mesh that are killed, hang or are damaged: traffic that does not depend on them is
//! unaffected, problems are reported, and after their recovery everything works as before.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::mesh::{self, Mesh};
use tests::report::Report;
use tests::wait;

use crate::PROBE;

const CLIENT: &str = "deployment/client";
const URL: &str = "http://echo-server:8080/?delay=20ms";
/// Routes requests with this header to v1 only, so that faults in v2 do not affect them.
const RULES: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: versions, namespace: echo}
spec:
  host: echo-server
  subsets:
  - {name: v1, labels: {version: v1}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: versions, namespace: echo}
spec:
  hosts: [echo-server]
  http:
  - match: [{headers: {only: {exact: v1}}}]
    route:
    - destination: {host: echo-server, subset: v1}
  - route:
    - destination: {host: echo-server}
";

/// Starts a mesh in which requests can avoid v2.
fn split() -> Mesh {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    mesh.apply_text(RULES).text();
    wait::until("calls with the header go to v1", Duration::from_secs(5), || {
        let report = mesh.echo("echo", CLIENT, &[URL, "-n", "10", "-H", "only:v1"]);
        if report.by_version.get("v1") == Some(&10) { Ok(()) } else { Err(format!("{report:?}")) }
    });
    mesh
}

/// Sends requests to v1 in the background; all of them must succeed.
fn bystanders(mesh: &Mesh, seconds: u64) -> tests::program::Running {
    let duration = format!("{seconds}s");
    mesh.start_echo(
        "echo",
        CLIENT,
        &[URL, "-c", "10", "--rate", "100", "-H", "only:v1", "--duration", &duration],
    )
}

fn until_ready(mesh: &Mesh, pod: &str, restarts: u64) {
    wait::until(&format!("{pod} is ready again"), Duration::from_secs(30), || {
        match mesh.health("echo", pod) {
            (true, count) if count >= restarts => Ok(()),
            other => Err(format!("{other:?}: {}", mesh.unready("echo", pod))),
        }
    });
}

/// Waits until both versions respond; from then on every request must succeed.
fn until_well(mesh: &Mesh) {
    wait::until("both versions answer", Duration::from_secs(15), || {
        let report = mesh.echo("echo", CLIENT, &[URL, "-n", "20", "-c", "4", "--timeout", "2s"]);
        if report.failed == 0 && report.by_version.len() == 2 { Ok(()) } else { Err(format!("{report:?}")) }
    });
    mesh.echo("echo", CLIENT, &[URL, "-n", "40", "-c", "4"]).all_good();
}

#[test]
fn a_killed_or_hanging_proxy_or_app_affects_no_other_pod_and_recovers() {
    let mut mesh = split();
    let pod = mesh.pod_of_version("echo", "v2");
    let others = bystanders(&mesh, 9);

    let proxy = mesh.process_of(&pod, "ostria-proxy", None);
    mesh::signal(proxy, Signal::SIGKILL);
    until_ready(&mesh, &pod, 1);
    until_well(&mesh);

    let app = mesh.process_of(&pod, "echo", Some("server"));
    mesh::signal(app, Signal::SIGKILL);
    until_ready(&mesh, &pod, 2);
    until_well(&mesh);

    let proxy = mesh.process_of(&pod, "ostria-proxy", None);
    mesh::signal(proxy, Signal::SIGSTOP);
    let hanging =
        mesh.echo("echo", CLIENT, &[URL, "-n", "8", "-c", "8", "--timeout", "1s", "--new-connection"]);
    mesh::signal(proxy, Signal::SIGCONT);
    assert!(hanging.by_version.contains_key("v1"), "v1 answers meanwhile: {hanging:?}");
    until_well(&mesh);
    Report::of(&others.finish(Duration::from_secs(30))).all_good();
}

#[test]
fn a_hanging_pilot_stops_no_traffic_and_catches_up_afterwards() {
    let mesh = {
        let mut mesh = Mesh::up(&["samples/echo"], PROBE);
        mesh.observe();
        mesh
    };
    let (pilot, _) = mesh.processes("ostria-pilot")[0];
    let hang = seconds("HANG_SECONDS", 4);
    let duration = format!("{}s", hang + 2);
    let clients =
        mesh.start_echo("echo", CLIENT, &[URL, "-c", "10", "--rate", "100", "--duration", &duration]);
    mesh::signal(pilot, Signal::SIGSTOP);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(hang) {
        mesh.echo("echo", CLIENT, &[URL, "-n", "5", "--new-connection"]).all_good();
        mesh.echo("echo", CLIENT, &["tcp://echo-server:9000", "-n", "5", "--new-connection"]).all_good();
        wait::pause(Duration::from_millis(200));
    }
    mesh::signal(pilot, Signal::SIGCONT);
    mesh.apply_text(
        &RULES.replace("    route:\n", "    headers: {request: {set: {x-rule: heard}}}\n    route:\n"),
    )
    .text();
    wait::until("the sidecar has the rule", Duration::from_secs(10), || {
        let report = mesh.echo("echo", CLIENT, &[URL, "--show", "-H", "only:v1"]);
        match report.seen_header("x-rule").as_deref() {
            Some("heard") => Ok(()),
            _ => Err(format!("{report:?}")),
        }
    });
    Report::of(&clients.finish(Duration::from_secs(30))).all_good();
}

#[test]
fn without_citadel_traffic_continues_and_a_starting_pod_reports_what_it_awaits() {
    let mut mesh = Mesh::up(&["samples/echo"], PROBE);
    mesh.observe();
    let key = mesh.root_folder().join("ca-key.pem");
    let good = std::fs::read(&key).expect("citadel keeps its key here");
    let (citadel, _) = mesh.processes("ostria-citadel")[0];
    // Citadel is restarted, and cannot use the key that it finds.
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").expect("the test may write there");
    mesh::signal(citadel, Signal::SIGKILL);
    let clients = mesh.start_echo("echo", CLIENT, &[URL, "-c", "10", "--rate", "100", "--duration", "6s"]);
    let old = mesh.pod_of_version("echo", "v2");
    mesh.ostria(&["delete", "pod", &old, "-n", "echo"]).text();
    let fresh = wait::until("there is another pod", Duration::from_secs(5), || {
        let pods = mesh.pods("echo", "version", "v2");
        let other = pods.into_iter().find(|pod| pod.name != old && pod.name.starts_with("echo-server"));
        other.filter(|pod| !pod.address.is_empty()).ok_or_else(|| "not yet".to_owned())
    });
    wait::until("the pod says what it waits for", Duration::from_secs(15), || {
        let output = mesh.unready("echo", &fresh.name);
        let parts = ["container istio-proxy", "the workload's certificate", "certificate authority at"];
        if parts.iter().all(|part| output.contains(part)) { Ok(()) } else { Err(output) }
    });
    let log = mesh.ostria(&["logs", &fresh.name, "-n", "echo", "-c", "istio-proxy"]).text();
    assert!(log.contains("no certificate; trying again"), "{log}");
    assert!(mesh.metrics(&fresh).sum("envoy_agent_num_failed_outgoing_requests", &[]) > 0);
    wait::until("citadel says what is wrong", Duration::from_secs(10), || {
        let log = std::fs::read_to_string(mesh.state().join("logs/ostria-citadel.log")).unwrap_or_default();
        if log.contains("ca-key.pem: invalid PEM") { Ok(()) } else { Err(log) }
    });
    mesh.echo("echo", CLIENT, &[URL, "-n", "20", "--new-connection"]).all_good();
    Report::of(&clients.finish(Duration::from_secs(30))).all_good();

    std::fs::write(&key, good).expect("the test may write there");
    until_ready(&mesh, &fresh.name, 0);
    until_well(&mesh);
    assert_eq!(mesh.unready("echo", &fresh.name), "", "what is over is told no more");
    mesh.observe();
}

fn seconds(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number of seconds"))
}
