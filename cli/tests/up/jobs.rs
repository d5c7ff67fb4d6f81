//! Tests of Jobs, from their YAML to their end, with the output of `ostria get`.

use serde_json::Value;

use crate::harness::{Mesh, SLEEP, deployment, pod, until};

const JOBS: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: broken}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: OnFailure
      initContainers:
      - {name: first, command: [sh, -c, 'exit 3']}
      containers:
      - {name: app, command: [sh, -c, 'echo never']}
---
apiVersion: batch/v1
kind: Job
metadata: {name: shared}
spec:
  completionMode: Indexed
  completions: 2
  parallelism: 2
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, command: [sh, -c, 'echo index $JOB_COMPLETION_INDEX']}
";

#[test]
fn a_job_ends_with_the_result_of_its_pods() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let applied = mesh.apply(JOBS);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let job = |name: &str| -> Value {
        serde_json::from_str(&mesh.ok(&["get", "jobs", name, "-o", "json"])).unwrap()
    };
    let condition = |job: &Value, kind: &str| {
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|one| one["type"] == kind && one["status"] == "True")
    };
    until("the indexed Job completes", || condition(&job("shared"), "Complete").is_some());
    let shared = job("shared");
    assert_eq!(shared["status"]["succeeded"], 2, "{shared}");
    assert_eq!(shared["status"]["completedIndexes"], "0,1", "{shared}");
    until("the Job whose init container fails is failed", || condition(&job("broken"), "Failed").is_some());
    let broken = job("broken");
    assert_eq!(condition(&broken, "Failed").unwrap()["reason"], "BackoffLimitExceeded", "{broken}");
    assert!(condition(&broken, "Complete").is_none(), "{broken}");
    let table = mesh.ok(&["get", "jobs"]);
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    assert!(row("shared").contains("2/2") && row("broken").contains("0/1"), "{table}");
}

#[test]
fn a_workload_without_its_service_account_has_an_event_and_gets_its_pods_later() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let workload = deployment(1, "v1").replace("name: web}\nspec", "name: shop}\nspec").replace(
        "      terminationGracePeriodSeconds",
        "      serviceAccountName: keeper\n      terminationGracePeriodSeconds",
    );
    let applied = mesh.apply(&workload);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let reason =
        "is forbidden: error looking up service account default/keeper: serviceaccount \"keeper\" not found";
    until("the event", || mesh.ok(&["events"]).contains("FailedCreate"));
    for shown in [mesh.ok(&["get", "events"]), mesh.ok(&["describe", "deployment", "shop"])] {
        let row = shown.lines().find(|line| line.contains("Error creating: pods \"shop-"));
        assert!(row.is_some_and(|row| row.contains("FailedCreate") && row.contains(reason)), "{shown}");
    }
    assert!(mesh.ok(&["get", "deployment", "shop"]).contains("0/1"));
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: keeper}\n";
    assert!(mesh.apply(account).status.success());
    until("the pod", || mesh.ok(&["get", "deployment", "shop"]).contains("1/1"));
    let events = mesh.ok(&["describe", "deployment", "shop"]);
    assert!(events.contains("SuccessfulCreate"), "{events}");
}
