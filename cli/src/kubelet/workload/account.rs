//! Pure. Service accounts of pods. As in Kubernetes, no pod is created if its account does not exist.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::manifest::object::{Key, text};

/// The account that a pod spec names, if it does not exist. Every namespace has the account `default`.
pub fn missing<'a>(spec: &'a Value, namespace: &str, is_there: impl Fn(&Key) -> bool) -> Option<&'a str> {
    let name = named(spec).filter(|name| *name != "default")?;
    let key = Key {
        group: String::new(),
        kind: "ServiceAccount".into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    (!is_there(&key)).then_some(name)
}

/// The account that a pod spec names. As in Kubernetes, the deprecated field `serviceAccount` is also read.
pub fn named(spec: &Value) -> Option<&str> {
    let names = ["/serviceAccountName", "/serviceAccount"].map(|pointer| text(spec, pointer));
    names.into_iter().find(|name| !name.is_empty())
}

/// The account that the pods of an object need, if it does not exist.
pub fn needed<'a>(objects: &BTreeMap<Key, Value>, key: &Key, object: &'a Value) -> Option<&'a str> {
    let spec = match (key.group.as_str(), key.kind.as_str()) {
        ("", "Pod") => &object["spec"],
        ("apps" | "batch", "Deployment" | "StatefulSet" | "Job") => &object["spec"]["template"]["spec"],
        _ => return None,
    };
    missing(spec, &key.namespace, |key| objects.contains_key(key))
}

/// The message of the event `FailedCreate`, in the words of the controller of the workload's kind. `pod` is the pod
/// that could not be created.
pub fn failed(key: &Key, pod: &Value, account: &str) -> String {
    let generated = text(pod, "/metadata/generateName");
    let name = if generated.is_empty() { text(pod, "/metadata/name") } else { generated };
    let reason = reason(name, &key.namespace, account);
    if key.kind == "StatefulSet" {
        format!("create Pod {name} in StatefulSet {} failed error: {reason}", key.name)
    } else {
        format!("Error creating: {reason}")
    }
}

/// The error message of Kubernetes' API server. `pod` is the pod's name, or the beginning of a generated name.
pub fn reason(pod: &str, namespace: &str, account: &str) -> String {
    format!(
        "pods \"{pod}\" is forbidden: error looking up service account {namespace}/{account}: serviceaccount \
         \"{account}\" not found"
    )
}
