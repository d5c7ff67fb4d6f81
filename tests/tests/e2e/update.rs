//! Updates under load: every Deployment of an application and of the control plane, a change of revision, and the whole
//! release.

use std::path::Path;

use tests::program;
use tests::wait;

use crate::cluster::{CHANGE, must, name, number, pods, restart, run};
use crate::load::Load;
use crate::mesh::{self, CONTROL, Revision, SYSTEM};
use crate::ostria;
use crate::shop::{self, DEPLOYMENTS, NAMESPACE, Until};
use crate::webhook::a_pod_with_a_sidecar;

/// Every Deployment of bookinfo and of the control plane is replaced twice, or if `E2E_REQUESTS` is set again and again until
/// the customers have had so many pages. Each replacement of bookinfo moves it to a second control plane or back, as
/// docs/tasks/kubernetes/upgrade.md says.
pub(crate) fn rolling() {
    shop::open();
    let canary = Revision::install("canary");
    let wanted = number("E2E_REQUESTS", 0);
    let until = if wanted == 0 { Until::Stopped } else { Until::Pages(wanted) };
    let customers = shop::customers("rolling", until);
    let mut rounds = 0;
    loop {
        for (labels, revision) in MOVES {
            must(&[&["label", "namespace", NAMESPACE], &labels[..]].concat());
            restart(NAMESPACE, DEPLOYMENTS);
            all_are_of(revision);
            restart(SYSTEM, CONTROL);
        }
        rounds += 1;
        if wanted == 0 || customers.iter().all(Load::has_ended) {
            break;
        }
    }
    eprintln!("{rounds} times there and back");
    shop::all_served(customers);
    drop(canary);
    // What is left is the first control plane's alone.
    wait::until("every proxy is connected to a pilot", CHANGE, || ostria::in_step(NAMESPACE));
    shop::goes_on();
}

fn all_are_of(revision: &str) {
    for app in ["details", "productpage", "ratings", "reviews"] {
        for pod in pods(NAMESPACE, &format!("app={app}")) {
            assert_eq!(pod["metadata"]["annotations"]["istio.io/rev"], revision, "{}", name(&pod));
        }
    }
}

/// Labels of a namespace that move it to a revision, and the revision.
const MOVES: &[([&str; 2], &str)] = &[
    (["istio-injection-", "istio.io/rev=canary"], "canary"),
    (["istio.io/rev-", "istio-injection=enabled"], "default"),
];

/// From the chart of the previous commit, if it is known, to this one with values that restart every part.
pub(crate) fn upgrade() {
    shop::open();
    let folder = tempfile::tempdir().expect("a folder can be made");
    match previous_chart(folder.path()) {
        Ok(chart) => mesh::upgrade(&chart, &[]),
        Err(error) => eprintln!(
            "the upgrade begins with this commit's chart, for that of the previous one can't be had: {error}"
        ),
    }
    let customers = shop::customers("upgrade", Until::Stopped);
    mesh::upgrade(&mesh::chart(), RESTARTING);
    a_pod_with_a_sidecar(NAMESPACE).unwrap_or_else(|error| panic!("{error}"));
    // Sidecars change when their pods are created again.
    restart(NAMESPACE, &["productpage-v1"]);
    shop::all_served(customers);
}

/// Values that change the pods of every part.
const RESTARTING: &[&str] = &[
    "pilot.podAnnotations.upgrade=yes",
    "citadel.podAnnotations.upgrade=yes",
    "injector.podAnnotations.upgrade=yes",
    "ingressGateway.podAnnotations.upgrade=yes",
    "egressGateway.podAnnotations.upgrade=yes",
];

/// Writes the chart of the previous commit into a folder.
fn previous_chart(folder: &Path) -> Result<std::path::PathBuf, String> {
    let repository = program::repository("").display().to_string();
    let archive = folder.join("chart.tar").display().to_string();
    run("git", &["-C", &repository, "archive", "-o", &archive, "HEAD^", "deploy/helm/ostria"], "")?;
    run("tar", &["-xf", &archive, "-C", &folder.display().to_string()], "")?;
    Ok(folder.join("deploy/helm/ostria"))
}
