//! Workloads beside Deployments: a StatefulSet under a headless Service, Jobs and CronJobs that end, init containers that
//! need the network, and a Service without selector.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tests::wait;

use crate::cluster::{CHANGE, START, applied, echo, items, name, pods, until_settled, with_images};
use crate::mesh;
use crate::namespace::Namespace;

const NAMESPACE: &str = "ostria-e2e-workloads";

/// Each of them gets a sidecar, calls and is called.
pub(crate) fn every_kind() {
    open();
    // That its pod starts says that the init container's calls succeeded.
    until_settled(NAMESPACE);
    stateful_pods_are_called_by_name();
    hand_made_endpoints_are_called();
    wait::until("the Job is complete", START, || complete(|job| job["metadata"]["name"] == "once"));
}

/// The CronJob's Job, too, when its minute has come.
pub(crate) fn scheduled() {
    open();
    wait::until("a Job that the CronJob has made is complete", START, || {
        complete(|job| job["metadata"]["ownerReferences"][0]["name"] == "often")
    });
    close();
}

static OPEN: Mutex<Option<Namespace>> = Mutex::new(None);

/// The workloads; the first test that needs them makes them.
fn open() {
    mesh::ready();
    let mut namespace = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if namespace.is_none() {
        *namespace = Some(Namespace::with_sidecars(NAMESPACE));
        applied(NAMESPACE, &with_images(include_str!("workloads.yaml")));
    }
}

/// Takes them away.
pub(crate) fn close() {
    drop(OPEN.lock().unwrap_or_else(PoisonError::into_inner).take());
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

/// Whether such a Job is complete: a sidecar does not keep its pod from ending.
///
/// # Errors
/// The state of all Jobs.
fn complete(wanted: impl Fn(&Value) -> bool) -> Result<(), String> {
    let jobs = items(NAMESPACE, "jobs", &[])?;
    if jobs.iter().any(|job| wanted(job) && job["status"]["succeeded"] == 1) {
        return Ok(());
    }
    let states = jobs.iter().map(|job| format!("{}: {}", name(job), job["status"]));
    Err(states.collect::<Vec<_>>().join(", "))
}
