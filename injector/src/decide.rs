//! Pure. Decides whether a pod gets a sidecar, by the pod, its namespace and the policy, in Istio's order of
//! precedence. Namespace labels are not considered here: the webhook's `namespaceSelector` applies them before a
//! review is sent.

use std::collections::BTreeMap;

use api::resource::selector::requirement::{Expression, Selector};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use crate::{
    config::{Policy, Selection},
    excerpt::quoted,
    flow::Skip,
};

/// Returns the reason why a pod gets no sidecar, or `None` if it gets one.
pub fn skip(pod: &Pod, namespace: &str, selection: &Selection) -> Option<Skip> {
    let spec = pod.spec.as_ref();
    if spec.is_some_and(|spec| spec.host_network == Some(true)) {
        return Some(Skip::HostNetwork);
    }
    if SYSTEM_NAMESPACES.contains(&namespace) {
        return Some(Skip::SystemNamespace);
    }
    let empty = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    match requested(pod) {
        Some(true) => return None,
        Some(false) => return Some(Skip::OptedOut),
        None => {}
    }
    if selection.never.iter().any(|selector| matches(selector, labels)) {
        return Some(Skip::NeverSelector);
    }
    if selection.always.iter().any(|selector| matches(selector, labels)) {
        return None;
    }
    match selection.policy {
        Policy::Enabled => None,
        Policy::Disabled => Some(Skip::PolicyDisabled),
    }
}

/// Returns the pod's own request for or against a sidecar; only `true` and `false` have a meaning.
fn requested(pod: &Pod) -> Option<bool> {
    match inject_value(pod)? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The label takes precedence over the annotation.
fn inject_value(pod: &Pod) -> Option<&str> {
    let maps = [&pod.metadata.labels, &pod.metadata.annotations];
    maps.into_iter().flatten().find_map(|map| map.get(INJECT)).map(String::as_str)
}

/// Returns a warning for a pod whose label or annotation has no meaning, and which is therefore treated as if it had
/// none.
pub fn unclear_value(pod: &Pod) -> Option<String> {
    let value = inject_value(pod).filter(|value| !matches!(*value, "" | "true" | "false"))?;
    Some(format!("{INJECT} is {}, which is neither \"true\" nor \"false\" and has no effect", quoted(value)))
}

/// Whether the pod was injected before: it is marked as such, and the sidecar is present. A container that only has
/// the sidecar's name was written by the user, and its fields are merged into the sidecar.
pub fn is_injected(pod: &Pod) -> bool {
    let marked =
        pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(STATUS));
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    marked && containers.into_iter().any(|container| container.name == "istio-proxy")
}

/// Whether a selector matches. An empty selector matches nothing here, so that a stray list item cannot select every
/// pod.
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = Selector::of_labels(&selector.match_labels.clone().unwrap_or_default());
    let rules = selector.match_expressions.as_deref().unwrap_or_default();
    let expressions: Vec<Expression<'_>> = rules.iter().map(expression).collect();
    // An invalid selector matches nothing either.
    let Ok(rules) = Selector::of_object([], &expressions) else {
        return false;
    };
    let value = |name: &str| labels.get(name).map(String::as_str);
    !(equal.is_empty() && rules.is_empty()) && equal.matches(value) && rules.matches(value)
}

fn expression(rule: &LabelSelectorRequirement) -> Expression<'_> {
    let LabelSelectorRequirement { key, operator, values } = rule;
    Expression { key, operator, values: values.as_deref().unwrap_or_default() }
}

