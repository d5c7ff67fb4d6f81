//! The installed mesh that the tests share: installed for the first one that needs it, uninstalled after the last.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tests::program;

use crate::cluster::{kubectl, must, run, setting, until_settled};
use crate::shop;

/// The namespace of the control plane.
pub(crate) const SYSTEM: &str = "istio-system";
/// The Deployments of the control plane.
pub(crate) const CONTROL: &[&str] = &["ostria-pilot", "ostria-citadel", "ostria-injector"];

const RELEASE: &str = "ostria";

static INSTALLED: AtomicBool = AtomicBool::new(false);
static INSTALLING: Mutex<()> = Mutex::new(());
static SINCE: Mutex<String> = Mutex::new(String::new());

/// Makes sure that the mesh is installed, as docs/install.md says, and all of it runs.
pub(crate) fn ready() {
    // Tests that run side by side wait for the one that installs it.
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if !INSTALLED.swap(true, Ordering::SeqCst) {
        helm("install", RELEASE, &chart(), &[]).unwrap_or_else(|error| {
            // It is somebody else's.
            INSTALLED.store(false, Ordering::SeqCst);
            panic!("{error}")
        });
        // Every pod of the mesh that the tests replace is admitted under it: the control plane's and the gateways'.
        must(&["label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted", "--overwrite"]);
    }
    until_settled(SYSTEM);
}

/// When the last installation or upgrade was complete, as the API server writes times.
pub(crate) fn since() -> String {
    SINCE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The chart under test.
pub(crate) fn chart() -> std::path::PathBuf {
    program::repository("deploy/helm/ostria")
}

/// Upgrades the release to a chart and values, and waits until all of it runs.
pub(crate) fn upgrade(chart: &Path, values: &[&str]) {
    helm("upgrade", RELEASE, chart, values).unwrap_or_else(|error| panic!("{error}"));
    until_settled(SYSTEM);
}

/// A second control plane beside the first, until it is dropped. It shares the gateways.
pub(crate) struct Revision(&'static str);

impl Revision {
    /// Installs it, as docs/tasks/kubernetes/upgrade.md says, and waits until all of it runs.
    pub(crate) fn install(name: &'static str) -> Self {
        let revision = format!("revision={name}");
        let values = [revision.as_str(), "ingressGateway.enabled=false", "egressGateway.enabled=false"];
        let installed = Self(name);
        helm("install", &installed.release(), &chart(), &values).unwrap_or_else(|error| panic!("{error}"));
        until_settled(SYSTEM);
        installed
    }

    fn release(&self) -> String {
        format!("{RELEASE}-{}", self.0)
    }
}

impl Drop for Revision {
    fn drop(&mut self) {
        if let Err(error) = run("helm", &["uninstall", &self.release(), "-n", SYSTEM, "--wait"], "") {
            eprintln!("the revision {} stays: {error}", self.0);
        }
    }
}

/// Installs or upgrades a release with the profile `demo`.
fn helm(verb: &str, release: &str, chart: &Path, values: &[&str]) -> Result<String, String> {
    let profile = chart.join("values-demo.yaml").display().to_string();
    let chart = chart.display().to_string();
    let images = format!(
        "global.hub={},global.tag={},global.imagePullPolicy={}",
        setting("E2E_HUB"),
        setting("E2E_TAG"),
        setting("E2E_PULL")
    );
    let mut arguments = vec![verb, release, &chart, "-n", SYSTEM, "-f", &profile, "--set", &images];
    if verb == "install" {
        arguments.push("--create-namespace");
    }
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let told = run("helm", &arguments, "")?;
    let now = run("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"], "")?;
    now.trim().clone_into(&mut SINCE.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(told)
}

/// Uninstalls it.
///
/// # Errors
/// What helm says.
pub(crate) fn uninstall() -> Result<String, String> {
    INSTALLED.store(false, Ordering::SeqCst);
    run("helm", &["uninstall", RELEASE, "-n", SYSTEM, "--wait"], "")
}

/// Takes away what the tests share.
pub(crate) fn leave() {
    let mut left = vec![];
    if INSTALLED.load(Ordering::SeqCst) {
        left.extend(uninstall().err());
    }
    if shop::close() {
        left.extend(kubectl(&["delete", "namespace", shop::NAMESPACE, "--wait=false"]).err());
    }
    for error in left {
        eprintln!("something stays: {error}");
    }
}
