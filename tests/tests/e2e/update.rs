//! Updates under load: every Deployment of an application and of the control plane, and the whole release.

use std::path::Path;

use tests::program;

use crate::cluster::{number, restart, run, until_settled};
use crate::mesh::{self, CONTROL, SYSTEM};
use crate::shop::{self, DEPLOYMENTS, NAMESPACE, Until};
use crate::webhook::a_pod_with_a_sidecar;

/// The variable that says how many pages must not fail during rolling updates.
pub(crate) const REQUESTS: &str = "E2E_REQUESTS";

/// Every Deployment of bookinfo and of the control plane is replaced, again and again until the customers have had
/// `E2E_REQUESTS` pages (5,000 if it is not set).
pub(crate) fn rolling() {
    shop::open();
    let customers = shop::customers("rolling", Until::Pages(number(REQUESTS, 5_000)));
    let mut rounds = 0;
    loop {
        restart(NAMESPACE, DEPLOYMENTS);
        restart(SYSTEM, CONTROL);
        rounds += 1;
        let are_done = customers.iter().all(crate::load::Load::has_ended);
        assert!(
            !are_done || rounds > 1,
            "the customers were done before all was replaced: raise E2E_REQUESTS"
        );
        if are_done {
            break;
        }
    }
    eprintln!("{rounds} rounds of updates");
    shop::all_served(customers);
}

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
    mesh::upgrade(&mesh::chart(), &[]);
    until_settled(NAMESPACE);
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