const INJECT: &str = "sidecar.istio.io/inject";
const STATUS: &str = "sidecar.istio.io/status";
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of JSON literals read best as values")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(pod: Value, namespace: &str, selection: &Selection, expected: Option<Skip>) {
        let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
        assert_eq!(skip(&typed, namespace, selection), expected, "{pod} in {namespace}");
    }

    fn pod(labels: Value, annotations: Value) -> Value {
        json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": [{"name": "app"}]}})
    }

    fn selection(policy: Policy) -> Selection {
        let selector = |value: Value| serde_json::from_value(value).unwrap();
        Selection {
            policy,
            never: vec![
                selector(json!({})),
                selector(json!({"matchExpressions": [{"key": "job", "operator": "Exists"}]})),
            ],
            always: vec![
                selector(json!({"matchLabels": {"mesh": "yes"}})),
                selector(json!({"matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["web", "api"]},
                    {"key": "legacy", "operator": "DoesNotExist"},
                    {"key": "stage", "operator": "NotIn", "values": ["dev"]},
                ]})),
            ],
        }
    }

    #[test]
    fn the_pods_label_precedes_selectors_and_selectors_precede_the_policy() {
        let (on, off) = (selection(Policy::Enabled), selection(Policy::Disabled));
        let out = Some(Skip::OptedOut);
        let requested = |value: &str| json!({ INJECT: value });
        let table = [
            (pod(json!({}), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(requested("true"), json!({})), None, None),
            (pod(requested("yes"), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(requested("True"), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(requested("random"), requested("false")), None, Some(Skip::PolicyDisabled)),
            (pod(json!({}), requested("no")), None, Some(Skip::PolicyDisabled)),
            (pod(json!({"mesh": "yes"}), requested("no")), None, None),
            (pod(json!({}), requested("true")), None, None),
            (pod(json!({}), requested("false")), out, out),
            (pod(requested("true"), requested("false")), None, None),
            (pod(requested("false"), requested("true")), out, out),
            (pod(requested(""), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(json!({"job": "x"}), json!({})), Some(Skip::NeverSelector), Some(Skip::NeverSelector)),
            (pod(json!({"job": "x"}), requested("true")), None, None),
            (
                pod(json!({"job": "x", "mesh": "yes"}), json!({})),
                Some(Skip::NeverSelector),
                Some(Skip::NeverSelector),
            ),
            (pod(json!({"mesh": "yes"}), json!({})), None, None),
            (pod(json!({"mesh": "no"}), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(json!({"tier": "web"}), json!({})), None, None),
            (pod(json!({"tier": "db"}), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(json!({"tier": "web", "legacy": ""}), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(json!({"tier": "api", "stage": "dev"}), json!({})), None, Some(Skip::PolicyDisabled)),
            (pod(json!({"mesh": "yes"}), requested("false")), out, out),
        ];
        for (pod, enabled, disabled) in table {
            check(pod.clone(), "shop", &on, enabled);
            check(pod, "shop", &off, disabled);
        }
    }

    #[test]
    fn host_network_pods_and_system_namespaces_never_get_a_sidecar() {
        let on = selection(Policy::Enabled);
        let asking = json!({ INJECT: "true" });
        let mut host = pod(asking.clone(), json!({}));
        host["spec"]["hostNetwork"] = json!(true);
        check(host, "shop", &on, Some(Skip::HostNetwork));
        for namespace in ["kube-system", "kube-public", "kube-node-lease"] {
            check(pod(asking.clone(), json!({})), namespace, &on, Some(Skip::SystemNamespace));
        }
        check(pod(asking, json!({})), "kube-systems", &on, None);
    }

    #[test]
    fn only_a_sidecar_that_an_injector_has_marked_is_one() {
        let with = |list: &str, image: Value, marked: bool| {
            let mut pod = pod(json!({}), if marked { json!({ STATUS: "{}" }) } else { json!({}) });
            pod["spec"][list] = json!([{"name": "istio-proxy", "image": image}]);
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        for list in ["containers", "initContainers"] {
            assert!(is_injected(&with(list, json!("istio/proxyv2:1.30"), true)));
            for image in [json!("istio/proxyv2:1.30"), json!("auto"), json!(null)] {
                let own = with(list, image, false);
                assert!(!is_injected(&own));
                assert_eq!(skip(&own, "shop", &selection(Policy::Enabled)), None);
            }
        }
        let copied: Pod = serde_json::from_value(pod(json!({}), json!({ STATUS: "{}" }))).unwrap();
        assert!(!is_injected(&copied), "a mark without a sidecar is a copy of another pod's annotations");
        assert!(!is_injected(&Pod::default()));
    }
}
