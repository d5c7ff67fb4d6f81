//! Pure. The progress and the history of a rollout, in kubectl's words.

use serde_json::{Value, json};

use crate::manifest::object::text;
use crate::view::table;
use crate::wire::Revision;

/// The progress of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// All pods have the latest template and are available.
    Done(String),
    /// The rollout waits for this.
    Waiting(String),
    /// The rollout has failed.
    Failed(String),
}

/// The progress of a Deployment's or StatefulSet's rollout.
pub fn progress(object: &Value) -> Progress {
    let name = text(object, "/metadata/name");
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    if count("/metadata/generation") > count("/status/observedGeneration") {
        return Progress::Waiting(format!("Waiting for {} spec update to be observed...", kind(object)));
    }
    if text(object, "/kind") == "StatefulSet" {
        return stateful(object, name, wanted);
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    if conditions.into_iter().any(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded")
    {
        return Progress::Failed(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let (all, updated, available) =
        (count("/status/replicas"), count("/status/updatedReplicas"), count("/status/availableReplicas"));
    let waiting = |what: String| {
        Progress::Waiting(format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."))
    };
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        waiting(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        Progress::Done(format!("deployment \"{name}\" successfully rolled out"))
    }
}

fn stateful(object: &Value, name: &str, wanted: u64) -> Progress {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Progress::Failed("rollout status is only available for RollingUpdate strategy type".into());
    }
    let (ready, updated) = (count("/status/readyReplicas"), count("/status/updatedReplicas"));
    let partition = count("/spec/updateStrategy/rollingUpdate/partition");
    let due = wanted.saturating_sub(partition);
    if ready < wanted {
        Progress::Waiting(format!("Waiting for {} pods to be ready...", wanted - ready))
    } else if partition > 0 && updated < due {
        Progress::Waiting(format!(
            "Waiting for partitioned roll out to finish: {updated} out of {due} new pods have been updated..."
        ))
    } else if partition == 0 && updated < wanted {
        Progress::Waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods of {wanted}..."
        ))
    } else if partition > 0 {
        Progress::Done(format!("partitioned roll out complete: {updated} new pods have been updated..."))
    } else {
        Progress::Done(format!("statefulset rolling update complete {wanted} pods of {name}..."))
    }
}

/// The table of a workload's revisions.
pub fn history(title: &str, revisions: &[Revision]) -> String {
    let row = |revision: &Revision| {
        let cause = if revision.cause.is_empty() { "<none>" } else { &revision.cause };
        vec![revision.number.to_string(), cause.to_string()]
    };
    let rows: Vec<Vec<String>> = revisions.iter().map(row).collect();
    format!("{title} \n{}\n", table::render(&["REVISION", "CHANGE-CAUSE"], &rows))
}

/// A Deployment or StatefulSet as it was in a revision, as far as the revision tells: the pod template, and the number and
/// cause as annotations. kubectl prints the same of a StatefulSet.
pub fn revision(object: &Value, revision: &Revision) -> Value {
    let metadata = &object["metadata"];
    let mut annotations = json!({NUMBER: revision.number.to_string()});
    if !revision.cause.is_empty() {
        annotations[CAUSE] = json!(revision.cause);
    }
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "annotations": annotations,
        },
        "spec": {"template": revision.template},
    })
}

/// The annotation with the number of a revision.
const NUMBER: &str = "deployment.kubernetes.io/revision";
/// The annotation with the cause of a revision.
pub const CAUSE: &str = "kubernetes.io/change-cause";

fn kind(object: &Value) -> String {
    text(object, "/kind").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_the_object_with_the_template_of_then() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": {"replicas": 3, "template": {"spec": "now"}}, "status": {"replicas": 3}});
        let then = Revision { number: 2, template: json!({"spec": "then"}), cause: "a fix".into() };
        let expected = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {
                "deployment.kubernetes.io/revision": "2", "kubernetes.io/change-cause": "a fix"}},
            "spec": {"template": {"spec": "then"}}});
        assert_eq!(revision(&object, &then), expected);
        let none = revision(&object, &Revision { number: 1, ..Revision::default() });
        assert_eq!(none["metadata"]["annotations"], json!({"deployment.kubernetes.io/revision": "1"}));
    }

    fn said(kind: &str, status: &Value) -> String {
        let object = json!({"kind": kind, "metadata": {"name": "web", "generation": 2},
            "spec": {"replicas": 3}, "status": status});
        match progress(&object) {
            Progress::Done(text) => format!("done: {text}"),
            Progress::Waiting(text) => format!("waiting: {text}"),
            Progress::Failed(text) => format!("failed: {text}"),
        }
    }

    #[test]
    fn a_rollout_is_reported_in_kubectls_words() {
        let deployment = |replicas: u64, updated: u64, available: u64| {
            said(
                "Deployment",
                &json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
                    "availableReplicas": available}),
            )
        };
        let cases = [
            (
                said("Deployment", &json!({"observedGeneration": 1})),
                "waiting: Waiting for deployment spec update",
            ),
            (
                deployment(3, 1, 3),
                "waiting: Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas",
            ),
            (
                deployment(4, 3, 3),
                "waiting: Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending",
            ),
            (
                deployment(3, 3, 2),
                "waiting: Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas",
            ),
            (deployment(3, 3, 3), "done: deployment \"web\" successfully rolled out"),
            (
                said(
                    "Deployment",
                    &json!({"observedGeneration": 2, "conditions": [
                    {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
                ),
                "failed: deployment \"web\" exceeded its progress deadline",
            ),
            (
                said("StatefulSet", &json!({"observedGeneration": 2, "readyReplicas": 2})),
                "waiting: Waiting for 1 pods to be ready",
            ),
            (
                said(
                    "StatefulSet",
                    &json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3}),
                ),
                "done: statefulset rolling update complete 3 pods",
            ),
        ];
        for (text, beginning) in cases {
            assert!(text.starts_with(beginning), "{text}");
        }
    }
}
