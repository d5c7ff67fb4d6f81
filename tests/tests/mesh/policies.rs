//! Policies for routing and protecting traffic that no other file tests on a whole mesh.

use std::net::Ipv4Addr;
use std::time::Duration;

use tests::mesh::{Mesh, Options};
use tests::program::{self, Running};
use tests::report::Report;
use tests::wait;

use crate::PROBE;

const CLIENT: &str = "deployment/client";
const URL: &str = "http://echo-server:8080/";

/// Repeats a call until its report is as expected, and returns that report.
fn until(mesh: &Mesh, what: &str, arguments: &[&str], holds: impl Fn(&Report) -> bool) -> Report {
    wait::until(what, Duration::from_secs(10), || {
        let report = mesh.echo("echo", CLIENT, arguments);
        if holds(&report) { Ok(report) } else { Err(format!("{report:?}")) }
    })
}

#[test]
fn where_mtls_is_disabled_sidecars_call_in_the_clear_and_nowhere_else() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let is_mutual =
        |report: &Report| report.ok == 1 && report.seen_header("x-forwarded-client-cert").is_some();
    let is_plain =
        |report: &Report| report.ok == 1 && report.seen_header("x-forwarded-client-cert").is_none();
    let (http, auto) = ([URL, "--show"], ["http://echo-server:8081/", "--show"]);
    until(&mesh, "mTLS is the default", &http, is_mutual);
    let policy = |spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: echo}}\n\
             spec: {spec}\n"
        )
    };
    mesh.apply_text(&policy("{mtls: {mode: DISABLE}}")).text();
    until(&mesh, "no mTLS in the namespace", &http, is_plain);
    let capture = mesh.capture();
    let marker = "a-marker-that-is-open";
    for url in [URL, "tcp://echo-server:9000", "grpc://echo-server:7070"] {
        mesh.echo("echo", CLIENT, &[url, "-n", "10", "-d", marker]).all_good();
    }
    assert!(tests::wire::contains(&capture.stop(), marker.as_bytes()), "it is said to be in the clear");
    mesh.apply_text(&policy(
        "{selector: {matchLabels: {app: echo-server}}, mtls: {mode: STRICT}, portLevelMtls: {8081: {mode: DISABLE}}}",
    ))
    .text();
    until(&mesh, "mTLS on the one port", &http, is_mutual);
    until(&mesh, "no mTLS on the other", &auto, is_plain);
    mesh.delete_text(&policy("{}"));
    until(&mesh, "mTLS again", &auto, is_mutual);
    mesh.echo("echo", CLIENT, &[URL, "-n", "20", "--new-connection"]).all_good();
}

/// A ServiceEntry for an external host, at an address that only this entry defines.
fn entry(endpoint: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: outside, namespace: echo}}\n\
         spec:\n  hosts: [outside.example]\n  addresses: [10.111.0.7]\n  location: MESH_EXTERNAL\n  \
         resolution: STATIC\n  ports:\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {port}}}\n  \
         endpoints:\n  - address: {endpoint}\n"
    )
}

const REGISTRY_ONLY: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  \
                             mesh: |\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n";

#[test]
fn a_service_entry_makes_an_external_host_reachable_until_it_is_deleted() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let plain = mesh.pod("echo", "client-plain");
    let call =
        ["http://outside.example/", "--connect", "10.111.0.7:80", "-n", "5", "-c", "5", "--timeout", "3s"];
    mesh.echo("echo", CLIENT, &call).none_good();
    mesh.apply_text(&entry(&plain.address, 8080)).text();
    let report = until(&mesh, "the entry leads there", &call, |report| report.ok == 5);
    assert_eq!(report.by_pod.get(&plain.name), Some(&5), "{report:?}");
    mesh.apply_text(REGISTRY_ONLY).text();
    let plaintext = format!("http://{}:8080/", plain.address);
    let plaintext = [plaintext.as_str(), "-n", "5", "-c", "5", "--timeout", "3s"];
    let refused = until(&mesh, "only what is known is called", &plaintext, |report| report.ok == 0);
    assert!(refused.failed == 5, "{refused:?}");
    mesh.echo("echo", CLIENT, &call).all_good();
    mesh.delete_text(&entry(&plain.address, 8080));
    until(&mesh, "the entry is gone", &call, |report| report.ok == 0);
    mesh.echo("echo", CLIENT, &[URL, "-n", "10"]).all_good();
}

