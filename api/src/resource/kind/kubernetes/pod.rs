//! Pure. `Pod`, with its status as kubectl prints it.

use crate::resource::column::{AGE, Column, items, listed, or, text};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

/// `v1` Pod.
pub const POD: Descriptor = Descriptor {
    group: "",
    kind: "Pod",
    plural: "pods",
    short: &["po"],
    categories: &["all"],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::computed("READY", |pod, _| ready(pod)),
        Column::computed("STATUS", |pod, _| word(pod)),
        Column::computed("RESTARTS", |pod, _| restarts(pod)),
        AGE,
        Column::computed("IP", |pod, _| or(text(pod, ".status.podIP"), "<none>")).wide(),
        Column::computed("NODE", |pod, _| or(text(pod, ".spec.nodeName"), "<none>")).wide(),
    ],
    schema: None,
};

/// The statuses of all containers, each with whether it is a serving container: an app or a native sidecar.
fn statuses(pod: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let sidecars: Vec<&str> = items(pod, ".spec.initContainers")
        .filter(|container| container["restartPolicy"] == "Always")
        .filter_map(|container| container["name"].as_str())
        .collect();
    let inits = items(pod, ".status.initContainerStatuses")
        .map(move |status| (status, status["name"].as_str().is_some_and(|name| sidecars.contains(&name))));
    inits.chain(items(pod, ".status.containerStatuses").map(|status| (status, true)))
}

fn ready(pod: &Value) -> String {
    let serving: Vec<&Value> =
        statuses(pod).filter(|(_, serves)| *serves).map(|(status, _)| status).collect();
    format!("{}/{}", serving.iter().filter(|status| status["ready"] == true).count(), serving.len())
}

fn restarts(pod: &Value) -> String {
    statuses(pod).filter_map(|(status, _)| status["restartCount"].as_u64()).sum::<u64>().to_string()
}

fn word(pod: &Value) -> String {
    if !text(pod, ".metadata.deletionTimestamp").is_empty() {
        return "Terminating".into();
    }
    let phase = text(pod, ".status.phase");
    match phase {
        "Succeeded" => return "Completed".into(),
        "Failed" => {
            let reason = text(pod, ".status.reason");
            let failed = || statuses(pod).find_map(|(status, _)| failure(status)).unwrap_or("Error");
            return if reason.is_empty() { failed().into() } else { reason.into() };
        }
        _ if !text(pod, ".status.message").is_empty() => return "Blocked".into(),
        _ => {}
    }
    let trouble = statuses(pod).find_map(|(status, _)| match text(status, ".state.waiting.reason") {
        "" | "PodInitializing" => failure(status),
        reason => Some(reason),
    });
    match trouble {
        Some(reason) if phase == "Pending" => format!("Init:{reason}"),
        Some(reason) => reason.into(),
        None => or(phase, "Pending"),
    }
}

/// Why a container ended, if it failed: `OOMKilled`, or `Error` without a reason.
fn failure(status: &Value) -> Option<&str> {
    let failed = status["state"]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
    let reason = text(status, ".state.terminated.reason");
    failed.then_some(if reason.is_empty() { "Error" } else { reason })
}

/// The names of a pod spec's containers.
pub(super) fn containers(object: &Value, path: &str) -> String {
    listed(items(object, path).filter_map(|container| container["name"].as_str()))
}

/// The images of a pod spec's containers.
pub(super) fn images(object: &Value, path: &str) -> String {
    listed(items(object, path).filter_map(|container| container["image"].as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_of_a_pod_is_the_same_as_in_kubectl() {
        let pod = |status: Value| {
            json!({"spec": {"initContainers": [{"name": "setup"}, {"name": "istio-proxy", "restartPolicy": "Always"}]},
                "status": status})
        };
        let waiting = |name: &str, reason: &str| json!([{"name": name, "ready": false, "restartCount": 2, "state": {"waiting": {"reason": reason}}}]);
        let ended = |code: i32, reason: &str| json!([{"name": "a", "state": {"terminated": {"exitCode": code, "reason": reason}}}]);
        let table = [
            (json!({"phase": "Failed", "containerStatuses": ended(137, "OOMKilled")}), "OOMKilled"),
            (json!({"phase": "Running", "containerStatuses": ended(137, "OOMKilled")}), "OOMKilled"),
            (json!({"phase": "Pending", "initContainerStatuses": ended(137, "OOMKilled")}), "Init:OOMKilled"),
            (json!({"phase": "Failed", "containerStatuses": ended(1, "")}), "Error"),
            (
                json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": ended(137, "Error")}),
                "DeadlineExceeded",
            ),
            (json!({"phase": "Running", "containerStatuses": ended(0, "Completed")}), "Running"),
            (json!({"phase": "Succeeded"}), "Completed"),
            (json!({"phase": "Failed"}), "Error"),
            (json!({"phase": "Pending"}), "Pending"),
            (json!({"phase": "Pending", "message": "no program"}), "Blocked"),
            (json!({"phase": "Pending", "initContainerStatuses": waiting("setup", "Error")}), "Init:Error"),
            (
                json!({"phase": "Running", "containerStatuses": waiting("a", "CrashLoopBackOff")}),
                "CrashLoopBackOff",
            ),
        ];
        for (status, expected) in table {
            assert_eq!(word(&pod(status.clone())), expected, "{status}");
        }
        let running = pod(json!({"phase": "Running", "containerStatuses": waiting("a", "Error"),
            "initContainerStatuses": [{"name": "setup", "ready": true}, {"name": "istio-proxy", "ready": true, "restartCount": 1}]}));
        assert_eq!((ready(&running), restarts(&running)), ("1/2".into(), "3".into()));
    }
}
