//! Pure. Jobs: creates pods until enough have succeeded, too many have failed or the deadline is over. The counts are
//! in a record that outlives the pods. Semantics and defaults of `batch/v1` in Kubernetes 1.34.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::kubelet::name;
use crate::kubelet::workload::member::{
    Change, ExistingPod, Workload, condition, controlled_by, generated_from, remove, without_zeros, written,
};
use crate::manifest::object::text;

/// The progress of a Job, counted from its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Uid of the Job. A Job that was deleted and created again has another uid and starts with an empty record.
    pub job: String,
    /// Start time; `None` while the Job is suspended.
    pub started: Option<OffsetDateTime>,
    /// Number of pods that succeeded; for an indexed Job, number of completed indexes.
    pub succeeded: u64,
    /// Number of pods that failed.
    pub failed: u64,
    /// Completed indexes.
    pub indexes: BTreeSet<u64>,
    /// Number of failures since the last success, and the time of the last failure.
    pub streak: Option<(u32, OffsetDateTime)>,
    /// Pods that are already counted or need no counting.
    counted: BTreeSet<String>,
    /// How and when the Job ended.
    pub end: Option<(End, OffsetDateTime)>,
}

/// How a Job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Enough pods succeeded.
    Complete,
    /// More failed pods, or more restarts of containers, than `backoffLimit` allows.
    BackoffLimitExceeded,
    /// It ran for longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
}

impl End {
    /// The condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Complete => "CompletionsReached",
            Self::BackoffLimitExceeded => "BackoffLimitExceeded",
            Self::DeadlineExceeded => "DeadlineExceeded",
        }
    }

    /// The condition's message.
    pub fn message(self) -> &'static str {
        match self {
            Self::Complete => "Reached expected number of succeeded pods",
            Self::BackoffLimitExceeded => "Job has reached the specified backoff limit",
            Self::DeadlineExceeded => "Job was active longer than specified deadline",
        }
    }
}

/// The result of one step.
#[derive(Debug, Default)]
pub struct Step {
    /// Pods to create and to remove.
    pub changes: Vec<Change>,
    /// The record after this step.
    pub record: Record,
    /// When the next step is due if nothing changes before.
    pub again: Option<OffsetDateTime>,
}

/// Computes the next step of a Job.
pub fn step(workload: &Workload<'_>, record: &Record, random: &mut dyn FnMut() -> u64) -> Step {
    let uid = text(workload.object, "/metadata/uid");
    let record =
        if record.job == uid { record.clone() } else { Record { job: uid.into(), ..Record::default() } };
    let mut job = Job { workload, step: Step { record, ..Step::default() } };
    job.count();
    if job.step.record.end.is_none() {
        job.advance(random);
    }
    if let Some((_, at)) = job.step.record.end {
        job.expire(at);
    }
    job.step
}

struct Job<'a> {
    workload: &'a Workload<'a>,
    step: Step,
}

