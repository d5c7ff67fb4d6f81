//! Pure. The pods that objects make: the pod of an object's template, as a controller would create it, and the object with
//! a changed one.

use serde_json::{Value, json};

use crate::manifest::object::{group, text};

/// The pod that an object makes in a namespace; `None` for objects that make none. The pod names the object as its
/// controller, so that the injector knows the workload.
pub fn pod(object: &Value, namespace: &str) -> Option<Value> {
    let place = place(object)?;
    let template = object.pointer(place)?;
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    if !pod["metadata"].is_object() {
        pod["metadata"] = json!({});
    }
    pod["metadata"]["namespace"] = namespace.into();
    if !place.is_empty() {
        let name = text(object, "/metadata/name");
        pod["metadata"]["generateName"] = format!("{name}-").into();
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": object["apiVersion"], "kind": object["kind"], "name": name, "uid": "", "controller": true,
        }]);
    }
    Some(pod)
}

/// The object with this pod in its template.
pub fn with_pod(object: &Value, pod: &Value) -> Value {
    let mut changed = object.clone();
    let Some(place) = place(object) else { return changed };
    let before = object.pointer(place).cloned().unwrap_or_default();
    let Some(template) = changed.pointer_mut(place) else { return changed };
    template["spec"] = pod["spec"].clone();
    template["metadata"] = pod["metadata"].clone();
    if let Some(metadata) = template["metadata"].as_object_mut() {
        // What the pod has from its controller is no part of the template.
        for field in ["namespace", "generateName", "ownerReferences"] {
            match before["metadata"].get(field) {
                Some(own) => metadata.insert(field.into(), own.clone()),
                None => metadata.remove(field),
            };
        }
    }
    changed
}

/// The path of an object's pod template.
fn place(object: &Value) -> Option<&'static str> {
    match (group(object), text(object, "/kind")) {
        ("", "Pod") => Some(""),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("", "ReplicationController")
        | ("batch", "Job") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_a_pod_of_its_controller_and_gets_only_the_pods_own_fields_back() {
        let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
        let table = [
            ("apps/v1", "Deployment", json!({"template": template})),
            ("batch/v1", "Job", json!({"template": template})),
            ("batch/v1", "CronJob", json!({"jobTemplate": {"spec": {"template": template}}})),
        ];
        for (version, kind, spec) in table {
            let object =
                json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec});
            let mut made = pod(&object, "shop").unwrap();
            assert_eq!(made["metadata"]["namespace"], "shop");
            assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], kind);
            assert_eq!(with_pod(&object, &made), object, "nothing was injected");
            made["metadata"]["annotations"] = json!({"x": "y"});
            made["spec"]["containers"] = json!([{"name": "istio-proxy"}]);
            let injected = with_pod(&object, &made).to_string();
            assert!(injected.contains("istio-proxy") && injected.contains("\"x\":\"y\""), "{injected}");
            assert!(
                !injected.contains("ownerReferences") && !injected.contains("generateName"),
                "{injected}"
            );
        }
    }

    #[test]
    fn a_pod_is_its_own_template_and_other_objects_have_none() {
        let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}});
        let made = pod(&bare, "shop").unwrap();
        assert_eq!(text(&made, "/metadata/name"), "a");
        assert_eq!(with_pod(&bare, &made), bare);
        for (version, kind) in [("v1", "Service"), ("serving.knative.dev/v1", "Deployment")] {
            let object = json!({"apiVersion": version, "kind": kind, "spec": {"template": {"spec": {}}}});
            assert!(pod(&object, "shop").is_none(), "{kind}");
        }
    }
}
