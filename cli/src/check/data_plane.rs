//! Pure. Findings about namespaces and pods of the mesh: pods that should have a sidecar and have none, and pods and
//! namespaces of a control plane that is not there.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod};

use crate::check::finding::{Finding, count, some};
use crate::check::owner::{labels_of, name};
use crate::check::selection::{Labels, is_injector, selects};

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub struct DataPlane<'a> {
    /// The cluster's namespaces.
    pub namespaces: &'a [Namespace],
    /// The cluster's pods.
    pub pods: &'a [Pod],
    /// All webhooks that change objects.
    pub configurations: &'a [MutatingWebhookConfiguration],
    /// The values of `istio.io/rev` on Deployments of control planes, Istio's included.
    pub revisions: &'a BTreeSet<String>,
}

/// The findings.
pub fn findings(plane: DataPlane<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        [plane.unserved(), plane.without_sidecar(), plane.orphans()].into_iter().flatten().collect();
    if findings.is_empty() {
        let sidecars = plane.pods.iter().filter(|pod| is_injected(pod)).count();
        findings
            .push(Finding::ok(CHECK, format!("no pod lacks a sidecar; {} with one", count(sidecars, "pod"))));
    }
    findings
}

impl DataPlane<'_> {
    /// Namespaces whose label no injector selects.
    fn unserved(&self) -> Option<Finding> {
        let unserved = |namespace: &&Namespace| {
            let labels = labels_of(&namespace.metadata);
            let asks = labels.get(INJECTION).is_some_and(|value| value == "enabled")
                || (labels.contains_key(REVISION) && !labels.contains_key(INJECTION));
            asks && !self.is_selected(&labels, &Labels::new())
        };
        let names: Vec<String> = self
            .namespaces
            .iter()
            .filter(unserved)
            .map(|namespace| {
                let labels = labels_of(&namespace.metadata);
                let label = |key: &str| labels.get(key).map(|value| format!("{key}={value}"));
                let label = label(INJECTION).or_else(|| label(REVISION)).unwrap_or_default();
                format!("{} ({label})", name(&namespace.metadata))
            })
            .collect();
        (!names.is_empty()).then(|| {
            Finding::warning(
                CHECK,
                format!("no control plane serves the label of these namespaces: {}", some(&names)),
                "label them with the revision or a tag of one that runs, or give a control plane the tag \
                 (--set revisionTags={TAG})",
            )
        })
    }

    /// Pods that an injector would give a sidecar if they were created now.
    fn without_sidecar(&self) -> Option<Finding> {
        let labels: BTreeMap<&str, Labels> = self
            .namespaces
            .iter()
            .map(|namespace| (name(&namespace.metadata), labels_of(&namespace.metadata)))
            .collect();
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| !is_injected(pod) && is_running(pod)) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let Some(of_namespace) = labels.get(namespace) else { continue };
            if self.is_selected(of_namespace, &labels_of(&pod.metadata)) {
                *missing.entry(namespace).or_default() += 1;
            }
        }
        let names: Vec<String> =
            missing.iter().map(|(namespace, number)| format!("{namespace} ({number})")).collect();
        let first = missing.keys().next()?;
        Some(Finding::warning(
            CHECK,
            format!("pods that ran before their namespace was labelled have no sidecar: {}", some(&names)),
            format!("create them again: kubectl -n {first} rollout restart deployment"),
        ))
    }

    /// Pods whose control plane is gone.
    fn orphans(&self) -> Option<Finding> {
        let mut orphans: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| is_injected(pod) && is_running(pod)) {
            let revision = annotation(pod, REVISION).filter(|name| !name.is_empty()).unwrap_or("default");
            if !self.revisions.contains(revision) {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                orphans.entry(revision).or_default().insert(namespace);
            }
        }
        let texts: Vec<String> = orphans
            .iter()
            .map(|(revision, namespaces)| format!("{revision} (namespaces {})", some(namespaces)))
            .collect();
        (!texts.is_empty()).then(|| {
            Finding::warning(
                CHECK,
                format!("pods belong to a control plane that is not installed: {}", texts.join("; ")),
                "they keep their last configuration until their certificate ends: create them again under another \
                 control plane (kubectl rollout restart deployment)",
            )
        })
    }

    fn is_selected(&self, namespace: &Labels, pod: &Labels) -> bool {
        self.configurations.iter().any(|one| is_injector(one) && selects(one, namespace, pod))
    }
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whether an injector has marked the pod.
fn is_injected(pod: &Pod) -> bool {
    annotation(pod, STATUS).is_some()
}

/// Whether the pod runs or will, in a network of its own.
fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let uses_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let ends = pod.metadata.deletion_timestamp.is_some();
    !uses_host && !ends && matches!(phase, "Pending" | "Running")
}

const CHECK: &str = "data plane";
const REVISION: &str = "istio.io/rev";
const INJECTION: &str = "istio-injection";
const STATUS: &str = "sidecar.istio.io/status";

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read best as values")]
mod tests {
    use super::*;
    use crate::check::selection::tests::injector;
    use serde_json::{Value, json};

    fn namespace(name: &str, labels: Value) -> Namespace {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn pod(namespace: &str, annotations: Value, spec: Value) -> Pod {
        let metadata = json!({"name": "p", "namespace": namespace, "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}))
            .unwrap()
    }

    fn check(namespaces: &[Namespace], pods: &[Pod], revisions: &[&str]) -> Vec<String> {
        let configurations =
            [injector("a", &[(json!({"matchLabels": {"istio-injection": "enabled"}}), json!({}))])];
        let revisions: BTreeSet<String> = revisions.iter().map(|one| (*one).to_owned()).collect();
        let plane = DataPlane { namespaces, pods, configurations: &configurations, revisions: &revisions };
        findings(plane).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_mesh_in_order_has_one_finding() {
        let shop = [namespace("shop", json!({"istio-injection": "enabled"}))];
        let injected = pod("shop", json!({STATUS: "{}", REVISION: "default"}), json!({"containers": []}));
        let plain = pod("other", json!({}), json!({"containers": []}));
        let hosted = pod("shop", json!({}), json!({"containers": [], "hostNetwork": true}));
        assert_eq!(
            check(&shop, &[injected, plain, hosted], &["default"]),
            ["no pod lacks a sidecar; 1 pod with one"]
        );
    }

    #[test]
    fn pods_without_a_sidecar_and_without_a_control_plane_are_reported_by_namespace() {
        let shop = [
            namespace("shop", json!({"istio-injection": "enabled"})),
            namespace("old", json!({"istio.io/rev": "old"})),
        ];
        let late = pod("shop", json!({}), json!({"containers": []}));
        let orphan = pod("old", json!({STATUS: "{}", REVISION: "old"}), json!({"containers": []}));
        assert_eq!(
            check(&shop, &[late, orphan], &["default"]),
            [
                "no control plane serves the label of these namespaces: old (istio.io/rev=old)",
                "pods that ran before their namespace was labelled have no sidecar: shop (1)",
                "pods belong to a control plane that is not installed: old (namespaces old)",
            ]
        );
    }
}
