//! Pure. Whether the Deployments of a release run as they should, and what keeps them from it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::check::finding::Finding;
use crate::check::owner::{labels_of, name};
use crate::check::selection::matches;

/// The progress of a Deployment's rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// The pods that it should have.
    pub wanted: i32,
    /// Pods of the newest version that serve.
    pub ready: i32,
    /// Whether all of them serve, and no older ones are left.
    pub is_complete: bool,
    /// What a pod waits for, if its status tells.
    pub reason: Option<String>,
}

impl Progress {
    /// The progress as text.
    pub fn text(&self) -> String {
        let Self { name, wanted, ready, .. } = self;
        match &self.reason {
            None => format!("{name}: {ready} of {wanted} ready"),
            Some(reason) => format!("{name}: {ready} of {wanted} ready: {reason}"),
        }
    }
}

/// The progress of a Deployment's rollout. `pods` are those of its namespace.
pub fn progress(deployment: &Deployment, pods: &[Pod]) -> Progress {
    let spec = deployment.spec.as_ref();
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let is_seen = status.observed_generation >= deployment.metadata.generation;
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    let total = status.replicas.unwrap_or(0);
    let is_complete = is_seen && updated >= wanted && available >= wanted && total <= updated;
    let own = |pod: &&Pod| spec.is_some_and(|spec| matches(Some(&spec.selector), &labels_of(&pod.metadata)));
    let reason = (!is_complete).then(|| {
        let of_pods = pods.iter().filter(own).find_map(reason);
        of_pods.or_else(|| {
            let conditions = status.conditions.iter().flatten();
            let mut failures = conditions.filter(|one| one.type_ == "ReplicaFailure" && one.status == "True");
            failures.find_map(|failure| failure.message.clone())
        })
    });
    Progress {
        name: name(&deployment.metadata).to_owned(),
        wanted,
        ready: available.min(updated),
        is_complete,
        reason: reason.flatten().map(|reason| one_line(&reason)),
    }
}

/// The findings about the Deployments of a control plane in a namespace.
pub fn findings(progress: &[Progress], namespace: &str) -> Vec<Finding> {
    progress
        .iter()
        .map(|one| {
            if one.is_complete && one.wanted > 0 {
                return Finding::ok(CHECK, one.text());
            }
            if one.wanted == 0 {
                let next = format!("kubectl -n {namespace} scale deployment/{} --replicas=1", one.name);
                return Finding::error(CHECK, format!("{} is scaled to 0", one.name), next);
            }
            let next = format!(
                "kubectl -n {namespace} describe pods -l app={}; kubectl -n {namespace} logs deployment/{0}",
                one.name
            );
            match one.ready {
                0 => Finding::error(CHECK, one.text(), next),
                _ => Finding::warning(CHECK, one.text(), next),
            }
        })
        .collect()
}

/// What keeps a pod from being ready, unless it only needs more time.
pub fn reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    if let Some(waiting) = containers.clone().find_map(waiting) {
        return Some(waiting);
    }
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions.into_iter().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    unscheduled.and_then(|condition| condition.message.clone())
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !MATTERS_OF_TIME.contains(reason))?;
    let last = || {
        let ended = container.last_state.as_ref()?.terminated.as_ref()?;
        Some(format!("the last run ended with exit code {}", ended.exit_code))
    };
    let detail = last().or_else(|| waiting.message.clone());
    Some(detail.map_or_else(|| reason.to_owned(), |detail| format!("{reason}: {detail}")))
}

fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}

const CHECK: &str = "readiness";
/// Reasons for which every pod waits for a moment.
const MATTERS_OF_TIME: [&str; 2] = ["ContainerCreating", "PodInitializing"];
const LONGEST: usize = 200;

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read best as values")]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use serde_json::{Value, json};

    fn deployment(status: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "ostria-pilot", "generation": 2},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "ostria-pilot"}}, "template": {}},
            "status": status,
        }))
        .unwrap()
    }

    fn pod(labels: Value, status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"labels": labels}, "status": status})).unwrap()
    }

    #[test]
    fn a_deployment_is_complete_when_all_its_pods_are_of_the_newest_version() {
        let status = |generation: i64, replicas: i32, updated: i32, available: i32| {
            json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": updated,
                   "availableReplicas": available})
        };
        let table = [
            (status(2, 2, 2, 2), true, 2),
            (status(1, 2, 2, 2), false, 2),
            (status(2, 3, 2, 2), false, 2),
            (status(2, 2, 1, 2), false, 1),
            (status(2, 2, 2, 1), false, 1),
            (json!({}), false, 0),
        ];
        for (given, complete, ready) in table {
            let progress = progress(&deployment(given.clone()), &[]);
            assert_eq!((progress.is_complete, progress.ready), (complete, ready), "{given}");
        }
    }

    #[test]
    fn the_reason_comes_from_the_deployments_own_pods() {
        let waiting = |reason: &str, message: &str| {
            json!({"containerStatuses": [{"name": "pilot", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]})
        };
        let own = json!({"app": "ostria-pilot"});
        let unscheduled = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available:\n  1 Insufficient cpu."},
        ]});
        let table = [
            (vec![pod(own.clone(), waiting("ContainerCreating", ""))], None),
            (
                vec![
                    pod(json!({"app": "other"}), waiting("ImagePullBackOff", "other")),
                    pod(own.clone(), waiting("ErrImageNeverPull", "the image is absent")),
                ],
                Some("ErrImageNeverPull: the image is absent"),
            ),
            (vec![pod(own, unscheduled)], Some("0/1 nodes are available: 1 Insufficient cpu.")),
        ];
        for (pods, expected) in table {
            assert_eq!(progress(&deployment(json!({})), &pods).reason.as_deref(), expected);
        }
        let refused = json!({"conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: violates PodSecurity"},
        ]});
        assert_eq!(
            progress(&deployment(refused), &[]).reason.as_deref(),
            Some("pods is forbidden: violates PodSecurity")
        );
    }

    #[test]
    fn no_ready_pod_is_an_error_and_some_are_a_warning() {
        let one = |wanted, ready, is_complete| Progress {
            name: "a".into(),
            wanted,
            ready,
            is_complete,
            reason: None,
        };
        let table = [
            (one(2, 2, true), Level::Ok),
            (one(2, 1, false), Level::Warning),
            (one(2, 0, false), Level::Error),
            (one(0, 0, true), Level::Error),
        ];
        for (progress, expected) in table {
            assert_eq!(findings(&[progress], "mesh")[0].level, expected);
        }
    }
}
