//! Pure. Deployments: pods of the current template are created before older pods are removed, within the limits of
//! `rollingUpdate`. Also writes `status` with the conditions `Available` and `Progressing`.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::kubelet::name;
use crate::kubelet::workload::account;
use crate::kubelet::workload::member::{
    Change, ExistingPod, Workload, condition, controlled_by, generated_from, remove, without_zeros,
};
use crate::manifest::object::text;

/// The changes that are possible at this moment.
pub fn changes(workload: &Workload<'_>, random: &mut dyn FnMut() -> u64) -> Vec<Change> {
    let mut changes = Vec::new();
    let wanted = workload.replicas();
    let revision = workload.revision();
    let (fresh, stale): (Vec<&ExistingPod>, Vec<&ExistingPod>) =
        workload.own.iter().copied().filter(|pod| !pod.leaving).partition(|pod| pod.revision == revision);
    let recreate = text(workload.object, "/spec/strategy/type") == "Recreate";
    let bounds = Bounds::of(workload.object, wanted);
    let room = if recreate {
        let others =
            stale.len() + workload.own.iter().filter(|pod| pod.leaving && pod.revision != revision).count();
        if others == 0 { wanted } else { fresh.len() }
    } else {
        (wanted + bounds.surge).saturating_sub(stale.len())
    };
    for _ in fresh.len()..wanted.min(room) {
        changes.push(create(workload, &revision, random()));
    }
    let available = fresh.iter().filter(|pod| workload.is_available(pod)).count();
    let mut old = stale;
    old.sort_by_key(|pod| pod.ready);
    let available_old = old.iter().filter(|pod| workload.is_available(pod)).count();
    let spare = if recreate {
        old.len()
    } else {
        let kept = wanted.saturating_sub(bounds.unavailable);
        (old.len() - available_old) + (available + available_old).saturating_sub(kept).min(available_old)
    };
    changes.extend(old.into_iter().take(spare).map(remove));
    let mut surplus = fresh;
    surplus.sort_by_key(|pod| pod.ready);
    let many = surplus.len().saturating_sub(wanted);
    changes.extend(surplus.into_iter().take(many).map(remove));
    changes
}

fn create(workload: &Workload<'_>, revision: &str, random: u64) -> Change {
    let set = format!("{}-{revision}", workload.key.name);
    workload.create(&format!("{set}-{}", name::suffix(random)), revision, |pod| {
        pod["metadata"]["labels"]["pod-template-hash"] = json!(revision);
        controlled_by(pod, "apps/v1", "ReplicaSet", &set);
        generated_from(pod);
    })
}

/// Limits of a rolling update, in numbers of pods.
struct Bounds {
    /// Maximum number of pods above the wanted number.
    surge: usize,
    /// Maximum number of available pods below the wanted number.
    unavailable: usize,
}

impl Bounds {
    /// The limits, rounded as in Kubernetes: `maxSurge` up, `maxUnavailable` down. The defaults are a quarter for
    /// `maxSurge` and zero for `maxUnavailable`, which is stricter than Kubernetes' defaults but allowed by them.
    fn of(object: &Value, wanted: usize) -> Self {
        let given = |field: &str| object.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let surge = given("maxSurge").and_then(|value| share(value, wanted, true));
        let unavailable = given("maxUnavailable").and_then(|value| share(value, wanted, false)).unwrap_or(0);
        let surge = surge.unwrap_or_else(|| wanted.div_ceil(4));
        // If both were zero, the update could not proceed.
        Self { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } }
    }
}

/// A number, or a percentage of `whole`.
fn share(value: &Value, whole: usize, up: bool) -> Option<usize> {
    if let Some(number) = value.as_u64() {
        return Some(number as usize);
    }
    let percent: usize = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let parts = percent.checked_mul(whole)?;
    Some(if up { parts.div_ceil(100) } else { parts / 100 })
}

/// The object's `status`. `missing_account` is the account without which its pods cannot be created.
pub fn status(workload: &Workload<'_>, missing_account: Option<&str>) -> Value {
    let wanted = workload.replicas();
    let revision = workload.revision();
    let own: Vec<&ExistingPod> = workload.own.iter().copied().filter(|pod| !pod.leaving).collect();
    let updated = own.iter().filter(|pod| pod.revision == revision).count();
    let ready = own.iter().filter(|pod| pod.ready).count();
    let available = own.iter().filter(|pod| workload.is_available(pod)).count();
    let missing = workload
        .object
        .pointer("/spec/strategy/rollingUpdate/maxUnavailable")
        .map_or_else(|| Some(wanted / 4), |value| share(value, wanted, false))
        .unwrap_or(0);
    let since = last_change(workload);
    let enough = available + missing >= wanted;
    let done = updated == wanted && own.len() == wanted && available == wanted;
    let available_condition = if enough {
        condition(
            "Available",
            true,
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            since,
        )
    } else {
        condition(
            "Available",
            false,
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            since,
        )
    };
    let failure = missing_account.map(|account| {
        let pod = format!("{}-{revision}-", workload.key.name);
        let message = account::reason(&pod, &workload.key.namespace, account);
        condition("ReplicaFailure", true, "FailedCreate", &message, since)
    });
    let conditions = [Some(available_condition), Some(progress(workload, &revision, done, since)), failure];
    let conditions: Vec<Value> = conditions.into_iter().flatten().collect();
    without_zeros(json!({
        "observedGeneration": workload.count("/metadata/generation"),
        "replicas": own.len(),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": own.len().max(wanted) - available.min(own.len().max(wanted)),
        "conditions": conditions,
    }))
}

fn progress(workload: &Workload<'_>, revision: &str, done: bool, since: OffsetDateTime) -> Value {
    let set = format!("{}-{revision}", workload.key.name);
    let limit = Duration::from_secs(workload.count("/spec/progressDeadlineSeconds").unwrap_or(600));
    if done {
        let message = format!("ReplicaSet \"{set}\" has successfully progressed.");
        condition("Progressing", true, "NewReplicaSetAvailable", &message, since)
    } else if workload.now >= since + limit {
        let message = format!("ReplicaSet \"{set}\" has timed out progressing.");
        condition("Progressing", false, "ProgressDeadlineExceeded", &message, since + limit)
    } else {
        condition(
            "Progressing",
            true,
            "ReplicaSetUpdated",
            &format!("ReplicaSet \"{set}\" is progressing."),
            since,
        )
    }
}

/// Time of the last change: a pod was created, or its readiness changed.
fn last_change(workload: &Workload<'_>) -> OffsetDateTime {
    workload.own.iter().map(|pod| pod.since).max().unwrap_or(workload.now)
}
