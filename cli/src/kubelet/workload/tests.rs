//! Tests of the controllers, step by step.

use super::*;
use crate::kubelet::workload::job::End;
use crate::manifest::object::text;
use std::time::Duration;

fn workload(kind: &str, spec: &Value) -> BTreeMap<Key, Value> {
    let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let object = json!({"apiVersion": group, "kind": kind, "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
    BTreeMap::from([(Key::of(&object), object)])
}

const NOON: OffsetDateTime = time::macros::datetime!(2026-01-01 12:00 UTC);

fn existing_pod(name: &str, owner: Owner, revision: &str) -> ExistingPod {
    ExistingPod {
        namespace: "default".into(),
        name: name.into(),
        owner,
        revision: revision.into(),
        ready: false,
        since: NOON,
        finished: None,
        leaving: false,
        restarts: 0,
        index: None,
    }
}

fn changes(
    objects: &BTreeMap<Key, Value>,
    pods: &[ExistingPod],
    random: &mut dyn FnMut() -> u64,
) -> Vec<Change> {
    plan(objects, &Records::default(), pods, NOON, random).changes
}

/// Applies changes until there are none. Created pods are ready at once. Returns the number of ready pods after each
/// step.
fn settle(objects: &BTreeMap<Key, Value>, pods: &mut Vec<ExistingPod>) -> Vec<usize> {
    let mut random = pods.len() as u64 * 1000;
    let mut ready = Vec::new();
    for _ in 0..50 {
        let next = changes(objects, pods, &mut || {
            random += 1;
            random
        });
        if next.is_empty() {
            return ready;
        }
        for change in next {
            match change {
                Change::Remove { name, .. } => pods.retain(|pod| pod.name != name),
                Change::Create { pod, owner, revision } => {
                    pods.push(existing_pod(text(&pod, "/metadata/name"), owner, &revision));
                }
                Change::Delete(key) => panic!("{key} has no time limit"),
            }
        }
        ready.push(pods.iter().filter(|pod| pod.ready).count());
        for pod in pods.iter_mut() {
            pod.ready = true;
        }
    }
    panic!("does not settle");
}

fn template(text: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": text}]}})
}

#[test]
fn a_rolling_update_never_has_fewer_ready_pods_than_required() {
    let mut pods = Vec::new();
    settle(&workload("Deployment", &json!({"replicas": 3, "template": template("a")})), &mut pods);
    assert_eq!(pods.len(), 3);
    let before = pods.clone();
    let ready =
        settle(&workload("Deployment", &json!({"replicas": 3, "template": template("b")})), &mut pods);
    assert!(ready.iter().all(|ready| *ready >= 3), "{ready:?}");
    assert_eq!(pods.len(), 3);
    assert!(pods.iter().all(|pod| pod.revision != before[0].revision));
}

#[test]
fn deployments_scale_down_to_zero_and_orphans_are_removed() {
    let mut pods = Vec::new();
    settle(&workload("Deployment", &json!({"replicas": 2, "template": template("a")})), &mut pods);
    settle(&workload("Deployment", &json!({"replicas": 1, "template": template("a")})), &mut pods);
    assert_eq!(pods.len(), 1);
    settle(&BTreeMap::new(), &mut pods);
    assert!(pods.is_empty());
}

#[test]
fn a_pod_of_a_deployment_belongs_to_a_replica_set() {
    let objects = workload("Deployment", &json!({"template": template("a")}));
    let made = changes(&objects, &[], &mut || 7);
    let Change::Create { pod, .. } = &made[0] else { panic!("{made:?}") };
    let hash = text(pod, "/metadata/labels/pod-template-hash");
    assert_eq!(text(pod, "/metadata/ownerReferences/0/name"), format!("web-{hash}"));
    assert!(text(pod, "/metadata/name").starts_with(&format!("web-{hash}-")));
    assert_eq!(text(pod, "/metadata/generateName"), format!("web-{hash}-"));
}

#[test]
fn a_recreated_deployment_ends_its_pods_first() {
    let spec =
        |name: &str| json!({"replicas": 2, "strategy": {"type": "Recreate"}, "template": template(name)});
    let mut pods = Vec::new();
    settle(&workload("Deployment", &spec("a")), &mut pods);
    let next = changes(&workload("Deployment", &spec("b")), &pods, &mut || 1);
    assert!(next.iter().all(|change| matches!(change, Change::Remove { .. })), "{next:?}");
}

#[test]
fn stateful_pods_have_numbers_and_come_in_order() {
    let spec = |name: &str| json!({"replicas": 2, "serviceName": "db", "template": template(name)});
    let first = changes(&workload("StatefulSet", &spec("a")), &[], &mut || 1);
    assert_eq!(first.len(), 1);
    let Change::Create { pod, .. } = &first[0] else { panic!() };
    assert_eq!((text(pod, "/metadata/name"), text(pod, "/spec/subdomain")), ("web-0", "db"));
    let mut pods = Vec::new();
    settle(&workload("StatefulSet", &spec("a")), &mut pods);
    assert_eq!(pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-0", "web-1"]);
    let next = changes(&workload("StatefulSet", &spec("b")), &pods, &mut || 1);
    assert_eq!(next, [Change::Remove { namespace: "default".into(), name: "web-1".into() }]);
    settle(&workload("StatefulSet", &spec("b")), &mut pods);
    assert_eq!(pods.len(), 2);
}

#[test]
fn a_rolling_change_keeps_within_its_bounds() {
    let spec = |name: &str, surge: &Value, unavailable: &Value| {
        json!({"replicas": 4, "template": template(name),
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
    };
    let cases = [
        (json!(0), json!(1), 4, 3),
        (json!("50%"), json!(0), 6, 4),
        (json!(1), json!("30%"), 5, 3),
        (json!(0), json!("10%"), 4, 3),
    ];
    for (surge, unavailable, most, least) in cases {
        let mut pods = Vec::new();
        settle(&workload("Deployment", &spec("a", &surge, &unavailable)), &mut pods);
        let objects = workload("Deployment", &spec("b", &surge, &unavailable));
        let mut random = 0;
        for _ in 0..20 {
            let next = changes(&objects, &pods, &mut || {
                random += 1;
                random
            });
            for change in next {
                match change {
                    Change::Remove { name, .. } => pods.retain(|pod| pod.name != name),
                    Change::Create { pod, owner, revision } => {
                        pods.push(existing_pod(text(&pod, "/metadata/name"), owner, &revision));
                    }
                    Change::Delete(_) => unreachable!("a Deployment has no time limit"),
                }
            }
            assert!(pods.len() <= most, "{surge} {unavailable}: {} pods", pods.len());
            let ready = pods.iter().filter(|pod| pod.ready).count();
            assert!(ready >= least, "{surge} {unavailable}: {ready} ready");
            for pod in &mut pods {
                pod.ready = true;
            }
        }
        assert!(pods.iter().all(|pod| pod.revision == pods[0].revision), "{surge} {unavailable}");
    }
}

#[test]
fn a_pod_is_available_after_min_ready_seconds() {
    let objects =
        workload("StatefulSet", &json!({"replicas": 2, "minReadySeconds": 5, "template": template("a")}));
    let (_, object) = objects.first_key_value().unwrap();
    let mut first =
        existing_pod("web-0", Owner::of(object), &name::template_hash(&object["spec"]["template"]));
    first.ready = true;
    let at = |seconds| {
        plan(
            &objects,
            &Records::default(),
            std::slice::from_ref(&first),
            NOON + Duration::from_secs(seconds),
            &mut || 1,
        )
    };
    assert!(at(4).changes.is_empty());
    assert_eq!(at(4).again, Some(NOON + Duration::from_secs(5)));
    assert_eq!(at(5).changes.len(), 1);
}

#[test]
fn a_stateful_set_starts_at_its_first_ordinal_and_changes_down_to_its_partition() {
    let spec = |name: &str, strategy: &Value| json!({"replicas": 3, "ordinals": {"start": 5}, "template": template(name), "updateStrategy": strategy});
    let mut pods = Vec::new();
    settle(&workload("StatefulSet", &spec("a", &json!({}))), &mut pods);
    assert_eq!(pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-5", "web-6", "web-7"]);
    let old = pods[0].revision.clone();
    settle(&workload("StatefulSet", &spec("b", &json!({"type": "OnDelete"}))), &mut pods);
    assert!(pods.iter().all(|pod| pod.revision == old));
    let objects = workload("StatefulSet", &spec("b", &json!({"rollingUpdate": {"partition": 6}})));
    settle(&objects, &mut pods);
    let kept: Vec<_> = pods.iter().filter(|pod| pod.revision == old).map(|pod| pod.name.as_str()).collect();
    assert_eq!(kept, ["web-5"]);
    let (key, object) = objects.first_key_value().unwrap();
    let status = status((key, object), &objects, &Records::default(), &pods, NOON).unwrap();
    assert_eq!((&status["updatedReplicas"], &status["currentReplicas"]), (&json!(2), &json!(1)));
}

#[test]
fn the_conditions_of_a_deployment_show_availability_and_progress() {
    let objects = workload(
        "Deployment",
        &json!({"replicas": 1, "progressDeadlineSeconds": 60, "template": template("a")}),
    );
    let (key, object) = objects.first_key_value().unwrap();
    let mut pod = existing_pod("web-x", Owner::of(object), &name::template_hash(&object["spec"]["template"]));
    let conditions = |pod: &ExistingPod, seconds| {
        let now = NOON + Duration::from_secs(seconds);
        let status =
            status((key, object), &objects, &Records::default(), std::slice::from_ref(pod), now).unwrap();
        let word = |at: usize| {
            format!(
                "{}:{}",
                text(&status["conditions"][at], "/status"),
                text(&status["conditions"][at], "/reason")
            )
        };
        (word(0), word(1))
    };
    let (available, progressing) = conditions(&pod, 59);
    assert_eq!(available, "False:MinimumReplicasUnavailable");
    assert_eq!(progressing, "True:ReplicaSetUpdated");
    assert_eq!(conditions(&pod, 60).1, "False:ProgressDeadlineExceeded");
    pod.ready = true;
    assert_eq!(
        conditions(&pod, 99),
        ("True:MinimumReplicasAvailable".into(), "True:NewReplicaSetAvailable".into())
    );
}

#[test]
fn pods_of_a_recreated_object_are_replaced() {
    let mut objects = workload("Deployment", &json!({"replicas": 1, "template": template("a")}));
    let object = objects.values_mut().next().unwrap();
    object["metadata"]["uid"] = json!("one");
    let pod = existing_pod("web-x", Owner::of(object), &name::template_hash(&object["spec"]["template"]));
    assert!(changes(&objects, std::slice::from_ref(&pod), &mut || 1).is_empty());
    objects.values_mut().next().unwrap()["metadata"]["uid"] = json!("two");
    let made = changes(&objects, &[pod], &mut || 1);
    assert!(matches!(made.as_slice(), [Change::Create { .. }, Change::Remove { .. }]), "{made:?}");
}

/// A Job with its pods and a clock.
struct Run {
    objects: BTreeMap<Key, Value>,
    pods: Vec<ExistingPod>,
    jobs: Records,
    now: OffsetDateTime,
    made: u64,
}

impl Run {
    fn new(spec: &Value) -> Self {
        let mut objects = workload("Job", spec);
        let template = template("a");
        let object = objects.values_mut().next().unwrap();
        let policy = object["spec"]["restartPolicy"].take();
        object["spec"]["template"] = template;
        object["spec"]["template"]["spec"]["restartPolicy"] = policy;
        Self { objects, pods: vec![], jobs: Records::default(), now: NOON, made: 0 }
    }

    /// Advances the clock and applies the Job's changes. Returns the numbers of created and removed pods.
    fn after(&mut self, seconds: u64) -> (usize, usize) {
        self.now += Duration::from_secs(seconds);
        let made = &mut self.made;
        let plan = plan(&self.objects, &self.jobs, &self.pods, self.now, &mut || {
            *made += 1;
            *made
        });
        self.jobs = plan.jobs;
        let (mut made, mut removed) = (0, 0);
        for change in plan.changes {
            match change {
                Change::Create { pod, owner, revision } => {
                    made += 1;
                    let mut new = existing_pod(text(&pod, "/metadata/name"), owner, &revision);
                    new.index = job::index(&pod);
                    self.pods.push(new);
                }
                Change::Remove { name, .. } => {
                    removed += 1;
                    self.pods.retain(|pod| pod.name != name);
                }
                Change::Delete(key) => {
                    self.objects.remove(&key);
                }
            }
        }
        (made, removed)
    }

    fn finish(&mut self, well: bool) {
        let pod = self.pods.iter_mut().find(|pod| pod.finished.is_none()).expect("a pod runs");
        pod.finished = Some(well);
    }

    fn status(&self) -> Value {
        let (key, object) = self.objects.first_key_value().unwrap();
        status((key, object), &self.objects, &self.jobs, &self.pods, self.now).unwrap()
    }

    fn end(&self) -> Option<End> {
        self.jobs.values().next().and_then(|record| record.end).map(|(end, _)| end)
    }
}

#[test]
fn a_job_completes_once_enough_pods_succeeded() {
    let mut run = Run::new(&json!({"completions": 3, "parallelism": 2, "restartPolicy": "Never"}));
    assert_eq!(run.after(0), (2, 0));
    assert_eq!(run.after(0), (0, 0));
    run.finish(true);
    assert_eq!(run.after(0), (1, 0));
    run.finish(true);
    assert_eq!(run.after(0), (0, 0));
    run.finish(true);
    assert_eq!(run.after(1), (0, 0));
    let status = run.status();
    assert_eq!((&status["succeeded"], status.get("failed"), status.get("active")), (&json!(3), None, None));
    assert_eq!(status["conditions"][1]["type"], "Complete");
    assert_eq!(status["completionTime"], "2026-01-01T12:00:01Z");
    run.pods.clear();
    assert_eq!((run.after(1), &run.status()["succeeded"]), ((0, 0), &json!(3)));
}

#[test]
fn a_job_retries_with_increasing_delays_and_fails_at_its_backoff_limit() {
    let mut run = Run::new(&json!({"backoffLimit": 2, "restartPolicy": "Never"}));
    run.after(0);
    for wait in [10, 20] {
        run.finish(false);
        assert_eq!(run.after(0), (0, 0));
        assert_eq!(run.after(wait - 1), (0, 0));
        assert_eq!(run.after(1), (1, 0));
    }
    run.finish(false);
    assert_eq!(run.after(0), (0, 0));
    assert_eq!(run.end(), Some(End::BackoffLimitExceeded));
    let status = run.status();
    assert_eq!((&status["failed"], status.get("completionTime")), (&json!(3), None));
    assert_eq!(status["conditions"][0]["type"], "FailureTarget");
    assert_eq!(
        (&status["conditions"][1]["type"], &status["conditions"][1]["reason"]),
        (&json!("Failed"), &json!("BackoffLimitExceeded"))
    );
    assert_eq!(run.after(10_000), (0, 0));
}

#[test]
fn restarts_count_only_if_the_pod_restarts_containers() {
    let cases = [
        ("OnFailure", 1, 0, None),
        ("OnFailure", 1, 1, Some(End::BackoffLimitExceeded)),
        ("OnFailure", 0, 1, Some(End::BackoffLimitExceeded)),
        ("OnFailure", 3, 2, None),
        ("Never", 1, 9, None),
    ];
    for (policy, limit, restarts, expected) in cases {
        let mut run = Run::new(&json!({"backoffLimit": limit, "restartPolicy": policy}));
        run.after(0);
        run.pods[0].restarts = restarts;
        let (_, removed) = run.after(0);
        assert_eq!(run.end(), expected, "{policy} {limit} {restarts}");
        assert_eq!(removed, usize::from(expected.is_some()));
        assert_eq!(run.status().get("failed").is_some(), expected.is_some());
    }
}

#[test]
fn a_job_ends_at_its_deadline_and_is_deleted_after_its_ttl() {
    let mut run = Run::new(
        &json!({"activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 7, "restartPolicy": "Never"}),
    );
    run.after(0);
    assert_eq!(run.after(4), (0, 0));
    assert_eq!(run.after(1), (0, 1));
    assert_eq!(run.end(), Some(End::DeadlineExceeded));
    assert_eq!(run.status()["failed"], 1);
    run.after(6);
    assert_eq!(run.objects.len(), 1);
    run.after(1);
    assert!(run.objects.is_empty());
}

#[test]
fn an_indexed_job_gives_each_completion_its_number() {
    let mut run = Run::new(
        &json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed", "restartPolicy": "Never"}),
    );
    assert_eq!(run.after(0), (3, 0));
    let index = |run: &Run| run.pods.iter().map(|pod| pod.index.unwrap()).collect::<Vec<_>>();
    assert_eq!(index(&run), [0, 1, 2]);
    run.pods[1].finished = Some(true);
    run.pods[2].finished = Some(true);
    run.after(0);
    assert_eq!(index(&run), [0, 1, 2, 3]);
    run.pods[0].finished = Some(false);
    assert_eq!(run.after(0), (0, 0));
    assert_eq!(run.after(10), (1, 0));
    assert_eq!(index(&run), [0, 1, 2, 3, 0]);
    assert_eq!(run.status()["completedIndexes"], "1,2");
    run.pods[3].finished = Some(true);
    run.pods[4].finished = Some(true);
    run.after(0);
    assert_eq!((run.end(), &run.status()["completedIndexes"]), (Some(End::Complete), &json!("0-3")));
}

#[test]
fn a_pod_of_an_indexed_job_knows_its_number() {
    let mut objects =
        workload("Job", &json!({"completions": 1, "completionMode": "Indexed", "template": template("a")}));
    let object = objects.values_mut().next().unwrap();
    object["spec"]["template"]["spec"]["initContainers"] =
        json!([{"name": "i", "env": [{"name": "A", "value": "1"}]}]);
    let made = changes(&objects, &[], &mut || 1);
    let Change::Create { pod, .. } = &made[0] else { panic!("{made:?}") };
    assert!(text(pod, "/metadata/name").starts_with("web-0-"));
    assert_eq!(text(pod, "/spec/hostname"), "web-0");
    for container in ["/spec/initContainers/0/env/1/name", "/spec/containers/0/env/0/name"] {
        assert_eq!(text(pod, container), "JOB_COMPLETION_INDEX");
    }
    assert_eq!(text(pod, "/metadata/labels/batch.kubernetes.io~1job-completion-index"), "0");
}

#[test]
fn a_suspended_job_has_no_pods_until_it_is_resumed() {
    let mut run = Run::new(&json!({"restartPolicy": "Never", "activeDeadlineSeconds": 5}));
    run.after(0);
    run.objects.values_mut().next().unwrap()["spec"]["suspend"] = json!(true);
    assert_eq!(run.after(1), (0, 1));
    assert_eq!(run.status()["conditions"][0]["type"], "Suspended");
    assert_eq!(run.after(60), (0, 0));
    run.objects.values_mut().next().unwrap()["spec"]["suspend"] = json!(false);
    assert_eq!(run.after(0), (1, 0));
    assert_eq!((run.status().get("failed"), run.end()), (None, None));
}

#[test]
fn a_work_queue_job_ends_with_its_workers() {
    let mut run = Run::new(&json!({"parallelism": 2, "restartPolicy": "Never"}));
    assert_eq!(run.after(0), (2, 0));
    run.finish(true);
    assert_eq!(run.after(0), (0, 0));
    assert_eq!(run.end(), None);
    run.finish(true);
    run.after(0);
    assert_eq!(run.end(), Some(End::Complete));
}

#[test]
fn a_pod_that_is_deleted_counts_as_failed_and_is_replaced() {
    let mut run = Run::new(&json!({"restartPolicy": "Never"}));
    run.after(0);
    run.pods[0].leaving = true;
    assert_eq!(run.after(0), (0, 0));
    assert_eq!(run.after(10), (1, 0));
    assert_eq!(run.status()["failed"], 1);
}

#[test]
fn pods_without_service_account_are_not_created_and_running_ones_stay() {
    let spec = |account: &str| {
        let mut template = template(account);
        template["spec"]["serviceAccountName"] = json!(account);
        json!({"replicas": 2, "serviceName": "web", "template": template})
    };
    for kind in ["Deployment", "StatefulSet", "Job"] {
        let mut objects = workload(kind, &spec("web"));
        assert_eq!(changes(&objects, &[], &mut || 7), [], "{kind}");
        let forbidden = plan(&objects, &Records::default(), &[], NOON, &mut || 7).forbidden;
        let message = forbidden.values().next().expect("it says why it has no pods").clone();
        let (start, pod) = match kind {
            "Deployment" => (
                "Error creating:",
                format!(
                    "web-{}-",
                    name::template_hash(&objects.values().next().unwrap()["spec"]["template"])
                ),
            ),
            "StatefulSet" => ("create Pod web-0 in StatefulSet web failed error:", "web-0".into()),
            _ => ("Error creating:", "web-".into()),
        };
        let reason =
            "is forbidden: error looking up service account default/web: serviceaccount \"web\" not found";
        assert_eq!(message, format!("{start} pods \"{pod}\" {reason}"), "{kind}");
        let other = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "shop"}});
        objects.insert(Key::of(&other), other);
        assert_eq!(changes(&objects, &[], &mut || 7), [], "{kind}: an account of another namespace");
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}});
        objects.insert(Key::of(&account), account);
        let there = plan(&objects, &Records::default(), &[], NOON, &mut || 7);
        assert!(!there.changes.is_empty() && there.forbidden.is_empty(), "{kind}: it is there");
    }
    let objects = workload("Deployment", &spec("web"));
    let (key, object) = objects.first_key_value().unwrap();
    let status = status((key, object), &objects, &Records::default(), &[], NOON).unwrap();
    let failure = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "ReplicaFailure");
    let failure = failure.expect("it says why it has no pods");
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
    assert!(failure["message"].as_str().unwrap().ends_with("serviceaccount \"web\" not found"), "{failure}");
    assert!(
        !changes(&workload("Deployment", &spec("default")), &[], &mut || 7).is_empty(),
        "every namespace has it"
    );

    let mut pods = Vec::new();
    settle(&workload("Deployment", &json!({"replicas": 2, "template": template("a")})), &mut pods);
    let changed = workload("Deployment", &spec("web"));
    assert_eq!(changes(&changed, &pods, &mut || 7), [], "the pods of the old template stay");
}
