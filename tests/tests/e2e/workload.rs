//! Workloads beside Deployments: a StatefulSet under a headless Service, Jobs and CronJobs that end, init containers that
//! need the network, and a Service without selector.

use serde_json::json;
use tests::wait;

use crate::cluster::{CHANGE, START, applied, echo, items, must, pods, until_settled, with_images};
use crate::mesh;
use crate::namespace::Namespace;

const NAMESPACE: &str = "ostria-e2e-workloads";

/// Each of them gets a sidecar, calls and is called.
pub(crate) fn every_kind() {
    mesh::ready();
    let _namespace = Namespace::with_sidecars(NAMESPACE);
    applied(NAMESPACE, &with_images(include_str!("workloads.yaml")));
    must(&["-n", NAMESPACE, "create", "job", "now", "--from=cronjob/often"]);
    // That its pod starts says that the init container's calls succeeded.
    until_settled(NAMESPACE);
    stateful_pods_are_called_by_name();
    hand_made_endpoints_are_called();
    jobs_end();
}

fn stateful_pods_are_called_by_name() {
    for pod in ["peer-0", "peer-1"] {
        let url = format!("http://{pod}.peer:8080/");
        let report = wait::until(&format!("{pod} is called by its name"), START, || {
            let report = echo(NAMESPACE, "caller", &[&url, "-n", "10", "--new-connection", "--show"]);
            if report.failed == 0 { Ok(report) } else { Err(format!("{report:?}")) }
        });
        assert_eq!(report.by_pod.keys().collect::<Vec<_>>(), [pod], "{report:?}");
        assert!(
            report.seen_header("x-forwarded-client-cert").is_some(),
            "no mutual TLS to {pod}: {report:?}"
        );
    }
    // Which pod it is, the client's resolver decides.
    echo(NAMESPACE, "caller", &["http://peer:8080/", "-n", "40", "--new-connection"]).all_good();
}

/// The Service without selector leads where its EndpointSlice says.
fn hand_made_endpoints_are_called() {
    let peer = pods(NAMESPACE, "app=peer").into_iter().find(|pod| pod["metadata"]["name"] == "peer-1");
    let address = peer.expect("peer-1 runs")["status"]["podIP"].clone();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "elsewhere-1", "labels": {"kubernetes.io/service-name": "elsewhere"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [address]}],
    });
    applied(NAMESPACE, &slice.to_string());
    let report = wait::until("the Service without selector leads to its endpoint", CHANGE, || {
        let report = echo(NAMESPACE, "caller", &["http://elsewhere/", "-n", "10", "--new-connection"]);
        if report.failed == 0 { Ok(report) } else { Err(format!("{report:?}")) }
    });
    assert_eq!(report.by_pod.keys().collect::<Vec<_>>(), ["peer-1"], "{report:?}");
}

/// A sidecar does not keep the pod of a Job from ending.
fn jobs_end() {
    wait::until("both Jobs are complete", START, || {
        let jobs = items(NAMESPACE, "jobs", &[])?;
        let open =
            jobs.iter().filter(|job| ["once", "now"].iter().any(|name| job["metadata"]["name"] == *name));
        let open: Vec<String> =
            open.filter(|job| job["status"]["succeeded"] != 1).map(|job| job["status"].to_string()).collect();
        if open.is_empty() { Ok(()) } else { Err(open.join(" ")) }
    });
}
