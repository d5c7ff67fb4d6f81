//! Processes of the mesh that are killed under load, as the kernel does when memory is short.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::wait;

use crate::cluster::{self, CHANGE, START, kubectl, must, pods, scale, until_settled};
use crate::mesh::{CONTROL, SYSTEM};
use crate::shop::{self, NAMESPACE, Until};

/// Without the control plane no request is lost. A killed proxy takes the requests that it had with it, and no more.
pub(crate) fn killed_parts() {
    shop::open();
    let customers = shop::customers("crash", Until::Stopped);
    for deployment in CONTROL {
        let label = format!("app={deployment}");
        killed(SYSTEM, &label, deployment.trim_start_matches("ostria-"));
        wait::pause(CHANGE / 10);
        until_settled(SYSTEM);
    }
    shop::all_served(customers);
    proxies();
}

/// A killed sidecar of one of two replicas takes the requests that it had with it, and no more. New connections to a killed
/// gateway are refused until it runs again.
fn proxies() {
    scale(NAMESPACE, "details-v1", 2);
    let customers = shop::customers("proxies", Until::Stopped);
    killed(NAMESPACE, "app=details", "istio-proxy");
    until_settled(NAMESPACE);
    killed(SYSTEM, "app=istio-ingressgateway", "istio-proxy");
    until_settled(SYSTEM);
    drop(shop::visit());
    for load in customers {
        let most = if load.name().ends_with("inside") {
            shop::CLIENTS
        } else {
            2 * shop::CLIENTS + GATEWAY_AWAY * shop::rate()
        };
        let name = load.name().to_owned();
        let report = load.stop();
        eprintln!("{name}: {} requests, {} failed: {:?}", report.requests, report.failed, report.errors);
        assert!(report.failed <= most, "more than {most} failed: {report:#?}");
    }
    scale(NAMESPACE, "details-v1", 1);
    shop::all_served(shop::customers("after", Until::Pages(400)));
}

/// Kills the process of a container and waits until it runs again. Where its process can't be killed from here, deletes its
/// pod without notice.
fn killed(namespace: &str, label: &str, container: &str) {
    let pod = pods(namespace, label).into_iter().next().unwrap_or_else(|| panic!("no pod {label}"));
    let name = cluster::name(&pod);
    let (id, restarts) =
        status(&pod, container).unwrap_or_else(|| panic!("{name} has no {container}: {pod}"));
    if !kill_process_of(&id) {
        eprintln!("{name} is deleted: the process of {container} can't be killed from here");
        must(&["-n", namespace, "delete", "pod", &name, "--grace-period=0", "--force"]);
        return;
    }
    wait::until(&format!("{container} of {name} runs again"), START, || {
        let text = kubectl(&["-n", namespace, "get", "pod", &name, "-o", "json"])?;
        let pod: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match status(&pod, container) {
            Some((_, now)) if now > restarts && cluster::has_condition(&pod, "Ready", "True") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// A container's id at its runtime, and how often it was restarted.
fn status(pod: &Value, container: &str) -> Option<(String, u64)> {
    let of = |field: &str| pod["status"][field].as_array().cloned().unwrap_or_default();
    let all = of("containerStatuses").into_iter().chain(of("initContainerStatuses"));
    let own = all.into_iter().find(|status| status["name"] == container)?;
    // containerd://ID
    let id = own["containerID"].as_str()?.rsplit('/').next()?.to_owned();
    Some((id, own["restartCount"].as_u64()?))
}

/// Seconds in which a gateway starts again.
const GATEWAY_AWAY: u64 = 5;

/// Kills the processes of a container of this machine; false if there is none, or if that is not allowed.
fn kill_process_of(container: &str) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = ids.filter(|id| {
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|text| text.contains(container))
    });
    let killed: Vec<bool> = own.map(|id| kill(Pid::from_raw(id), Signal::SIGKILL).is_ok()).collect();
    !killed.is_empty() && killed.iter().all(|is_killed| *is_killed)
}
