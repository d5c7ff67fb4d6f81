//! Pure. Compares Deployments, StatefulSets, Jobs and Pods with the existing pods: which pods must be created or
//! removed, and the objects' `status`. It plans one step at a time. The next step is planned after each change and at
//! the time that this step names.

pub mod deployment;
pub mod job;
pub mod stateful;

pub mod account;
pub mod member;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::kubelet::name;
use crate::kubelet::workload::job::{Record, Records};
use crate::kubelet::workload::member::{Change, ExistingPod, Owner, Workload, remove};
use crate::manifest::object::Key;

/// The changes of one step.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods to create and to remove, objects to delete.
    pub changes: Vec<Change>,
    /// The workloads whose pods cannot be created, with the message of the event.
    pub forbidden: BTreeMap<Key, String>,
    /// The records of all Jobs after this step.
    pub jobs: Records,
    /// When to plan again if nothing changes before.
    pub again: Option<OffsetDateTime>,
}

/// The changes that are possible at the time `now`. `random` yields the random letters of pods' names.
pub fn plan(
    objects: &BTreeMap<Key, Value>,
    jobs: &Records,
    pods: &[ExistingPod],
    now: OffsetDateTime,
    random: &mut dyn FnMut() -> u64,
) -> Plan {
    let mut plan = Plan::default();
    for (key, object) in objects {
        let workload = Workload { key, object, own: own(key, object, pods), now };
        let before = plan.changes.len();
        match key.kind.as_str() {
            "Pod" => single(&workload, &mut plan.changes),
            "Deployment" => plan.changes.extend(deployment::changes(&workload, random)),
            "StatefulSet" => plan.changes.extend(stateful::changes(&workload)),
            "Job" => {
                let step = job::step(&workload, jobs.get(key).unwrap_or(&Record::default()), random);
                plan.changes.extend(step.changes);
                plan.jobs.insert(key.clone(), step.record);
                plan.again = earlier(plan.again, step.again);
            }
            _ => continue,
        }
        plan.again = earlier(plan.again, workload.next_available());
        if let Some(account) = account::needed(objects, key, object) {
            let planned = plan.changes.split_off(before);
            for change in planned {
                match change {
                    Change::Create { pod, .. } if key.kind != "Pod" => {
                        let message = || account::failed(key, &pod, account);
                        plan.forbidden.entry(key.clone()).or_insert_with(message);
                    }
                    Change::Create { .. } => {}
                    other => plan.changes.push(other),
                }
            }
        }
    }
    let owners: BTreeSet<(&str, Owner)> =
        objects.iter().map(|(key, object)| (key.namespace.as_str(), Owner::of(object))).collect();
    let owned = |pod: &ExistingPod| owners.contains(&(pod.namespace.as_str(), pod.owner.clone()));
    plan.changes.extend(pods.iter().filter(|pod| !pod.leaving && !owned(pod)).map(remove));
    plan
}

/// The `status` of a workload; `None` for other kinds. `objects` contains everything that its pods need.
pub fn status(
    (key, object): (&Key, &Value),
    objects: &BTreeMap<Key, Value>,
    jobs: &Records,
    pods: &[ExistingPod],
    now: OffsetDateTime,
) -> Option<Value> {
    let workload = Workload { key, object, own: own(key, object, pods), now };
    match key.kind.as_str() {
        "Deployment" => Some(deployment::status(&workload, account::needed(objects, key, object))),
        "StatefulSet" => Some(stateful::status(&workload)),
        "Job" => Some(job::status(&workload, jobs.get(key).unwrap_or(&Record::default()))),
        _ => None,
    }
}

fn own<'a>(key: &Key, object: &Value, pods: &'a [ExistingPod]) -> Vec<&'a ExistingPod> {
    let owner = Owner::of(object);
    pods.iter().filter(|pod| pod.namespace == key.namespace && pod.owner == owner).collect()
}

fn earlier(one: Option<OffsetDateTime>, other: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
    one.into_iter().chain(other).min()
}

/// Plans a pod that the user defined without a workload.
fn single(workload: &Workload<'_>, changes: &mut Vec<Change>) {
    let object = workload.object;
    let revision = name::template_hash(&json!({"metadata": object["metadata"], "spec": object["spec"]}));
    match workload.own.first() {
        None => {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": object["metadata"], "spec": object["spec"]});
            changes.push(Change::Create { pod, owner: Owner::of(object), revision });
        }
        Some(pod) if pod.revision != revision && !pod.leaving => changes.push(remove(pod)),
        Some(_) => {}
    }
}
