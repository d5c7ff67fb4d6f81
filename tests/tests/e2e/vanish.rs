//! A namespace that is deleted while its services are called.

use std::time::Duration;

use tests::wait;

use crate::cluster::{START, applied, echo, must, sample, until_settled};
use crate::load::{Load, Place};
use crate::namespace::Namespace;
use crate::shop::{self, NAMESPACE, Until};

const GONE: &str = "ostria-e2e-gone";

/// Calls of what is gone fail at once, others go on, and what is created again under the same names is called again.
pub(crate) fn namespace() {
    shop::open();
    let customers = shop::customers("bystander", Until::Stopped);
    let yaml = sample("echo/echo.yaml").replace("namespace: echo\n", &format!("namespace: {GONE}\n"));
    // The sample's first object is its namespace.
    let yaml = yaml.split_once("\n---\n").expect("the sample has several objects").1.to_owned();
    let namespace = filled(&yaml);
    let url = format!("http://echo-server.{GONE}:8080/");
    let load = Load::start(NAMESPACE, "caller", Place::Mesh, &[&url, "-c", "10", "--rate", "50"]);
    wait::pause(START / 60);
    must(&["delete", "namespace", GONE, "--timeout=60s"]);
    drop(namespace);
    let report = load.stop();
    eprintln!(
        "while {GONE} was deleted: {} good, {} failed: {:?} {:?}",
        report.ok, report.failed, report.by_status, report.errors
    );
    assert!(report.ok > 20 && report.latency_ms["max"] < LONGEST.as_secs_f64() * 1000.0, "{report:#?}");
    let _namespace = filled(&yaml);
    wait::until("the namespace that was created again is called", START, || {
        let report = echo(GONE, "client", &[&url, "-n", "20", "--new-connection"]);
        if report.failed == 0 { Ok(()) } else { Err(format!("{report:?}")) }
    });
    shop::all_served(customers);
}

fn filled(yaml: &str) -> Namespace {
    let namespace = Namespace::with_sidecars(GONE);
    applied(GONE, yaml);
    until_settled(GONE);
    namespace
}

/// No call of what is gone waits longer: the proxy's own time to connect.
const LONGEST: Duration = Duration::from_secs(12);
