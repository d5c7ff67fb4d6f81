//! Pure. Which pods a webhook for injection selects, by the labels of the namespace and of the pod.

use std::collections::BTreeMap;

use api::resource::selector::requirement::{Expression, Selector};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether the API server calls a webhook of the configuration for a pod that is created.
pub fn selects(configuration: &MutatingWebhookConfiguration, namespace: &Labels, pod: &Labels) -> bool {
    let webhooks = configuration.webhooks.iter().flatten();
    webhooks.into_iter().any(|webhook| {
        is_for_pods(webhook)
            && matches(webhook.namespace_selector.as_ref(), namespace)
            && matches(webhook.object_selector.as_ref(), pod)
    })
}

/// Whether the configuration belongs to an injector of sidecars with Istio's labels: Istio's, or Ostria's.
pub fn is_injector(configuration: &MutatingWebhookConfiguration) -> bool {
    configuration.webhooks.iter().flatten().any(|webhook| {
        let path = webhook.client_config.service.as_ref().and_then(|service| service.path.as_deref());
        let is_named = webhook.name.ends_with("sidecar-injector.istio.io");
        is_for_pods(webhook) && (is_named || path.is_some_and(|path| path.starts_with("/inject")))
    })
}

/// Whether a selector matches labels. No selector matches everything. An invalid one, which the API server does not
/// store, matches nothing.
pub fn matches(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return true };
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let rules: Vec<Expression<'_>> = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|rule| Expression {
            key: &rule.key,
            operator: &rule.operator,
            values: rule.values.as_deref().unwrap_or_default(),
        })
        .collect();
    let value = |key: &str| labels.get(key).map(String::as_str);
    Selector::of_object(equal, &rules).is_ok_and(|selector| selector.matches(value))
}

fn is_for_pods(webhook: &MutatingWebhook) -> bool {
    webhook.rules.iter().flatten().any(|rule| {
        let RuleWithOperations { api_groups, operations, resources, .. } = rule;
        names(api_groups.as_deref(), &["", "*"])
            && names(operations.as_deref(), &["CREATE", "*"])
            && names(resources.as_deref(), &["pods", "*", "*/*"])
    })
}

fn names(list: Option<&[String]>, wanted: &[&str]) -> bool {
    list.unwrap_or_default().iter().any(|entry| wanted.contains(&entry.as_str()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A configuration of webhooks for pods, by their selectors.
    pub(crate) fn injector(name: &str, selectors: &[(Value, Value)]) -> MutatingWebhookConfiguration {
        let webhook = |(namespace, object): &(Value, Value)| {
            json!({
                "name": "x.sidecar-injector.istio.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"service": {"name": "i", "namespace": "n", "path": "/inject"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": namespace, "objectSelector": object,
            })
        };
        let webhooks: Vec<Value> = selectors.iter().map(webhook).collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "webhooks": webhooks})).unwrap()
    }

    pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    type Pairs = &'static [(&'static str, &'static str)];

    #[test]
    fn a_webhook_selects_by_namespace_and_by_pod() {
        let enabled = json!({"matchLabels": {"istio-injection": "enabled"}});
        let not_refused = json!({"matchExpressions": [
            {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]},
        ]});
        let one = injector("a", &[(enabled, not_refused)]);
        let table: [(Pairs, Pairs, bool); 4] = [
            (&[("istio-injection", "enabled")], &[], true),
            (&[("istio-injection", "enabled")], &[("sidecar.istio.io/inject", "false")], false),
            (&[("istio-injection", "disabled")], &[], false),
            (&[], &[], false),
        ];
        for (namespace, pod, expected) in table {
            assert_eq!(selects(&one, &labels(namespace), &labels(pod)), expected, "{namespace:?} {pod:?}");
        }
        assert!(is_injector(&one));
    }

    #[test]
    fn webhooks_for_other_objects_are_no_injectors_and_select_no_pod() {
        let mut other = injector("a", &[(json!({}), json!({}))]);
        assert!(selects(&other, &Labels::new(), &Labels::new()), "an empty selector selects everything");
        let rules = other.webhooks.as_mut().unwrap()[0].rules.as_mut().unwrap();
        rules[0].resources = Some(vec!["services".to_owned()]);
        assert!(!is_injector(&other) && !selects(&other, &Labels::new(), &Labels::new()));
    }

    #[test]
    fn an_invalid_selector_selects_nothing() {
        let invalid = json!({"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]});
        assert!(!selects(&injector("a", &[(invalid, json!({}))]), &Labels::new(), &Labels::new()));
    }
}
