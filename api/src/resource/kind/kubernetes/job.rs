//! Pure. `Job`.

use super::pod::{containers, images};
use crate::resource::column::{AGE, Column, at, duration, items, number, pairs, seconds, text};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

const PODS: &str = ".spec.template.spec.containers";

/// `batch/v1` Job.
pub const JOB: Descriptor = Descriptor {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    short: &[],
    categories: &["all"],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::computed("STATUS", |job, _| word(job)),
        Column::computed("COMPLETIONS", |job, _| completions(job)),
        Column::computed("DURATION", took),
        AGE,
        Column::computed("CONTAINERS", |job, _| containers(job, PODS)).wide(),
        Column::computed("IMAGES", |job, _| images(job, PODS)).wide(),
        Column::computed("SELECTOR", |job, _| pairs(job, ".spec.selector.matchLabels")).wide(),
    ],
    schema: None,
};

/// The status of a Job, as kubectl prints it.
fn word(job: &Value) -> String {
    let holds = |kind: &str| {
        items(job, ".status.conditions").any(|one| one["type"] == kind && one["status"] == "True")
    };
    ["Complete", "Failed", "Suspended"].into_iter().find(|kind| holds(kind)).unwrap_or("Running").into()
}

/// Without `completions`, one successful pod of the parallel ones is enough.
fn completions(job: &Value) -> String {
    let wanted = match (at(job, ".spec.completions").as_u64(), number(job, ".spec.parallelism", 1)) {
        (Some(completions), _) => completions.to_string(),
        (None, parallelism) if parallelism > 1 => format!("1 of {parallelism}"),
        (None, _) => "1".into(),
    };
    format!("{}/{wanted}", number(job, ".status.succeeded", 0))
}

fn took(job: &Value, now: i64) -> String {
    let Some(start) = seconds(text(job, ".status.startTime")) else { return String::new() };
    duration(seconds(text(job, ".status.completionTime")).unwrap_or(now) - start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_show_their_status_and_duration() {
        let job = |conditions: Value| json!({"spec": {"completions": 3}, "status": {"succeeded": 1, "conditions": conditions}});
        let both =
            json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]);
        let cases = [
            (json!([]), "Running"),
            (json!([{"type": "Failed", "status": "True"}]), "Failed"),
            (both, "Complete"),
        ];
        for (conditions, expected) in cases {
            assert_eq!(
                (word(&job(conditions.clone())).as_str(), completions(&job(conditions)).as_str()),
                (expected, "1/3")
            );
        }
        assert_eq!(completions(&json!({"spec": {"parallelism": 2}})), "0/1 of 2");
        let mut started = json!({"status": {"startTime": "2026-01-01T00:00:00Z"}});
        assert_eq!(took(&started, 1_767_225_690), "90s");
        started["status"]["completionTime"] = json!("2026-01-01T00:00:05Z");
        assert_eq!((took(&started, 1_767_225_690), took(&json!({}), 0)), ("5s".into(), String::new()));
    }
}
