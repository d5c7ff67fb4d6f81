//! Pure. Where the spec of a pod lies in the objects that have one.

use serde_json::Value;

/// The path of a kind's pod spec; none for kinds without.
pub fn pod_place(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("spec"),
        "Deployment" | "StatefulSet" | "Job" => Some("spec.template.spec"),
        _ => None,
    }
}

/// The pod spec at that path.
pub fn pod_spec<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(&format!("/{}", path.replace('.', "/")))
}
