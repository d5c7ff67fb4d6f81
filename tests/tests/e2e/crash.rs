//! Processes of the mesh that are killed under load, as the kernel does when memory is short.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::wait;

use crate::cluster::{self, CHANGE, START, applied, kubectl, must, pods, sample, scale, until_settled};
use crate::mesh::{CONTROL, SYSTEM};
use crate::ostria;
use crate::shop::{self, NAMESPACE, Until};

/// Without the control plane no request is lost, and what it was about to distribute is distributed by another pilot.
pub(crate) fn control_plane() {
    shop::open();
    let customers = shop::customers("crash", Until::Stopped);
    for deployment in CONTROL {
        let label = format!("app={deployment}");
        killed(SYSTEM, &label, deployment.trim_start_matches("ostria-"));
        wait::pause(CHANGE / 10);
        until_settled(SYSTEM);
    }
    one_of_two_pilots();
    shop::all_served(customers);
    shop::without_rules();
}

/// One of two pilots is killed while it distributes a change, and then the other. Every proxy gets all of the change from the
/// one that is left.
fn one_of_two_pilots() {
    const PILOT: &str = "ostria-pilot";
    scale(SYSTEM, PILOT, 2);
    let both = pods(SYSTEM, "app=ostria-pilot");
    assert_eq!(both.len(), 2, "{both:?}");
    for (pilot, (file, version)) in both.iter().zip(CHANGES) {
        let connected = wait::until("every proxy is connected", CHANGE, || ostria::in_step(NAMESPACE));
        let own = connected.values().filter(|name| **name == cluster::name(pilot)).count();
        eprintln!("{} of {} proxies are connected to the pilot that is killed", own, connected.len());
        applied(NAMESPACE, &sample(&format!("bookinfo/networking/{file}")));
        let killed = Killed::begin(SYSTEM, pilot, "pilot");
        let (_forward, mut browser) = shop::visit();
        wait::until(&format!("{file} is in force"), CHANGE, || {
            match shop::reviews(&shop::page(&mut browser, &[])?) {
                seen if seen == *version => ostria::in_step(NAMESPACE).map(drop),
                other => Err(other),
            }
        });
        killed.until_it_runs_again();
    }
    scale(SYSTEM, PILOT, 1);
}

/// Files of the sample's networking folder, each with the version of reviews that is seen then.
const CHANGES: &[(&str, &str)] =
    &[("virtual-service-all-v1.yaml", "v1"), ("virtual-service-reviews-jason-v2-v3.yaml", "v3")];

/// A killed sidecar of one of two replicas takes the requests that it had with it, and no more. New connections to a killed
/// gateway are refused until it runs again.
pub(crate) fn proxies() {
    shop::open();
    scale(NAMESPACE, "details-v1", 2);
    let customers = shop::customers("proxies", Until::Stopped);
    killed(NAMESPACE, "app=details", "istio-proxy");
    until_settled(NAMESPACE);
    killed(SYSTEM, "app=istio-ingressgateway", "istio-proxy");
    until_settled(SYSTEM);
    drop(shop::visit());
    for (name, report) in shop::stopped(customers) {
        let most = if name.ends_with("inside") {
            shop::CLIENTS
        } else {
            2 * shop::CLIENTS + GATEWAY_AWAY * shop::rate()
        };
        eprintln!("{name}: {} requests, {} failed: {:?}", report.requests, report.failed, report.errors);
        assert!(report.failed <= most, "more than {most} failed: {report:#?}");
    }
    scale(NAMESPACE, "details-v1", 1);
    shop::goes_on();
}

/// Kills the process of a container of the first pod with a label, and waits until it runs again.
fn killed(namespace: &str, label: &str, container: &str) {
    let pod = pods(namespace, label).into_iter().next().unwrap_or_else(|| panic!("no pod {label}"));
    Killed::begin(namespace, &pod, container).until_it_runs_again();
}

/// A container whose process was killed. Where that can't be done from here, its pod is deleted without notice.
struct Killed {
    namespace: String,
    pod: String,
    container: String,
    /// How often it had been restarted before. `None` if its pod was deleted.
    restarts: Option<u64>,
}

impl Killed {
    fn begin(namespace: &str, pod: &Value, container: &str) -> Self {
        let name = cluster::name(pod);
        let (id, restarts) =
            status(pod, container).unwrap_or_else(|| panic!("{name} has no {container}: {pod}"));
        let is_killed = kill_process_of(&id);
        if !is_killed {
            eprintln!("{name} is deleted: the process of {container} can't be killed from here");
            must(&["-n", namespace, "delete", "pod", &name, "--grace-period=0", "--force"]);
        }
        Self {
            namespace: namespace.to_owned(),
            pod: name,
            container: container.to_owned(),
            restarts: is_killed.then_some(restarts),
        }
    }

    fn until_it_runs_again(self) {
        let Self { namespace, pod, container, restarts: Some(restarts) } = self else {
            return until_settled(&self.namespace);
        };
        wait::until(&format!("{container} of {pod} runs again"), START, || {
            let text = kubectl(&["-n", &namespace, "get", "pod", &pod, "-o", "json"])?;
            let pod: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            match status(&pod, &container) {
                Some((_, now)) if now > restarts && cluster::has_condition(&pod, "Ready", "True") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
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
