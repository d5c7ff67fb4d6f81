//! Pure. One object of Kubernetes YAML: its key and the fields that every kind has.

use std::fmt::Display;

use api::resource::selector::requirement::Selector;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use api::resource::descriptor::Descriptor;
use api::resource::kind;

/// The identity of an object. Two objects with equal keys are versions of the same object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of an object of this kind.
    pub fn new(kind: &Descriptor, namespace: &str, name: &str) -> Self {
        Self {
            group: kind.group.into(),
            kind: kind.kind.into(),
            namespace: if kind.namespaced { namespace.into() } else { String::new() },
            name: name.into(),
        }
    }

    /// The key of a pod by its namespace and name.
    pub fn pod((namespace, name): &(String, String)) -> Self {
        Self { group: String::new(), kind: "Pod".into(), namespace: namespace.clone(), name: name.clone() }
    }

    /// The key of an object. An object that names no namespace is in `default`.
    pub fn of(object: &Value) -> Self {
        let group = group(object).to_string();
        let kind = text(object, "/kind").to_string();
        let namespaced = kind::of(&group, &kind).is_none_or(|kind| kind.namespaced);
        let namespace = match text(object, "/metadata/namespace") {
            _ if !namespaced => "",
            "" => "default",
            given => given,
        };
        Self { namespace: namespace.into(), name: text(object, "/metadata/name").into(), group, kind }
    }

    /// The name that kubectl prints after a change, such as `virtualservice.networking.istio.io/reviews`.
    pub fn printed(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() {
            format!("{kind}/{}", self.name)
        } else {
            format!("{kind}.{}/{}", self.group, self.name)
        }
    }

    /// A file name that is unique to this object.
    pub fn file_name(&self) -> String {
        let kind =
            if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) };
        bounded(format!("{}_{kind}_{}", self.namespace, self.name))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = kind::of(&self.group, &self.kind).map_or_else(|| self.kind.clone(), kind::shown);
        if self.namespace.is_empty() {
            write!(f, "{kind} {}", self.name)
        } else {
            write!(f, "{kind} {}/{}", self.namespace, self.name)
        }
    }
}

/// Shortens a name to what file systems allow. Names of objects can be longer; the end of a long name is replaced with
/// a hash.
pub fn bounded(name: String) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let Some((beginning, _)) = name.split_at_checked(LONGEST).filter(|(_, rest)| !rest.is_empty()) else {
        return name;
    };
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("{beginning}_{:016x}", hasher.finish())
}

const LONGEST: usize = 200;

/// The API group of an object.
pub fn group(object: &Value) -> &str {
    text(object, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group)
}

/// The text at a JSON pointer; empty if there is no text.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a selector matches an object's labels.
pub fn is_selected(object: &Value, selector: &Selector) -> bool {
    let have = object.pointer("/metadata/labels");
    selector.matches(|name| have.and_then(|have| have.get(name)).and_then(Value::as_str))
}

/// The container of a pod that is used if none is named: that of the pod's annotation, or the first one that is not a
/// sidecar.
pub fn default_container(pod: &Value) -> Option<String> {
    let named = text(pod, "/metadata/annotations/kubectl.kubernetes.io~1default-container");
    if !named.is_empty() {
        return Some(named.into());
    }
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let names: Vec<&str> = containers.into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    names.iter().find(|name| **name != PROXY).or(names.first()).map(|name| (*name).to_string())
}

/// The names of a pod's containers, the init containers first.
pub fn containers(pod: &Value) -> Vec<&str> {
    let list = |path: &str| pod.pointer(path).and_then(Value::as_array).into_iter().flatten();
    let all = list("/spec/initContainers").chain(list("/spec/containers"));
    all.filter_map(|container| container["name"].as_str()).collect()
}

/// The container of a pod's proxy, sidecar or gateway.
pub const PROXY: &str = "istio-proxy";

/// The part of an object that the user wrote, without the fields that `ostria` adds.
pub fn desired(object: &Value) -> Value {
    let mut desired = object.clone();
    if let Some(fields) = desired.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut) {
        for added in ["uid", "creationTimestamp", "resourceVersion", "generation", "managedFields"] {
            metadata.remove(added);
        }
    }
    desired
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_names_get_unique_file_names() {
        let key = |name: String| Key {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "n".repeat(63),
            name,
        };
        let (one, other) = (key("a".repeat(253)), key(format!("{}b", "a".repeat(252))));
        assert!(one.file_name().len() < 230 && one.file_name() != other.file_name());
        assert_eq!(key("a".into()).file_name(), format!("{}_ConfigMap_a", "n".repeat(63)));
    }

    #[test]
    fn the_application_is_the_default_container_unless_the_pod_names_one() {
        let pod = |annotations: Value| {
            json!({"metadata": {"annotations": annotations}, "spec": {
                "initContainers": [{"name": "setup"}], "containers": [{"name": PROXY}, {"name": "app"}, {"name": "b"}]}})
        };
        assert_eq!(default_container(&pod(json!({}))).as_deref(), Some("app"));
        let named = json!({"kubectl.kubernetes.io/default-container": "b"});
        assert_eq!(default_container(&pod(named)).as_deref(), Some("b"));
        let gateway = json!({"spec": {"containers": [{"name": PROXY}]}});
        assert_eq!(default_container(&gateway).as_deref(), Some(PROXY));
        assert_eq!(containers(&pod(json!({}))), ["setup", PROXY, "app", "b"]);
    }

    #[test]
    fn a_key_has_the_default_namespace_unless_the_kind_has_none() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
        assert_eq!(Key::of(&pod).to_string(), "Pod default/a");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
        assert_eq!(Key::of(&namespace).to_string(), "Namespace a");
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}});
        assert_eq!(Key::of(&deployment).printed(), "deployment.apps/a");
    }
}
