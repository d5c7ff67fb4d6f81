//! Pure. The path of the pod spec in each kind of object.

use serde_json::Value;

/// The path of a kind's pod spec; `None` for kinds without one.
pub fn pod_place(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("spec"),
        "Deployment" | "StatefulSet" | "Job" => Some("spec.template.spec"),
        _ => None,
    }
}

/// The pod spec at this path.
pub fn pod_spec<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(&format!("/{}", path.replace('.', "/")))
}
