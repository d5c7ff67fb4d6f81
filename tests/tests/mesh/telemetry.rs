//! Istio's standard metrics on both sides of a request, as Prometheus scrapes them.

use std::time::Duration;

use tests::mesh::{Mesh, Pod};
use tests::metrics::Metrics;
use tests::wait;

use crate::PROBE;

const SERVICE: &str = "echo-server.echo.svc.cluster.local";
const SERVER: &str = "spiffe://cluster.local/ns/echo/sa/echo-server";
const CLIENT: &str = "spiffe://cluster.local/ns/echo/sa/client";

#[test]
fn both_sides_count_each_request_with_workloads_principals_version_and_code() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let client = "deployment/client";
    mesh.echo("echo", client, &["http://echo-server:8080/", "-n", "40"]).all_good();
    mesh.echo("echo", client, &["http://echo-server:8080/?status=418", "-n", "7"]).none_good();
    mesh.echo("echo", client, &["grpc://echo-server:7070", "-n", "9"]).all_good();
    mesh.echo("echo", client, &["tcp://echo-server:9000", "-n", "5", "--new-connection"]).all_good();
    mesh.echo("echo", "deployment/client-plain", &["http://echo-server:8080/", "-n", "3"]).all_good();
    let servers = mesh.pods("echo", "app", "echo-server");
    let source = |metrics: &Metrics, name: &str, labels: &[(&str, &str)]| {
        let all = [&[("reporter", "source"), ("source_workload", "client")][..], labels].concat();
        metrics.sum(name, &all)
    };
    sided(&mesh, &[mesh.pod("echo", "client")], &|metrics, name, labels| {
        source(metrics, name, &[&[("connection_security_policy", "unknown")][..], labels].concat())
    });
    sided(&mesh, &servers, &|metrics, name, labels| {
        let own = [("reporter", "destination"), ("connection_security_policy", "mutual_tls")];
        metrics.sum(name, &[&own[..], labels].concat())
    });
    plain(&mesh, &servers);
}

#[test]
fn an_access_log_is_written_once_it_is_configured() {
    let mesh = Mesh::up(&["samples/echo"], PROBE);
    let call = |path: &str| {
        mesh.echo("echo", "deployment/client", &[&format!("http://echo-server:8080/{path}")])
            .all_good()
            .requests
    };
    let log = |pod: &str| mesh.ostria(&["logs", pod, "-n", "echo", "-c", "istio-proxy"]).text();
    call("before-the-log");
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                    accessLogFile: /dev/stdout\n";
    mesh.apply_text(settings).text();
    wait::until("a call is logged on both sides", Duration::from_secs(5), || {
        // Connections opened before the change may handle requests with the old configuration for a moment.
        call("after-the-log");
        let client = log("deployment/client");
        let servers = log("deployment/echo-server-v1") + &log("deployment/echo-server-v2");
        for (side, text, cluster) in [
            ("client", &client, "outbound|8080||echo-server.echo.svc.cluster.local"),
            ("server", &servers, "inbound|8080||"),
        ] {
            let line = text.lines().find(|line| line.contains("/after-the-log"));
            let line = line.ok_or_else(|| format!("the {side} has not logged it: {text}"))?;
            assert!(line.contains("\"GET /after-the-log HTTP/1.1\" 200 - via_upstream"), "{line}");
            assert!(line.contains(cluster), "{line}");
            assert!(!text.contains("/before-the-log"), "the log was on before it was asked for: {text}");
        }
        Ok(())
    });
}

/// Sums the series of one side that have its labels and the given ones.
type Side<'a> = &'a dyn Fn(&Metrics, &str, &[(&str, &str)]) -> u64;

/// Checks what one side must have counted for requests with sidecars on both ends.
fn sided(mesh: &Mesh, pods: &[Pod], side: Side<'_>) {
    let same = [
        ("source_workload", "client"),
        ("source_workload_namespace", "echo"),
        ("source_app", "client"),
        ("source_principal", CLIENT),
        ("destination_workload_namespace", "echo"),
        ("destination_app", "echo-server"),
        ("destination_principal", SERVER),
        ("destination_service", SERVICE),
        ("destination_service_name", "echo-server"),
        ("destination_service_namespace", "echo"),
    ];
    let http = |code| [&same[..], &[("request_protocol", "http"), ("response_code", code)]].concat();
    let grpc = [&same[..], &[("request_protocol", "grpc"), ("grpc_response_status", "0")]].concat();
    let versions = |version: &'static str, workload: &'static str| {
        [&same[..], &[("destination_version", version), ("destination_workload", workload)]].concat()
    };
    let wanted = [
        ("istio_requests_total", http("200"), 40),
        ("istio_requests_total", http("418"), 7),
        ("istio_requests_total", grpc, 9),
        ("istio_request_duration_milliseconds_count", http("200"), 40),
        ("istio_tcp_connections_opened_total", same.to_vec(), 5),
        ("istio_tcp_connections_closed_total", same.to_vec(), 5),
    ];
    wait::until("all is counted", Duration::from_secs(10), || {
        let pages: Vec<Metrics> = pods.iter().map(|pod| mesh.metrics(pod)).collect();
        for (name, labels, count) in &wanted {
            let sum: u64 = pages.iter().map(|page| side(page, name, labels)).sum();
            if sum != *count {
                let shown: String = pages.iter().map(|page| page.shown(name)).collect();
                return Err(format!("{name}{labels:?} is {sum}, not {count}; there is\n{shown}"));
            }
        }
        for (version, workload) in [("v1", "echo-server-v1"), ("v2", "echo-server-v2")] {
            let labels = versions(version, workload);
            if pages.iter().map(|page| side(page, "istio_requests_total", &labels)).sum::<u64>() < 1 {
                return Err(format!("no request to {workload} is counted"));
            }
        }
        Ok(())
    });
}

/// Checks that a client without a sidecar has no principal, and that its requests are labelled as plaintext.
fn plain(mesh: &Mesh, servers: &[Pod]) {
    let labels = [
        ("reporter", "destination"),
        ("connection_security_policy", "none"),
        ("source_principal", "unknown"),
        ("destination_service", SERVICE),
        ("response_code", "200"),
    ];
    wait::until("plain calls are counted", Duration::from_secs(5), || {
        let pages: Vec<Metrics> = servers.iter().map(|pod| mesh.metrics(pod)).collect();
        let sum: u64 = pages.iter().map(|page| page.sum("istio_requests_total", &labels)).sum();
        let shown: String = pages.iter().map(|page| page.shown("istio_requests_total")).collect();
        if sum == 3 { Ok(()) } else { Err(format!("{sum} are, not 3; there is\n{shown}")) }
    });
}