impl Job<'_> {
    /// Counts pods that ended. Each pod is counted once; its name stays in `counted` while the pod exists.
    fn count(&mut self) {
        let record = &mut self.step.record;
        for pod in &self.workload.own {
            let ended = pod.finished.or(pod.leaving.then_some(false));
            let Some(well) =
                ended.filter(|_| record.end.is_none() && record.counted.insert(pod.name.clone()))
            else {
                continue;
            };
            if well {
                match pod.index {
                    Some(index) => _ = record.indexes.insert(index),
                    None => record.succeeded += 1,
                }
                record.streak = None;
            } else {
                record.failed += 1;
                let failures = record.streak.map_or(0, |(failures, _)| failures);
                record.streak = Some((failures + 1, self.workload.now));
            }
        }
        if is_indexed(self.workload.object) {
            record.succeeded = record.indexes.len() as u64;
        }
        let own = &self.workload.own;
        record.counted.retain(|name| own.iter().any(|pod| pod.name == *name));
    }

    fn advance(&mut self, random: &mut dyn FnMut() -> u64) {
        let now = self.workload.now;
        let active = active(self.workload);
        if self.workload.object.pointer("/spec/suspend") == Some(&json!(true)) {
            self.step.record.started = None;
            self.end_pods(&active);
            return;
        }
        let started = *self.step.record.started.get_or_insert(now);
        let deadline = self
            .workload
            .count("/spec/activeDeadlineSeconds")
            .map(|seconds| started + Duration::from_secs(seconds));
        let end = if self.is_past_backoff(&active) {
            Some(End::BackoffLimitExceeded)
        } else if deadline.is_some_and(|deadline| now >= deadline) {
            Some(End::DeadlineExceeded)
        } else {
            self.is_complete(active.len()).then_some(End::Complete)
        };
        if let Some(end) = end {
            if end != End::Complete {
                self.step.record.failed += active.len() as u64;
            }
            self.step.record.end = Some((end, now));
            self.end_pods(&active);
            return;
        }
        self.step.again = deadline;
        self.manage(&active, random);
    }

    fn end_pods(&mut self, pods: &[&ExistingPod]) {
        for pod in pods {
            self.step.record.counted.insert(pod.name.clone());
            self.step.changes.push(remove(pod));
        }
    }

    /// Whether the failures exceed `backoffLimit`. Failed pods count; if containers restart in their pods, their
    /// restarts count too.
    fn is_past_backoff(&self, active: &[&ExistingPod]) -> bool {
        let limit = self.workload.count("/spec/backoffLimit").unwrap_or(6);
        if self.step.record.failed > limit {
            return true;
        }
        let restarts: u64 = active.iter().map(|pod| pod.restarts).sum();
        text(self.workload.object, "/spec/template/spec/restartPolicy") == "OnFailure"
            && restarts >= limit.max(1)
    }

    fn is_complete(&self, active: usize) -> bool {
        let succeeded = self.step.record.succeeded;
        match completions(self.workload) {
            Some(completions) => succeeded >= completions,
            None => succeeded > 0 && active == 0,
        }
    }

    /// Creates missing pods, or removes surplus pods.
    fn manage(&mut self, active: &[&ExistingPod], random: &mut dyn FnMut() -> u64) {
        let parallelism = self.workload.count("/spec/parallelism").unwrap_or(1);
        let succeeded = self.step.record.succeeded;
        let wanted = match completions(self.workload) {
            Some(completions) => parallelism.min(completions.saturating_sub(succeeded)),
            // A work queue: after the first success, the remaining pods end by themselves.
            None if succeeded > 0 => active.len() as u64,
            None => parallelism,
        } as usize;
        if active.len() > wanted {
            self.end_pods(&active[wanted..]);
            return;
        }
        let leaving = self.workload.own.iter().filter(|pod| pod.leaving && pod.finished.is_none()).count();
        let waits_for_end = text(self.workload.object, "/spec/podReplacementPolicy") == "Failed";
        let counted = active.len() + if waits_for_end { leaving } else { 0 };
        let missing = wanted.saturating_sub(counted);
        if missing == 0 {
            return;
        }
        if let Some(until) = self.step.record.streak.map(|(failures, last)| last + back_off(failures))
            && self.workload.now < until
        {
            self.step.again = self.step.again.map_or(Some(until), |again| Some(again.min(until)));
            return;
        }
        for index in self.free_indexes(missing) {
            self.step.changes.push(create(self.workload, index, random()));
        }
    }

    /// The indexes of the pods to create: the lowest that are neither completed nor active. Without indexes, `None` for
    /// each pod.
    fn free_indexes(&self, count: usize) -> Vec<Option<u64>> {
        if !is_indexed(self.workload.object) {
            return vec![None; count];
        }
        let taken: BTreeSet<u64> = active(self.workload).iter().filter_map(|pod| pod.index).collect();
        (0..completions(self.workload).unwrap_or(0))
            .filter(|index| !taken.contains(index) && !self.step.record.indexes.contains(index))
            .map(Some)
            .take(count)
            .collect()
    }

    fn expire(&mut self, ended: OffsetDateTime) {
        if let Some(seconds) = self.workload.count("/spec/ttlSecondsAfterFinished") {
            let due = ended + Duration::from_secs(seconds);
            if self.workload.now >= due {
                self.step.changes.push(Change::Delete(self.workload.key.clone()));
            } else {
                self.step.again = Some(due);
            }
        }
    }
}