/// A third endpoint of the echo server on which nothing listens, and a rule that ejects failing endpoints.
const BROKEN: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: echo-server-v3, namespace: echo}
spec:
  selector: {matchLabels: {app: echo-server, version: v3}}
  template:
    metadata:
      labels: {app: echo-server, version: v3}
    spec:
      serviceAccountName: echo-server
      containers:
      - name: echo
        command: [sleep, \"600\"]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: once, namespace: echo}
spec:
  hosts: [echo-server]
  http:
  - retries: {attempts: 0}
    route:
    - destination: {host: echo-server}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: eject, namespace: echo}
spec:
  host: echo-server
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 3s, maxEjectionPercent: 50}
";

#[test]
fn an_endpoint_that_fails_is_ejected_and_taken_back_once_it_works() {
    let mut mesh = Mesh::up(&["samples/echo"], PROBE);
    mesh.apply_text(BROKEN).text();
    let broken = wait::until("the broken endpoint is ready", Duration::from_secs(20), || {
        let pods = mesh.pods("echo", "version", "v3");
        let pod = pods.first().ok_or("no pod")?.name.clone();
        if mesh.health("echo", &pod).0 { Ok(pod) } else { Err(mesh.unready("echo", &pod)) }
    });
    mesh.observe();
    let call = [URL, "-n", "30", "--timeout", "3s"];
    let failing = until(&mesh, "some calls fail", &call, |report| report.failed > 0);
    assert_eq!(failing.by_status.get("503"), Some(&failing.failed), "{failing:?}");
    let ejected = until(&mesh, "the endpoint is ejected", &call, |report| report.failed == 0);
    assert_eq!(ejected.by_pod.len(), 2, "{ejected:?}");
    let client = mesh.pod("echo", "client");
    let name = "envoy_cluster_outlier_detection_ejections_enforced_total";
    let metrics = mesh.metrics(&client);
    assert!(metrics.sum(name, &[]) >= 1, "{}", metrics.shown(name));
    let line = ["exec", &broken, "-n", "echo", "--", "echo", "server", "--http=8080", "--version=v3"];
    let server = mesh.start(&line);
    let back = until(&mesh, "the endpoint is taken back", &call, |report| {
        report.failed == 0 && report.by_version.contains_key("v3")
    });
    assert_eq!(back.by_version.len(), 3, "{back:?}");
    mesh.echo("echo", CLIENT, &[URL, "-n", "60"]).all_good();
    drop(server);
}

#[test]
fn with_egress_pods_reach_the_host_and_without_it_they_do_not() {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can join the pods' network to the host's");
        return;
    }
    let port = tests::port::free().to_string();
    let line = ["server", "--address", "0.0.0.0", "--http", &port, "--version=outside"];
    let outside = Running::start(&program::path("echo"), &line, &[]);
    let host = Ipv4Addr::new(169, 254, 244, 1);
    let url = format!("http://{host}:{port}/");
    let call = [url.as_str(), "-n", "5", "-c", "5", "--timeout", "3s"];
    {
        let mesh = Mesh::up(&["samples/echo"], PROBE);
        mesh.echo("echo", CLIENT, &call).none_good();
        mesh.echo("echo", "deployment/client-plain", &call).none_good();
    }
    let folders = vec!["samples/echo".into()];
    let mut mesh = Mesh::begin(&Options { folders, egress: true, alone: true, ..Options::default() }, PROBE);
    mesh.until_up();
    for pod in [CLIENT, "deployment/client-plain"] {
        let report = mesh.echo("echo", pod, &call);
        assert_eq!(report.all_good().by_version.get("outside"), Some(&5), "{report:?}");
    }
    no_service_responds(&mesh);
    let number: u16 = port.parse().expect("it is a port");
    mesh.apply_text(&entry(&host.to_string(), number)).text();
    let call =
        ["http://outside.example/", "--connect", "10.111.0.7:80", "-n", "5", "-c", "5", "--timeout", "3s"];
    let report = until(&mesh, "the entry leads outside", &call, |report| report.ok == 5);
    assert_eq!(report.by_version.get("outside"), Some(&5), "{report:?}");
    drop(outside);
}

/// Checks that a service without pods is refused immediately: its address is not passed through to the outside.
fn no_service_responds(mesh: &Mesh) {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: nobody, namespace: echo}\n\
                   spec:\n  selector: {app: nobody}\n  ports:\n  - {name: http, port: 80}\n";
    mesh.apply_text(service).text();
    let call = ["http://nobody/", "-n", "1", "--timeout", "3s"];
    wait::until("a service without pods refuses", Duration::from_secs(5), || {
        let report = mesh.echo("echo", "deployment/client-plain", &call);
        if report.errors.keys().any(|error| error.contains("refused")) {
            Ok(())
        } else {
            Err(format!("{report:?}"))
        }
    });
}
