//! Start, change and end of a mesh: no request is lost, and nothing remains.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::mesh::{self, Mesh, Options};
use tests::report::Report;
use tests::{program, wait};

use crate::PROBE;

const URL: &str = "http://echo-server:8080/?delay=20ms";

#[test]
fn a_rolling_change_and_a_deleted_pod_lose_no_request_of_a_hundred_clients() {
    let mut mesh = Mesh::up(&["samples/echo"], PROBE);
    let arguments = [URL, "-c", "100", "--rate", "300", "--duration", "20s"];
    let mut clients = mesh.start_echo("echo", "deployment/client", &arguments);
    let old = mesh.pod_of_version("echo", "v1");
    let yaml = std::fs::read_to_string(program::repository("samples/echo/echo.yaml")).expect("it is there");
    let before = "      labels:\n        app: echo-server\n        version: v1\n";
    let after = format!("      annotations:\n        changed: \"yes\"\n{before}");
    assert_eq!(yaml.matches(before).count(), 1);
    let output = mesh.apply_text(&yaml.replace(before, &after)).text();
    assert!(output.contains("deployment.apps/echo-server-v1 configured"), "{output}");
    assert!(output.contains("deployment.apps/echo-server-v2 unchanged"), "{output}");
    replaced(&mesh, "v1", &old);
    mesh.observe();
    let old = mesh.pod_of_version("echo", "v2");
    mesh.ostria(&["delete", "pod", &old, "-n", "echo"]).text();
    replaced(&mesh, "v2", &old);
    mesh.observe();
    assert!(!clients.has_ended(), "the clients did not call until the end of the changes");
    let report = Report::of(&clients.finish(Duration::from_secs(60)));
    report.all_good();
    assert!(report.requests > 3_000, "{report:?}");
    assert_eq!(
        report.by_pod.values().filter(|count| **count > 0).count(),
        4,
        "two old and two other pods answer: {report:?}"
    );
}

/// Waits until another pod of this version is ready and the old one has ended.
fn replaced(mesh: &Mesh, version: &str, old: &str) {
    wait::until(&format!("{old} is replaced"), Duration::from_secs(30), || {
        let pods = mesh.get("pods", "echo");
        let own: Vec<_> = pods
            .iter()
            .filter(|pod| {
                pod["metadata"]["labels"]["version"] == version
                    && pod["metadata"]["labels"]["app"] == "echo-server"
            })
            .collect();
        let ready = |pod: &serde_json::Value| {
            pod["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
        };
        match own[..] {
            [pod] if pod["metadata"]["name"] != old && ready(pod) => Ok(()),
            _ => Err(format!("{} pods of {version}", own.len())),
        }
    });
}

#[test]
fn an_interrupt_takes_a_mesh_in_the_foreground_down() {
    let folders = vec!["samples/echo".into()];
    let mut mesh = Mesh::begin(&Options { folders, foreground: true, ..Options::default() }, PROBE);
    let up = mesh.until_in_front();
    mesh::signal(up.pid(), Signal::SIGINT);
    let outcome = up.finish(Duration::from_secs(10));
    assert_eq!(outcome.code, 0, "{outcome}");
    mesh.until_gone(Duration::from_secs(1));
}

#[test]
fn leftovers_of_a_killed_supervisor_are_removed_by_up_and_by_down() {
    let mut mesh = Mesh::up(&["samples/echo"], PROBE);
    mesh.kill_supervisor();
    let output = mesh.again();
    assert!(output.contains("removed the remains of a killed mesh"), "{output}");
    mesh.echo("echo", "deployment/client", &[URL, "-n", "5"]).all_good();
    mesh.kill_supervisor();
    let output = mesh.ostria(&["down"]).text();
    assert!(output.contains("removed the remains of a killed mesh"), "{output}");
    mesh.until_gone(Duration::from_secs(2));
    let output = mesh.ostria(&["down"]).text();
    assert!(output.contains("no mesh is running"), "{output}");
}

#[test]
fn traffic_continues_while_pilot_restarts() {
    let mut mesh = Mesh::up(&["samples/echo"], PROBE);
    let (pilot, _) = mesh.processes("ostria-pilot")[0];
    let clients =
        mesh.start_echo("echo", "deployment/client", &[URL, "-c", "10", "--rate", "100", "--duration", "6s"]);
    mesh::signal(pilot, Signal::SIGKILL);
    mesh.echo("echo", "deployment/client", &[URL, "-n", "20", "--new-connection"]).all_good();
    let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: echo, namespace: echo}\n\
                spec:\n  hosts: [echo-server]\n  http:\n  - headers: {request: {set: {x-rule: applied}}}\n    \
                route:\n    - destination: {host: echo-server}\n";
    wait::until("pilot takes configuration again", Duration::from_secs(10), || {
        let outcome = mesh.apply_text(rule);
        if outcome.code == 0 { Ok(()) } else { Err(outcome.to_string()) }
    });
    wait::until("the sidecar has it", Duration::from_secs(10), || {
        let report = mesh.echo("echo", "deployment/client", &["http://echo-server:8080/", "--show"]);
        match report.seen_header("x-rule").as_deref() {
            Some("applied") => Ok(()),
            _ => Err(format!("{report:?}")),
        }
    });
    Report::of(&clients.finish(Duration::from_secs(30))).all_good();
    mesh.observe();
}