/// The delay before a failed pod is replaced: ten seconds, doubling up to ten minutes.
fn back_off(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT)
}

fn active<'a>(workload: &Workload<'a>) -> Vec<&'a ExistingPod> {
    workload.own.iter().copied().filter(|pod| pod.finished.is_none() && !pod.leaving).collect()
}

/// The number of pods that must succeed. `None` if only `parallelism` is set: one success is then enough.
fn completions(workload: &Workload<'_>) -> Option<u64> {
    let given = workload.count("/spec/completions");
    given.or_else(|| workload.count("/spec/parallelism").is_none().then_some(1))
}

/// Whether a Job's pods have indexes.
pub fn is_indexed(object: &Value) -> bool {
    text(object, "/spec/completionMode") == "Indexed"
}

fn create(workload: &Workload<'_>, index: Option<u64>, random: u64) -> Change {
    let job = &workload.key.name;
    let number = index.map(|index| format!("-{index}")).unwrap_or_default();
    workload.create(&format!("{job}{number}-{}", name::suffix(random)), &workload.revision(), |pod| {
        let uid = text(workload.object, "/metadata/uid");
        let labels = &mut pod["metadata"]["labels"];
        for (label, value) in [("job-name", job.as_str()), ("controller-uid", uid)] {
            labels[label] = json!(value);
            labels[format!("batch.kubernetes.io/{label}")] = json!(value);
        }
        controlled_by(pod, "batch/v1", "Job", job);
        generated_from(pod);
        if let Some(index) = index {
            give_index(pod, job, index);
        }
    })
}

/// Adds its index to a pod: label, annotation, host name and `JOB_COMPLETION_INDEX`.
fn give_index(pod: &mut Value, job: &str, index: u64) {
    for place in ["labels", "annotations"] {
        pod["metadata"][place][INDEX] = json!(index.to_string());
    }
    pod["spec"]["hostname"] = json!(name::hostname(&format!("{job}-{index}")));
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let variable = json!({"name": "JOB_COMPLETION_INDEX",
                "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.annotations['{INDEX}']")}}});
            match container["env"].as_array_mut() {
                Some(variables) if variables.iter().any(|given| given["name"] == variable["name"]) => {}
                Some(variables) => variables.push(variable),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

/// The object's `status`.
pub fn status(workload: &Workload<'_>, record: &Record) -> Value {
    let active = active(workload);
    let suspended = workload.object.pointer("/spec/suspend") == Some(&json!(true));
    let mut conditions = Vec::new();
    let mut add = |kind: &str, reason: &str, message: &str, since| {
        let mut condition = condition(kind, true, reason, message, since);
        condition["lastProbeTime"] = condition["lastTransitionTime"].clone();
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastUpdateTime");
        }
        conditions.push(condition);
    };
    match record.end {
        Some((end, at)) => {
            let (first, last) = if end == End::Complete {
                ("SuccessCriteriaMet", "Complete")
            } else {
                ("FailureTarget", "Failed")
            };
            add(first, end.reason(), end.message(), at);
            add(last, end.reason(), end.message(), at);
        }
        None if suspended => add("Suspended", "JobSuspended", "Job suspended", workload.now),
        None => {}
    }
    let complete = record.end.filter(|(end, _)| *end == End::Complete).map(|(_, at)| written(at));
    without_zeros(json!({
        "startTime": record.started.map(written),
        "completionTime": complete,
        "active": active.len(),
        "ready": active.iter().filter(|pod| pod.ready).count(),
        "terminating": workload.own.iter().filter(|pod| pod.leaving && pod.finished.is_none()).count(),
        "succeeded": record.succeeded,
        "failed": record.failed,
        "completedIndexes": ranges(&record.indexes),
        "conditions": if conditions.is_empty() { Value::Null } else { Value::Array(conditions) },
    }))
}

/// Formats numbers as ranges, such as `0,2-4`.
fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let words = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

/// The index of a pod of an indexed Job.
pub fn index(pod: &Value) -> Option<u64> {
    pod["metadata"]["annotations"][INDEX].as_str()?.parse().ok()
}

/// The records of all Jobs, by their keys.
pub type Records = BTreeMap<crate::manifest::object::Key, Record>;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
