//! The verbs of `ostria`, which follow kubectl's conventions, and a mesh of an unprivileged user.

use std::time::Duration;

use serde_json::Value;
use tests::mesh::{Mesh, Options};
use tests::program::TIMEOUT;
use tests::report::Report;
use tests::wait;

use crate::PROBE;

#[test]
fn verbs_read_and_change_a_mesh_as_kubectl_does() {
    let mesh = Mesh::up(&["samples/bookinfo"], PROBE);
    let say = |line: &[&str]| mesh.ostria(line).text();
    wait::until("six pods and the gateway are in sync", Duration::from_secs(2), || {
        let status = say(&["status"]);
        if status.matches(" SYNCED").count() == 7 { Ok(()) } else { Err(status) }
    });
    let pods = say(&["get", "pods", "-A"]);
    assert!(
        pods.contains("istio-ingressgateway") && pods.contains("2/2") && pods.contains("Running"),
        "{pods}"
    );
    let yaml = say(&["get", "virtualservice", "bookinfo", "-o", "yaml"]);
    assert!(yaml.contains("kind: VirtualService") && yaml.contains("bookinfo-gateway"), "{yaml}");
    let log = say(&["logs", "deployment/productpage-v1"]);
    assert!(log.contains("productpage v1 as productpage-v1-"), "{log}");
    proxies(&mesh);
    changes(&mesh);
    descriptions(&mesh);
    pods_cannot_read_internals(&mesh);
    let outcome = mesh.ostria(&["exec", "deployment/productpage-v1", "--", "sh", "-c", "exit 7"]);
    assert_eq!(outcome.code, 7, "{outcome}");
    assert!(say(&["version"]).starts_with("ostria "));
    assert!(say(&["completion", "bash"]).contains("complete"));
}

/// Checks that a proxy's configuration can be displayed, but never a key.
fn proxies(mesh: &Mesh) {
    let show = |part: &str, more: &[&str]| {
        mesh.ostria(&[&["proxy-config", part, "deployment/productpage-v1"][..], more].concat()).text()
    };
    for (part, output) in [
        ("listeners", "15006"),
        ("routes", "reviews"),
        ("clusters", "reviews.default.svc.cluster.local"),
        ("endpoints", "9080"),
        ("secrets", "default"),
    ] {
        let table = show(part, &[]);
        assert!(table.contains(output), "proxy-config {part} does not tell {output}:\n{table}");
    }
    let all = show("all", &["-o", "json"]);
    let dump: Value = serde_json::from_str(&all).unwrap_or_else(|error| panic!("{error}: {all}"));
    let kinds = dump["configs"].as_array().map_or(0, Vec::len);
    assert!(kinds >= 5, "a dump has Envoy's sections: {kinds}");
    assert!(!all.contains("PRIVATE KEY"), "a key is shown");
    assert_eq!(show("ecds", &[]), "No ECDS configuration\n");
    compared(mesh);
}

/// Checks that each kind of proxy runs what pilot holds for it, and that scripts can tell this from a failure.
fn compared(mesh: &Mesh) {
    for pod in ["deployment/productpage-v1", "deployment/istio-ingressgateway.istio-system"] {
        let text = mesh.ostria(&["proxy-status", pod]).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!((lines[0], lines[1], lines[3]), ("Clusters Match", "Listeners Match", "Endpoints Match"));
        assert!(lines[2].starts_with("Routes Match (RDS last loaded at "), "{text}");
    }
    let json = mesh.ostria(&["proxy-status", "deployment/reviews-v1", "-o", "json"]).text();
    let report: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(
        (&report["matches"], &report["routes"]),
        (&Value::Bool(true), &serde_json::json!([])),
        "{json}"
    );
    let outcome = mesh.ostria(&["proxy-status", "nonesuch"]);
    assert_eq!(outcome.code, 2, "{outcome}");
}

