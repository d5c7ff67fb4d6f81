//! Installs the mesh on a Kubernetes cluster as a user would, and tries it there: applications, mistakes, updates, failures,
//! and the way out.
//!
//! The tests need a cluster (`KUBECONFIG`), `kubectl`, `helm`, and images that the cluster can start, so `make e2e` runs
//! them and `make test` does not. They work in namespaces of their own (`ostria-e2e…`, `echo`) and in `istio-system`, which
//! must hold no mesh. All share one installed mesh and run in the order of `TESTS`; each also runs alone. They stop parts of
//! the cluster itself if `E2E_DAEMONS` is a program that does so (`PROGRAM stop NAME SIGNAL`, `PROGRAM start NAME`), and read
//! the API server's audit log if `E2E_AUDIT` is its path.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};

mod bookinfo;
mod certificate;
mod crash;
mod crowd;
mod outage;
mod permission;
mod protocol;
mod update;
mod vanish;
mod webhook;
mod workload;

mod shop;

mod load;
mod mesh;

mod daemon;
mod forward;
mod namespace;

mod cluster;

/// What a test needs beside a cluster.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    /// Nothing.
    Nothing,
    /// The program of `E2E_DAEMONS`.
    Daemons,
    /// The file of `E2E_AUDIT`.
    Audit,
    /// Time: how much, says `E2E_REQUESTS`.
    Time,
}

/// The tests in their order: from the way in to the way out. The ones that need all others' traces are at the end.
const TESTS: &[(&str, Needs, fn())] = &[
    (
        "helm_install_and_a_label_are_enough_for_bookinfo_over_mutual_tls",
        Needs::Nothing,
        bookinfo::over_mutual_tls,
    ),
    ("every_rule_of_the_readme_of_bookinfo_does_what_it_says", Needs::Nothing, bookinfo::rules_of_the_readme),
    (
        "every_protocol_passes_between_pods_of_the_mesh_and_from_outside",
        Needs::Nothing,
        protocol::every_protocol,
    ),
    ("every_kind_of_workload_calls_and_is_called", Needs::Nothing, workload::every_kind),
    ("mistakes_are_refused_and_what_worked_goes_on", Needs::Nothing, webhook::mistakes_are_refused),
    ("a_stored_object_that_would_be_refused_harms_no_other", Needs::Nothing, webhook::a_stored_mistake),
    ("a_webhook_gets_its_certificate_back", Needs::Nothing, webhook::certificates_come_back),
    ("many_pods_at_once_get_their_sidecars", Needs::Nothing, crowd::many_pods),
    ("killed_parts_come_back_and_lose_no_request_of_others", Needs::Nothing, crash::killed_parts),
    ("rolling_updates_lose_no_request", Needs::Time, update::rolling),
    ("an_upgrade_that_restarts_everything_loses_no_request", Needs::Nothing, update::upgrade),
    ("a_namespace_that_is_deleted_under_load_harms_no_other", Needs::Nothing, vanish::namespace),
    (
        "expired_certificates_are_renewed_and_the_root_is_replaced_under_load",
        Needs::Time,
        certificate::replaced,
    ),
    ("kubelet_and_containerd_restart_under_load", Needs::Daemons, outage::of_the_node),
    ("an_api_server_that_is_away_for_a_minute_stops_no_traffic", Needs::Daemons, outage::of_the_api_server),
    ("no_call_is_denied_and_no_permission_is_unused", Needs::Audit, permission::least_privilege),
    ("helm_uninstall_leaves_nothing_in_the_way", Needs::Nothing, bookinfo::way_out),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = TESTS
        .iter()
        .filter(|(name, needs, _)| available(name, *needs))
        .map(|(name, _, test)| Trial::test(*name, move || observed(*test)).with_ignored_flag(true));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    mesh::leave();
    conclusion.exit_code()
}

/// Whether a test can run here; says so if not.
fn available(name: &str, needs: Needs) -> bool {
    let variable = match needs {
        Needs::Nothing => return true,
        Needs::Daemons => daemon::PROGRAM,
        Needs::Audit => permission::LOG,
        Needs::Time => update::REQUESTS,
    };
    let is_set = std::env::var_os(variable).is_some();
    if !is_set && std::env::var_os("KUBECONFIG").is_some() {
        eprintln!("left out, because {variable} is not set: {name}");
    }
    is_set
}

/// Runs a test. If it fails, prints what an operator would look at.
fn observed(test: fn()) -> Result<(), Failed> {
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(test));
    eprintln!("after {:.0?}", begin.elapsed());
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        eprintln!("{}", cluster::state(mesh::SYSTEM));
        eprintln!("{}", cluster::state(shop::NAMESPACE));
        Failed::from(text)
    })
}
