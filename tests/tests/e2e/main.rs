//! Installs the mesh on a Kubernetes cluster as a user would, and tries it there: applications, mistakes, updates, failures,
//! and the way out.
//!
//! The tests need a cluster (`KUBECONFIG`), `kubectl`, `helm`, and images that the cluster can start, so `make e2e` runs
//! them and `make test` does not. They work in namespaces of their own (`ostria-e2e…`, `echo`) and in `istio-system`, which
//! must hold no mesh. All share one installed mesh and begin in the order of `TESTS`, some of them side by side; each also
//! runs alone. They stop parts of the cluster itself if `E2E_DAEMONS` is a program that does so (`PROGRAM stop NAME SIGNAL`, `PROGRAM start NAME`), and read
//! the API server's audit log if `E2E_AUDIT` is its path.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::turn::{Has, Turn};

mod bookinfo;
mod certificate;
mod crash;
mod crowd;
mod outage;
mod permission;
mod protocol;
mod status;
mod update;
mod vanish;
mod webhook;
mod workload;

mod shop;

mod load;
mod mesh;

mod handshake;
mod ostria;

mod daemon;
mod forward;
mod namespace;
mod turn;

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
}

/// A test: its name, what it needs, what it has for itself, and its function.
type Test = (&'static str, Needs, Has, fn());

/// The tests in their order: from the way in to the way out. The ones that need all others' traces are at the end.
const TESTS: &[Test] = &[
    (
        "helm_install_and_a_label_are_enough_for_bookinfo_over_mutual_tls",
        Needs::Nothing,
        Has::All,
        bookinfo::over_mutual_tls,
    ),
    (
        "every_rule_of_the_readme_of_bookinfo_does_what_it_says",
        Needs::Nothing,
        Has::Shop,
        bookinfo::rules_of_the_readme,
    ),
    (
        "every_protocol_passes_between_pods_of_the_mesh_and_from_outside",
        Needs::Nothing,
        Has::Namespace,
        protocol::every_protocol,
    ),
    ("an_ingress_is_served_and_events_say_what_it_lacks", Needs::Nothing, Has::Shop, status::ingress),
    (
        "stored_objects_of_unsupported_kinds_say_that_they_have_no_effect",
        Needs::Nothing,
        Has::Namespace,
        status::unsupported,
    ),
    (
        "mistakes_are_refused_and_what_worked_goes_on",
        Needs::Nothing,
        Has::Shop,
        webhook::mistakes_are_refused,
    ),
    ("every_kind_of_workload_calls_and_is_called", Needs::Nothing, Has::Namespace, workload::every_kind),
    ("many_pods_at_once_get_their_sidecars", Needs::Nothing, Has::Namespace, crowd::many_pods),
    (
        "a_job_that_is_due_runs_and_ends_beside_its_sidecar",
        Needs::Nothing,
        Has::Namespace,
        workload::scheduled,
    ),
    ("a_namespace_that_is_deleted_under_load_harms_no_other", Needs::Nothing, Has::All, vanish::namespace),
    (
        "a_stored_object_that_would_be_refused_harms_no_other",
        Needs::Nothing,
        Has::All,
        webhook::a_stored_mistake,
    ),
    ("a_webhook_gets_its_certificate_back", Needs::Nothing, Has::All, webhook::certificates_come_back),
    (
        "a_killed_control_plane_loses_no_request_and_leaves_nothing_half_applied",
        Needs::Nothing,
        Has::All,
        crash::control_plane,
    ),
    ("killed_proxies_lose_their_own_requests_and_no_others", Needs::Nothing, Has::All, crash::proxies),
    (
        "rolling_updates_and_moves_between_revisions_lose_no_request",
        Needs::Nothing,
        Has::All,
        update::rolling,
    ),
    (
        "the_root_is_replaced_under_load_and_expired_certificates_are_renewed",
        Needs::Nothing,
        Has::All,
        certificate::replaced,
    ),
    ("an_upgrade_that_restarts_everything_loses_no_request", Needs::Nothing, Has::All, update::upgrade),
    ("kubelet_and_containerd_restart_under_load", Needs::Daemons, Has::All, outage::of_the_node),
    (
        "an_api_server_that_is_away_for_a_minute_stops_no_traffic",
        Needs::Daemons,
        Has::All,
        outage::of_the_api_server,
    ),
    ("no_call_is_denied_and_no_permission_is_unused", Needs::Audit, Has::All, permission::least_privilege),
    ("helm_uninstall_leaves_nothing_in_the_way", Needs::Nothing, Has::All, bookinfo::way_out),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let available = TESTS.iter().enumerate().filter(|(_, (name, needs, ..))| available(name, *needs));
    let trials = available
        .map(|(number, test)| Trial::test(test.0, move || observed(number, test)).with_ignored_flag(true));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    workload::close();
    mesh::leave();
    conclusion.exit_code()
}

/// Whether a test can run here; says so if not.
fn available(name: &str, needs: Needs) -> bool {
    let variable = match needs {
        Needs::Nothing => return true,
        Needs::Daemons => daemon::PROGRAM,
        Needs::Audit => permission::LOG,
    };
    let is_set = std::env::var_os(variable).is_some();
    if !is_set && std::env::var_os("KUBECONFIG").is_some() {
        eprintln!("left out, because {variable} is not set: {name}");
    }
    is_set
}

/// Runs a test. If it fails, prints what an operator would look at.
fn observed(number: usize, (name, _, has, test): &Test) -> Result<(), Failed> {
    let _turn = Turn::take(number, *has);
    eprintln!("{name} begins");
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(*test));
    eprintln!("{name}: {} after {:.0?}", if result.is_ok() { "passed" } else { "failed" }, begin.elapsed());
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        eprintln!("{}", cluster::state(mesh::SYSTEM));
        eprintln!("{}", cluster::state(shop::NAMESPACE));
        Failed::from(text)
    })
}