/// Checks that pods cannot read the mesh's internals, only metrics and health.
fn pods_cannot_read_internals(mesh: &Mesh) {
    let reviews = mesh.pods("default", "app", "reviews").remove(0);
    let pilot = "http://10.244.0.1:15014";
    for (path, status) in [
        (format!("/debug/config_dump?proxyID={}.default", reviews.name), "403"),
        ("/debug/syncz".into(), "403"),
        ("/debug".into(), "403"),
        ("/metrics".into(), "200"),
        ("/readyz".into(), "200"),
    ] {
        let url = format!("{pilot}{path}");
        let outcome = mesh.start_echo("default", "deployment/productpage-v1", &[&url]).finish(TIMEOUT);
        let report = Report::of(&outcome);
        assert_eq!(report.by_status.get(status), Some(&1), "{path}: {report:?}");
    }
    // Pilot's plaintext port, and the administration port of another pod's proxy.
    for url in ["http://10.244.0.1:15010/".into(), format!("http://{}:15000/config_dump", reviews.address)] {
        let line = ["--timeout", "3s", &url];
        let outcome = mesh.start_echo("default", "deployment/productpage-v1", &line).finish(TIMEOUT);
        Report::of(&outcome).none_good();
    }
}

/// Checks that `apply` reports the outcome for each object, and accepts folders and standard input.
fn changes(mesh: &Mesh) {
    let folder = tests::program::repository("samples/bookinfo").display().to_string();
    let output = mesh.ostria(&["apply", "-f", &folder]).text();
    assert!(!output.contains("created") && !output.contains("configured"), "nothing had changed:\n{output}");
    let mut running = mesh.start(&["apply", "-f", "-"]);
    running.feed(b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {a: b}\n");
    let output = running.finish(Duration::from_secs(10)).text();
    assert_eq!(output, "configmap/note created\n");
    let output = mesh.ostria(&["delete", "configmap", "note"]).text();
    assert_eq!(output, "configmap/note deleted\n");
    let outcome = mesh.ostria(&["get", "configmap", "note"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.err.contains("NotFound"), "{outcome}");
}

/// Checks that `describe` shows what is in force, where, and which routes lead to it, and that every verb reports a
/// Gateway's missing Secret.
fn descriptions(mesh: &Mesh) {
    let say = |line: &[&str]| mesh.ostria(line).text();
    let service = say(&["describe", "service", "reviews"]);
    for part in ["Selector:", "Endpoints:", "Verdict:", "Accepted", "7 of 7 proxies", "default/reviews-v1-"] {
        assert!(service.contains(part), "describe does not tell {part}:\n{service}");
    }
    let pod = mesh.pods("default", "app", "reviews").remove(0);
    let shown = say(&["describe", "pod", &pod.name]);
    for part in ["Service Account:", "istio-proxy:", "Restart Count:", "Service", "selects the pod"] {
        assert!(shown.contains(part), "describe does not tell {part}:\n{shown}");
    }
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: secure}\nspec:\n  selector: {istio: \
                   ingressgateway}\n  servers:\n  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example], \
                   tls: {mode: SIMPLE, credentialName: nonesuch}}\n";
    let missing = "there is no Secret istio-system/nonesuch";
    let outcome = mesh.apply_text(gateway);
    assert!(
        outcome.code == 0 && outcome.err.contains("Warning: ") && outcome.err.contains(missing),
        "{outcome}"
    );
    let name = "gateway.networking.istio.io/secure";
    for (dry_run, suffix) in [("--dry-run=server", " (server dry run)"), ("--dry-run=client", " (dry run)")] {
        let file = mesh.write("again.yaml", gateway);
        assert_eq!(say(&["apply", dry_run, "-f", &file]), format!("{name} unchanged{suffix}\n"));
    }
    wait::until("get and describe tell of the missing Secret", Duration::from_secs(5), || {
        let output =
            say(&["describe", "gateway", "secure"]) + &say(&["get", "gateway", "secure", "-o", "wide"]);
        if output.matches(missing).count() == 2 { Ok(()) } else { Err(output) }
    });
    assert_eq!(say(&["delete", "gateway", "secure"]), format!("{name} deleted\n"));
}

#[test]
fn a_user_without_privileges_can_run_a_mesh() {
    let options =
        Options { folders: vec!["samples/bookinfo".into()], unprivileged: true, ..Options::default() };
    let mut mesh = Mesh::begin(&options, PROBE);
    mesh.until_up();
    for _ in 0..20 {
        let page = mesh.page("/productpage", &[]);
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.text.contains("Reviews served by: reviews-"), "{page:?}");
    }
}
