//! Pure. `ostria get`: kubectl's columns for each kind, and its other forms of output.

use api::resource::column::Column;
use api::resource::descriptor::Descriptor;
use serde_json::{Value, json};

use crate::manifest::object::{Key, text};
use crate::view::table;

/// How a list is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether a column names the namespace.
    pub namespaces: bool,
    /// Whether there are more columns.
    pub wide: bool,
    /// Seconds since 1970, to tell ages.
    pub now: i64,
}

/// A table of objects of one kind.
pub fn table(kind: &Descriptor, objects: &[Value], style: Style) -> String {
    let judged: &[Column] = if kind.is_mesh() { &VERDICT } else { &[] };
    let columns = || kind.columns.iter().chain(judged).filter(|column| style.wide || !column.wide);
    let mut head: Vec<&str> = if style.namespaces && kind.namespaced { vec!["NAMESPACE"] } else { vec![] };
    head.push("NAME");
    head.extend(columns().map(|column| column.name));
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let namespace = (style.namespaces && kind.namespaced)
                .then(|| text(object, "/metadata/namespace").to_string());
            let name = text(object, "/metadata/name").to_string();
            let cells = columns().map(|column| column.cell(object, style.now));
            namespace.into_iter().chain([name]).chain(cells).collect()
        })
        .collect();
    table::render(&head, &rows)
}

/// One object as it is, or several as a list, as kubectl gives them.
pub fn document(objects: &[Value], single: bool) -> Value {
    match objects {
        [object] if single => object.clone(),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    }
}

/// Kind and name of each object, a line each.
pub fn names(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |text, object| text + &Key::of(object).printed() + "\n")
}

/// What pilot and the proxies think of an object.
const VERDICT: [Column; 2] = [
    Column::computed("VERDICT", |object, _| reconciled(object, "/reason")).wide(),
    Column::computed("MESSAGE", |object, _| reconciled(object, "/message")).wide(),
];

/// The first line of what the condition says that tells whether the object is in force.
fn reconciled(object: &Value, field: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| one["type"] == "Reconciled");
    let told = found.map_or("", |found| text(found, field));
    told.lines().next().unwrap_or("<unknown>").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::kind::named;

    fn style(namespaces: bool) -> Style {
        Style { namespaces, wide: false, now: 1_767_225_690 }
    }

    #[test]
    fn pods_look_as_kubectl_shows_them() {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}]},
            "status": {"phase": "Running",
                "initContainerStatuses": [{"name": "istio-proxy", "ready": true, "restartCount": 0}],
                "containerStatuses": [{"name": "c", "ready": false, "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        assert_eq!(
            table(named("pods").unwrap(), &[pod], style(true)),
            "NAMESPACE   NAME   READY   STATUS             RESTARTS   AGE\nshop        web    1/2     CrashLoopBackOff   2          90s\n"
        );
    }

    #[test]
    fn virtual_services_show_gateways_and_hosts() {
        let object = json!({"metadata": {"name": "reviews"}, "spec": {"hosts": ["reviews"]}});
        let text = table(named("vs").unwrap(), &[object], style(false));
        assert_eq!(
            text,
            "NAME      GATEWAYS   HOSTS         AGE\nreviews              [\"reviews\"]   <unknown>\n"
        );
    }

    #[test]
    fn one_object_is_itself_and_several_are_a_list() {
        let objects = [json!({"kind": "Pod"})];
        assert_eq!(document(&objects, true)["kind"], "Pod");
        assert_eq!(document(&objects, false)["items"][0]["kind"], "Pod");
    }
}
