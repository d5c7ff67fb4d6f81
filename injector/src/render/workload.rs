//! Pure. Determines the workload that a pod belongs to. Pods of a Deployment are owned by a `ReplicaSet` whose name
//! ends in a hash; metrics and policies name the Deployment, so the hash is removed, as in other meshes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The workload that a pod belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its object, as `kubernetes://apis/apps/v1/namespaces/shop/deployments/cart`.
    pub owner: String,
}

impl Workload {
    /// Determines the workload from the pod's metadata.
    pub fn of(pod: &ObjectMeta, namespace: &str) -> Self {
        let (api_version, kind, name) = controller(pod).unwrap_or_else(|| ("v1", "Pod", own_name(pod)));
        let kind = kind.to_lowercase();
        let owner = format!("kubernetes://apis/{api_version}/namespaces/{namespace}/{kind}s/{name}");
        Self { name: name.to_owned(), owner }
    }
}

/// Returns API version, kind and name of the controller. Counts only if the pod's name was generated, which shows that
/// a controller created it.
fn controller(pod: &ObjectMeta) -> Option<(&str, &str, &str)> {
    pod.generate_name.as_deref().filter(|name| !name.is_empty())?;
    let owners = pod.owner_references.as_ref()?;
    let OwnerReference { api_version, kind, name, .. } =
        owners.iter().find(|owner| owner.controller == Some(true))?;
    let label = |label: &str| pod.labels.as_ref()?.get(label).map(String::as_str);
    let without_hash = |hash: &str| name.strip_suffix(label(hash)?)?.strip_suffix('-');
    match kind.as_str() {
        "ReplicaSet" => {
            if let Some(name) = without_hash("pod-template-hash") {
                return Some((api_version, "Deployment", name));
            }
            if let Some(name) = without_hash("rollouts-pod-template-hash") {
                return Some(("argoproj.io/v1alpha1", "Rollout", name));
            }
        }
        "ReplicationController" => {
            if let Some(name) = label("deploymentconfig") {
                return Some(("apps.openshift.io/v1", "DeploymentConfig", name));
            }
        }
        "Job" => {
            if let Some(name) = cron_job(name) {
                return Some(("batch/v1", "CronJob", name));
            }
        }
        _ => {}
    }
    Some((api_version, kind, name))
}

/// Returns the CronJob behind a Job. The name of such a Job ends in the scheduled minute, in 8 to 10 digits.
fn cron_job(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let due = (8..=10).contains(&minute.len()) && minute.bytes().all(|byte| byte.is_ascii_digit());
    (due && !name.is_empty()).then_some(name)
}

fn own_name(pod: &ObjectMeta) -> &str {
    let generated = || pod.generate_name.as_deref().unwrap_or_default().trim_end_matches('-');
    pod.name.as_deref().filter(|name| !name.is_empty()).unwrap_or_else(generated)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of JSON literals read best as values")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(metadata: Value, name: &str, owner: &str) {
        let pod: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
        let expected = Workload { name: name.to_owned(), owner: format!("kubernetes://apis/{owner}") };
        assert_eq!(Workload::of(&pod, "shop"), expected, "{metadata}");
    }

    fn owned(kind: &str, api_version: &str, owner: &str, labels: Value) -> Value {
        json!({
            "generateName": format!("{owner}-"), "labels": labels,
            "ownerReferences": [
                {"kind": "Other", "apiVersion": "v1", "name": "other", "uid": "0"},
                {"kind": kind, "apiVersion": api_version, "name": owner, "uid": "1", "controller": true},
            ]
        })
    }

    #[test]
    fn the_workload_is_the_object_that_people_created() {
        let hash = json!({"pod-template-hash": "5d4f"});
        check(
            owned("ReplicaSet", "apps/v1", "cart-5d4f", hash),
            "cart",
            "apps/v1/namespaces/shop/deployments/cart",
        );
        check(
            owned("ReplicaSet", "apps/v1", "cart-5d4f", json!({})),
            "cart-5d4f",
            "apps/v1/namespaces/shop/replicasets/cart-5d4f",
        );
        check(
            owned("ReplicaSet", "apps/v1", "cart-9c", json!({"rollouts-pod-template-hash": "9c"})),
            "cart",
            "argoproj.io/v1alpha1/namespaces/shop/rollouts/cart",
        );
        check(
            owned("ReplicationController", "v1", "cart-3", json!({"deploymentconfig": "cart"})),
            "cart",
            "apps.openshift.io/v1/namespaces/shop/deploymentconfigs/cart",
        );
        check(
            owned("StatefulSet", "apps/v1", "db", json!({})),
            "db",
            "apps/v1/namespaces/shop/statefulsets/db",
        );
        check(
            owned("DaemonSet", "apps/v1", "log", json!({})),
            "log",
            "apps/v1/namespaces/shop/daemonsets/log",
        );
        check(
            owned("Job", "batch/v1", "import", json!({})),
            "import",
            "batch/v1/namespaces/shop/jobs/import",
        );
        check(
            owned("Job", "batch/v1", "nightly-28500123", json!({})),
            "nightly",
            "batch/v1/namespaces/shop/cronjobs/nightly",
        );
        check(
            owned("Job", "batch/v1", "import-123", json!({})),
            "import-123",
            "batch/v1/namespaces/shop/jobs/import-123",
        );
    }

    #[test]
    fn a_pod_of_its_own_is_its_own_workload() {
        check(json!({"name": "one"}), "one", "v1/namespaces/shop/pods/one");
        check(json!({"generateName": "one-"}), "one", "v1/namespaces/shop/pods/one");
        check(json!({}), "", "v1/namespaces/shop/pods/");
        let mut named = owned("ReplicaSet", "apps/v1", "cart-5d4f", json!({}));
        named["generateName"] = json!("");
        named["name"] = json!("by-hand");
        check(named, "by-hand", "v1/namespaces/shop/pods/by-hand");
    }
}
