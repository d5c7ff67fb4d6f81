//! Pure. Whether a pod is sent to the injector, by the rules of the webhook's selectors on Kubernetes.

use serde_json::Value;

use crate::manifest::object::text;

/// Whether the selectors of the webhook match a pod in a namespace with these labels.
pub fn requests_sidecar(pod: &Value, namespace_labels: Option<&Value>) -> bool {
    let label = |name: &str| namespace_labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        return false;
    }
    let own = text(pod, "/metadata/labels/sidecar.istio.io~1inject");
    match label("istio-injection") {
        Some("enabled") => own != "false",
        Some(_) => false,
        None if label("istio.io/rev").is_some() => own != "false",
        None => own == "true" || (own != "false" && pod.pointer("/metadata/labels/istio.io~1rev").is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn namespace_and_pod_labels_decide() {
        let cases = [
            (json!({"istio-injection": "enabled"}), json!({}), true),
            (json!({"istio-injection": "enabled"}), json!({"sidecar.istio.io/inject": "false"}), false),
            (json!({"istio-injection": "disabled"}), json!({"sidecar.istio.io/inject": "true"}), false),
            (json!({"istio-injection": "on"}), json!({"sidecar.istio.io/inject": "true"}), false),
            (json!({"istio-injection": "disabled"}), json!({"istio.io/rev": "default"}), false),
            (json!({"istio.io/rev": "default"}), json!({}), true),
            (json!({}), json!({"istio.io/rev": "default"}), true),
            (json!({}), json!({"istio.io/rev": "default", "sidecar.istio.io/inject": "false"}), false),
            (json!({}), json!({"sidecar.istio.io/inject": "true"}), true),
            (json!({}), json!({}), false),
        ];
        for (namespace, labels, expected) in cases {
            let pod = json!({"metadata": {"labels": labels}});
            assert_eq!(requests_sidecar(&pod, Some(&namespace)), expected, "{namespace} {labels}");
        }
        let host = json!({"spec": {"hostNetwork": true}, "metadata": {"labels": {"sidecar.istio.io/inject": "true"}}});
        assert!(!requests_sidecar(&host, None));
    }
}
