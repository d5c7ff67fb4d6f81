//! Pure. `Node`.

use crate::resource::column::{AGE, Column, items, listed, or, text};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

/// `v1` Node.
pub const NODE: Descriptor = Descriptor {
    group: "",
    kind: "Node",
    plural: "nodes",
    short: &["no"],
    categories: &[],
    namespaced: false,
    versions: &["v1"],
    columns: &[
        Column::computed("STATUS", |node, _| status(node)),
        Column::computed("ROLES", |node, _| roles(node)),
        AGE,
        Column::computed("VERSION", |node, _| text(node, ".status.nodeInfo.kubeletVersion").into()),
        Column::computed("ZONE", |node, _| or(label(node, "topology.kubernetes.io/zone"), "<none>")).wide(),
    ],
    schema: None,
};

fn label<'a>(node: &'a Value, name: &str) -> &'a str {
    node["metadata"]["labels"][name].as_str().unwrap_or_default()
}

fn status(node: &Value) -> String {
    let ready = items(node, ".status.conditions").find(|condition| condition["type"] == "Ready");
    let word = match ready.map(|condition| text(condition, ".status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = node["spec"]["unschedulable"] == true;
    if closed { format!("{word},SchedulingDisabled") } else { word.into() }
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    listed(labels.into_iter().flatten().filter_map(|(name, _)| name.strip_prefix(ROLE)))
}

const ROLE: &str = "node-role.kubernetes.io/";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_shows_its_state_and_roles() {
        let node = |status: &str| {
            json!({
                "metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "x": "y"}},
                "spec": {"unschedulable": status == "False"},
                "status": {"conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": status}]},
            })
        };
        assert_eq!(status(&node("True")), "Ready");
        assert_eq!(status(&node("False")), "NotReady,SchedulingDisabled");
        assert_eq!((status(&json!({})), roles(&json!({}))), ("Unknown".into(), "<none>".into()));
        assert_eq!(roles(&node("True")), "control-plane");
    }
}
