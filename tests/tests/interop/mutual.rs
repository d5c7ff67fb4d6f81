//! An Envoy sidecar and one of ours, each in its own network, with strict mTLS: each connects to the other, and
//! each learns the identity of its client.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::program;
use tests::report::Report;
use tests::{pair, wait, wire};

use crate::plane::{self, Plane};

#[test]
#[ignore = "fetches Envoy"]
fn an_envoy_sidecar_and_ours_use_mtls_in_both_directions() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    tests::certificates::write(folder);
    let strict = folder.join("strict.yaml");
    std::fs::write(&strict, STRICT).expect("the folder can be written");
    let sample = program::repository("samples/bookinfo");
    let files = [sample.join("namespace.yaml"), sample.join("bookinfo.yaml"), strict];
    let pods = [pod("productpage-v1", PAGE), pod("reviews-v1", REVIEWS)];
    let shown = folder.display().to_string();
    let plane = Plane::start(&files, &pods, &[&shown, "page"]);
    let here = plane.node();
    // Another network, which ends with its only process, connected to pilot's by a veth pair.
    let echo = program::path("echo");
    let server = ["server", "--http", "9080", "--pod-name", "reviews-v1", "--shutdown-delay", "0s"];
    let there = pair::inside(here, &echo, &server);
    pair::join([(here, PAGE), (there.pid(), REVIEWS)], "9080");
    let page = ["server", "--http", "9080", "--pod-name", "productpage-v1", "--shutdown-delay", "0s"];
    let page = wire::enter(here, &echo, &page);

    let envoy = plane.envoy(&id("productpage-v1", PAGE), &metadata("productpage", PAGE), "DELTA_GRPC");
    let file = folder.join("reviews.json");
    std::fs::write(&file, own_bootstrap(folder).to_string()).expect("the folder can be written");
    let line = ["run", "--bootstrap", &file.display().to_string(), "--concurrency", "1"];
    let own = wire::enter(there.pid(), &program::path("ostria-proxy"), &line);
    plane.until_accepted("productpage-v1.default");

    let caller = until_called(here, "http://reviews:9080/");
    assert!(caller.contains("URI=spiffe://cluster.local/ns/default/sa/bookinfo-productpage"), "{caller}");
    let caller = until_called(there.pid(), "http://productpage:9080/");
    assert!(caller.contains("URI=spiffe://cluster.local/ns/default/sa/bookinfo-reviews"), "{caller}");
    for (node, address) in [(here, REVIEWS), (there.pid(), PAGE)] {
        let url = format!("http://{address}:9080/");
        let line = ["client", "--allow-failures", "--timeout", "3s", &url];
        let outcome = wire::enter(node, &echo, &line).finish(program::TIMEOUT);
        Report::of(&outcome).none_good();
    }
    own.end();
    envoy.end();
    page.end();
    there.end();
}

/// Retries until the server responds. Returns the client identity that it received.
fn until_called(node: u32, url: &str) -> String {
    let mut caller = String::new();
    wait::until("the other side responds", Duration::from_secs(30), || {
        let line = ["client", "--allow-failures", "--show", "--connect", "10.96.0.77:9080", url];
        let outcome = wire::enter(node, &program::path("echo"), &line).finish(program::TIMEOUT);
        let report = Report::of(&outcome);
        caller = report.seen_header("x-forwarded-client-cert").unwrap_or_default();
        if report.ok == 1 { Ok(()) } else { Err(format!("{report:?}")) }
    });
    caller
}

fn id(name: &str, address: &str) -> String {
    format!("sidecar~{address}~{name}.default~default.svc.cluster.local")
}

fn metadata(app: &str, address: &str) -> Value {
    json!({
        "NAMESPACE": "default", "LABELS": {"app": app, "version": "v1", "security.istio.io/tlsMode": "istio"},
        "SERVICE_ACCOUNT": format!("bookinfo-{app}"), "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": address,
    })
}

fn pod(name: &str, address: &str) -> Value {
    let mut pod = plane::pod(name, 1);
    pod["metadata"]["labels"]["security.istio.io/tlsMode"] = json!("istio");
    pod["status"]["podIP"] = json!(address);
    pod["status"]["podIPs"] = json!([{"ip": address}]);
    pod
}

/// The same bootstrap as Envoy's, with pilot at the other end of the veth pair and the certificate in the file.
fn own_bootstrap(folder: &Path) -> Value {
    let mut made = plane::bootstrap(&id("reviews-v1", REVIEWS), &metadata("reviews", REVIEWS), "DELTA_GRPC");
    let pilot = json!({"socket_address": {"address": PAGE, "port_value": 15010}});
    let cluster = &mut made["static_resources"]["clusters"][0];
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = pilot;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("the file is there");
    let inline = |name: &str| json!({"inline_string": read(name)});
    made["static_resources"]["secrets"] = json!([
        {"name": "default", "tls_certificate":
            {"certificate_chain": inline("reviews.pem"), "private_key": inline("reviews.key")}},
        {"name": "ROOTCA", "validation_context": {"trusted_ca": inline("ca.pem")}},
    ]);
    made
}

const PAGE: &str = "10.9.0.1";
const REVIEWS: &str = "10.9.0.2";
const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
";
