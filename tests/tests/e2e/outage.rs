//! Failures of the cluster itself: its node's daemons, and the API server.

use std::time::Duration;

use tests::wait;

use crate::cluster::{
    self, CHANGE, START, applied, kubectl, must, number, restart, sample, scale, until_settled,
};
use crate::daemon::Stopped;
use crate::mesh::SYSTEM;
use crate::shop::{self, NAMESPACE, Until, page, reviews};

/// While kubelet, then containerd are away, traffic goes on; afterwards pods are started as before. A kubelet that starts
/// reports the pods that run as not ready until it has probed them, and a Service has no endpoint for so long, with a mesh or
/// without.
pub(crate) fn of_the_node() {
    shop::open();
    for daemon in ["kubelet", "containerd"] {
        let customers = shop::customers(daemon, Until::Stopped);
        let stopped = Stopped::kill(daemon);
        wait::pause(AWAY);
        stopped.start();
        until_the_node_is_ready();
        restart(NAMESPACE, &["details-v1"]);
        drop(shop::visit());
        for (name, report) in shop::stopped(customers) {
            eprintln!("{name}: {} requests, {} failed", report.requests, report.failed);
            assert!(report.failed <= UNPROBED * shop::rate(), "{report:#?}");
        }
    }
    shop::goes_on();
}

fn until_the_node_is_ready() {
    wait::until("the node is ready", START, || {
        let ready = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
        match kubectl(&["get", "nodes", "-o", ready])?.as_str() {
            "True" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

/// How long a daemon of the node is away.
const AWAY: Duration = Duration::from_secs(10);
/// For how many seconds a starting kubelet may take pods for not ready: it spreads the first probes over one period, which is
/// 15 s for a sidecar.
const UNPROBED: u64 = 16;

/// Traffic goes on, pods that were about to start wait, and everything catches up when it is back. `E2E_OUTAGE` is its
/// length in seconds.
///
/// Kubernetes' controllers and its scheduler end with it, as they do in a cluster with leader election when they cannot
/// renew their leases. Those that go on without it wait for up to a minute each until they look again, and the first to look
/// takes the node for lost.
pub(crate) fn of_the_api_server() {
    shop::open();
    let away = number("E2E_OUTAGE", 60);
    let customers = shop::customers("outage", Until::Stopped);
    // The pod waits for its node. A kubelet that knew it already would try to mount its token, and after an outage of a
    // minute wait for another one before it tries again.
    let scheduler = Stopped::kill("scheduler");
    must(&["-n", NAMESPACE, "scale", "deployment/details-v1", "--replicas=2"]);
    wait::until("the pod is created", CHANGE, || match cluster::pods(NAMESPACE, "app=details").len() {
        2 => Ok(()),
        other => Err(other.to_string()),
    });
    let [server, controllers] = ["apiserver", "controller-manager"].map(Stopped::kill);
    wait::pause(Duration::from_secs(away));
    assert!(
        kubectl(&["--request-timeout=2s", "get", "--raw", "/readyz"]).is_err(),
        "the API server is not away"
    );
    server.start();
    wait::until("the API server is back", START, || kubectl(&["get", "--raw", "/readyz"]));
    controllers.start();
    scheduler.start();
    until_the_node_is_ready();
    until_settled(NAMESPACE);
    until_settled(SYSTEM);
    assert_eq!(cluster::pods(NAMESPACE, "app=details").len(), 2);
    applied(NAMESPACE, &sample("bookinfo/networking/virtual-service-all-v1.yaml"));
    let (_forward, mut browser) = shop::visit();
    wait::until("a change reaches the proxies", CHANGE, || {
        match reviews(&page(&mut browser, &[])?).as_str() {
            "v1" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    drop(browser);
    shop::without_rules();
    shop::all_served(customers);
    scale(NAMESPACE, "details-v1", 1);
}
