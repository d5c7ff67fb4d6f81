//! Pure. StatefulSets: numbered pods, created one after the other. A changed template replaces them one by one, the
//! highest number first.

use serde_json::{Value, json};

use crate::kubelet::workload::member::{Change, ExistingPod, Workload, controlled_by, remove, without_zeros};
use crate::manifest::object::text;

/// The changes that are possible at this moment.
pub fn changes(workload: &Workload<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let revision = workload.revision();
    let parallel = text(workload.object, "/spec/podManagementPolicy") == "Parallel";
    let mut settled = true;
    for number in numbers(workload) {
        match numbered(workload, number) {
            None => {
                changes.push(create(workload, number, &revision));
                settled = false;
            }
            Some(pod) if !workload.is_available(pod) || pod.leaving => settled = false,
            Some(_) => {}
        }
        if !settled && !parallel {
            break;
        }
    }
    let surplus = workload.own.iter().filter(|pod| {
        let number = pod.name.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
        !pod.leaving && number.is_none_or(|number| !numbers(workload).contains(&number))
    });
    changes.extend(surplus.map(|pod| remove(pod)));
    if let Some(pod) = outdated(workload, &revision)
        && (settled || !pod.ready)
    {
        changes.push(remove(pod));
    }
    changes
}

/// The next pod to replace after a change of the template.
fn outdated<'a>(workload: &Workload<'a>, revision: &str) -> Option<&'a ExistingPod> {
    if text(workload.object, "/spec/updateStrategy/type") == "OnDelete" {
        return None;
    }
    let partition = workload.count("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    numbers(workload)
        .rev()
        .filter(|number| *number >= partition)
        .filter_map(|number| numbered(workload, number))
        .find(|pod| pod.revision != revision && !pod.leaving)
}

fn numbers(workload: &Workload<'_>) -> std::ops::Range<u64> {
    let first = workload.count("/spec/ordinals/start").unwrap_or(0);
    first..first + workload.replicas() as u64
}

fn numbered<'a>(workload: &Workload<'a>, number: u64) -> Option<&'a ExistingPod> {
    let name = format!("{}-{number}", workload.key.name);
    workload.own.iter().copied().find(|pod| pod.name == name)
}

fn create(workload: &Workload<'_>, number: u64, revision: &str) -> Change {
    let name = format!("{}-{number}", workload.key.name);
    workload.create(&name, revision, |pod| {
        let labels = &mut pod["metadata"]["labels"];
        labels["controller-revision-hash"] = json!(format!("{}-{revision}", workload.key.name));
        labels["statefulset.kubernetes.io/pod-name"] = json!(name);
        labels["apps.kubernetes.io/pod-index"] = json!(number.to_string());
        controlled_by(pod, "apps/v1", "StatefulSet", &workload.key.name);
        pod["spec"]["hostname"] = json!(name);
        pod["spec"]["subdomain"] = workload.object["spec"]["serviceName"].clone();
    })
}

/// The object's `status`.
pub fn status(workload: &Workload<'_>) -> Value {
    let revision = workload.revision();
    let own: Vec<&ExistingPod> = workload.own.iter().copied().filter(|pod| !pod.leaving).collect();
    let updated = own.iter().filter(|pod| pod.revision == revision).count();
    let old = own.iter().find(|pod| pod.revision != revision).map_or(&revision, |pod| &pod.revision);
    without_zeros(json!({
        "observedGeneration": workload.count("/metadata/generation"),
        "replicas": own.len(),
        "readyReplicas": own.iter().filter(|pod| pod.ready).count(),
        "availableReplicas": own.iter().filter(|pod| workload.is_available(pod)).count(),
        "currentReplicas": if updated == own.len() { own.len() } else { own.len() - updated },
        "updatedReplicas": updated,
        "currentRevision": format!("{}-{old}", workload.key.name),
        "updateRevision": format!("{}-{revision}", workload.key.name),
    }))
}
