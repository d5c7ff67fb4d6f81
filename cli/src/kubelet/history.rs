//! Pure. Earlier templates of a workload, for `rollout history` and `rollout undo`. They stand for a Deployment's old
//! ReplicaSets and a StatefulSet's ControllerRevisions on Kubernetes.

use serde_json::Value;

use crate::manifest::object::text;
use crate::wire::Revision;

/// Records the template of a created or changed object. An earlier template that returns moves to the end and gets a
/// new number, like an old ReplicaSet. Beyond `revisionHistoryLimit`, the oldest is dropped.
pub fn note(revisions: &mut Vec<Revision>, object: &Value) {
    let template = &object["spec"]["template"];
    let cause = text(object, "/metadata/annotations/kubernetes.io~1change-cause").to_string();
    let number = revisions.last().map_or(0, |last| last.number) + 1;
    match revisions.iter().position(|known| known.template == *template) {
        Some(index) if index + 1 == revisions.len() => revisions[index].cause = cause,
        known => {
            if let Some(index) = known {
                revisions.remove(index);
            }
            revisions.push(Revision { number, template: template.clone(), cause });
        }
    }
    let limit = object.pointer("/spec/revisionHistoryLimit").and_then(Value::as_u64).unwrap_or(USUAL);
    let kept = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    revisions.drain(..revisions.len().saturating_sub(kept));
}

/// Whether objects of this kind have a history.
pub fn has_one(kind: &str) -> bool {
    matches!(kind, "Deployment" | "StatefulSet")
}

/// Kubernetes' default of `revisionHistoryLimit`.
const USUAL: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn numbers(revisions: &[Revision]) -> Vec<(u64, i64)> {
        revisions.iter().map(|one| (one.number, one.template["v"].as_i64().unwrap())).collect()
    }

    #[test]
    fn an_earlier_template_gets_the_latest_revision_number() {
        let mut revisions = Vec::new();
        let of = |version: i64| json!({"spec": {"template": {"v": version}, "revisionHistoryLimit": 2}});
        for version in [1, 1, 2, 1] {
            note(&mut revisions, &of(version));
        }
        assert_eq!(numbers(&revisions), [(2, 2), (3, 1)]);
        for version in [3, 4] {
            note(&mut revisions, &of(version));
        }
        assert_eq!(numbers(&revisions), [(3, 1), (4, 3), (5, 4)], "the latest and two before it");
    }
}
