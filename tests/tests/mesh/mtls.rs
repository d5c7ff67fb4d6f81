//! Which workloads may communicate in plaintext.

use std::time::Duration;

use tests::mesh::Mesh;
use tests::report::Report;
use tests::wait;
use tests::wire::contains;

use crate::PROBE;

const CLIENT: &str = "deployment/client";
const PLAIN: &str = "deployment/client-plain";
const HTTP: &str = "http://echo-server:8080/?body=1";

#[test]
fn packets_between_sidecars_are_encrypted_and_the_client_is_authenticated() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let capture = mesh.capture();
    let secret = "a-marker-that-stays-secret";
    for (url, more) in [
        (HTTP, vec!["-n", "20"]),
        (HTTP, vec!["-n", "20", "--http2"]),
        ("tcp://echo-server:9000", vec!["--stream", "3"]),
        ("grpc://echo-server:7070", vec!["--stream", "3"]),
    ] {
        let report = mesh.echo("echo", CLIENT, &[&[url, "-d", secret][..], &more].concat());
        report.all_good();
    }
    let open = "a-marker-that-is-open";
    mesh.echo("echo", PLAIN, &[HTTP, "-d", open]).all_good();
    let seen = capture.stop();
    assert!(contains(&seen, open.as_bytes()), "the capture sees what a pod without sidecar sends");
    assert!(!contains(&seen, secret.as_bytes()), "plaintext passes between sidecars");
    assert!(contains(&seen, &[0x17, 3, 3]), "no TLS record passes between sidecars");
    let report = mesh.echo("echo", CLIENT, &[HTTP, "--show"]);
    let caller = report.all_good().seen_header("x-forwarded-client-cert").unwrap_or_default();
    assert!(caller.contains("URI=spiffe://cluster.local/ns/echo/sa/client"), "{caller}: {report:#?}");
    let report = mesh.echo("echo", PLAIN, &[HTTP, "--show"]);
    assert_eq!(report.all_good().seen_header("x-forwarded-client-cert"), None, "a header is believed");
    let claim = ["-H", "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/echo/sa/client"];
    let report = mesh.echo("echo", PLAIN, &[&[HTTP, "--show"][..], &claim].concat());
    assert_eq!(report.all_good().seen_header("x-forwarded-client-cert"), None, "a claim is believed");
}

#[test]
fn plaintext_is_accepted_or_refused_by_the_most_specific_policy() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let (http, auto, tcp) =
        ("http://echo-server:8080/", "http://echo-server:8081/", "tcp://echo-server:9000");
    let all = |answered: bool| [(http, answered), (auto, answered), (tcp, answered)];
    expect(&mesh, &all(true), "PERMISSIVE is the default");
    let strict = policy("istio-system", "default", "mtls: {mode: STRICT}");
    mesh.apply_text(&strict).text();
    expect(&mesh, &all(false), "the mesh is STRICT");
    let namespace = policy("echo", "default", "mtls: {mode: PERMISSIVE}");
    mesh.apply_text(&namespace).text();
    expect(&mesh, &all(true), "the namespace is PERMISSIVE");
    let workload = policy(
        "echo",
        "server",
        "selector: {matchLabels: {app: echo-server}}\n  mtls: {mode: STRICT}\n  portLevelMtls:\n    8081: {mode: PERMISSIVE}",
    );
    mesh.apply_text(&workload).text();
    expect(&mesh, &[(http, false), (auto, true), (tcp, false)], "the workload is STRICT but for one port");
    mesh.delete_text(&workload);
    expect(&mesh, &all(true), "the workload has no policy any more");
    mesh.delete_text(&namespace);
    expect(&mesh, &all(false), "the namespace has no policy any more");
    mesh.delete_text(&strict);
    expect(&mesh, &all(true), "there is no policy any more");
}

#[test]
fn a_server_with_another_identity_than_expected_is_not_called() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    for (account, answered) in [("somebody-else", false), ("echo-server", true)] {
        let rule = format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: names, namespace: echo}}\n\
             spec:\n  host: echo-server\n  trafficPolicy:\n    tls:\n      mode: ISTIO_MUTUAL\n      \
             subjectAltNames: [\"spiffe://cluster.local/ns/echo/sa/{account}\"]\n"
        );
        mesh.apply_text(&rule).text();
        wait::pause(Duration::from_secs(1));
        let report = mesh.echo("echo", CLIENT, &["http://echo-server:8080/", "-n", "10", "--new-connection"]);
        let _ = if answered { report.all_good() } else { report.none_good() };
        if !answered {
            assert_eq!(report.by_status.get("503"), Some(&10), "{report:?}");
        }
    }
}

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: {name}\n  \
         namespace: {namespace}\nspec:\n  {spec}\n"
    )
}

/// Checks whether requests from a pod without a sidecar succeed, within a few seconds and then always. Requests
/// from a pod with a sidecar always do.
fn expect(mesh: &Mesh, ports: &[(&str, bool)], when: &str) {
    for (url, answered) in ports {
        let call = |pod: &str, count: &str| -> Report {
            mesh.echo("echo", pod, &[url, "-n", count, "--new-connection", "--timeout", "3s"])
        };
        wait::until(&format!("{when}: {url}"), Duration::from_secs(3), || match call(PLAIN, "1") {
            report if (report.ok == 1) == *answered => Ok(()),
            report => Err(format!("{report:?}")),
        });
        let report = call(PLAIN, "10");
        let _ = if *answered { report.all_good() } else { report.none_good() };
        call(CLIENT, "10").all_good();
    }
}
