//! Pure. `ostria get`: kubectl's columns for each kind, and the other output formats.

use api::resource::column::{self, Column};
use api::resource::descriptor::Descriptor;
use serde_json::{Value, json};

use crate::manifest::object::{Key, text};

/// Options for the table.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that the user gives or leaves out")]
pub struct Style<'a> {
    /// Whether there is a column for the namespace.
    pub namespaces: bool,
    /// Whether the wide columns are shown.
    pub wide: bool,
    /// Whether each name is prefixed with its kind.
    pub kinds: bool,
    /// Whether the last column lists all labels.
    pub labels: bool,
    /// Labels that get columns of their own.
    pub label_columns: &'a [String],
    /// The current time in seconds since 1970, from which ages are computed.
    pub now: i64,
}

/// The column names of a table of one kind.
pub fn heads(kind: &Descriptor, style: Style<'_>) -> Vec<String> {
    let mut heads: Vec<String> =
        if style.namespaces && kind.namespaced { vec!["NAMESPACE".into()] } else { vec![] };
    heads.push("NAME".into());
    heads.extend(columns(kind, style).map(|column| column.name.to_string()));
    let name = |label: &String| label.rsplit('/').next().unwrap_or_default().to_uppercase();
    heads.extend(style.label_columns.iter().map(name));
    heads.extend(style.labels.then(|| "LABELS".into()));
    heads
}

/// One row for each object.
pub fn rows(kind: &Descriptor, objects: &[Value], style: Style<'_>) -> Vec<Vec<String>> {
    let row = |object: &Value| {
        let namespace =
            (style.namespaces && kind.namespaced).then(|| text(object, "/metadata/namespace").to_string());
        let name =
            if style.kinds { Key::of(object).printed() } else { text(object, "/metadata/name").to_string() };
        let cells = columns(kind, style).map(|column| column.cell(object, style.now));
        let labels = &object["metadata"]["labels"];
        let own =
            style.label_columns.iter().map(|label| labels[label].as_str().unwrap_or_default().to_string());
        let all = style.labels.then(|| column::pairs(object, ".metadata.labels"));
        namespace.into_iter().chain([name]).chain(cells).chain(own).chain(all).collect()
    };
    objects.iter().map(row).collect()
}

fn columns(kind: &Descriptor, style: Style<'_>) -> impl Iterator<Item = &'static Column> {
    let judged: &[Column] = if kind.is_mesh() { &VERDICT } else { &[] };
    kind.columns.iter().chain(judged).filter(move |column| style.wide || !column.wide)
}

/// A single object unchanged, or several objects as a `List`, as kubectl prints them.
pub fn document(objects: &[Value], single: bool) -> Value {
    match objects {
        [object] if single => object.clone(),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    }
}

/// Kind and name of each object, one line each.
pub fn names(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |text, object| text + &Key::of(object).printed() + "\n")
}

/// The verdict of pilot and the proxies on an object: `Reconciled` on this machine, `Programmed` in a cluster.
const VERDICT: [Column; 2] = [
    Column::computed("VERDICT", |object, _| reconciled(object, "/reason")).wide(),
    Column::computed("MESSAGE", |object, _| reconciled(object, "/message")).wide(),
];

/// The first line of a field of the condition with the verdict.
fn reconciled(object: &Value, field: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let is_verdict = |one: &&Value| one["type"] == "Reconciled" || one["type"] == "Programmed";
    let found = conditions.into_iter().flatten().find(is_verdict);
    let value = found.map_or("", |found| text(found, field));
    value.lines().next().unwrap_or("<unknown>").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::kind::named;

    fn style(namespaces: bool) -> Style<'static> {
        Style { namespaces, now: 1_767_225_690, ..Style::default() }
    }

    fn table(kind: &Descriptor, objects: &[Value], style: Style<'_>) -> String {
        let heads = heads(kind, style);
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        crate::view::table::render(&heads, &rows(kind, objects, style))
    }

    #[test]
    fn labels_and_kinds_are_shown_on_request() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web", "labels": {"app": "web", "istio.io/rev": "a"}}});
        let columns = ["istio.io/rev".to_string()];
        let style = Style { kinds: true, labels: true, label_columns: &columns, ..style(false) };
        let text = table(named("cm").unwrap(), &[object], style);
        let row: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert!(text.lines().next().unwrap_or_default().ends_with("REV   LABELS"), "{text}");
        assert_eq!(
            (row[0], row[row.len() - 2], row[row.len() - 1]),
            ("configmap/web", "a", "app=web,istio.io/rev=a")
        );
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
    fn wide_tables_have_the_verdict_of_either_condition() {
        for kind in ["Reconciled", "Programmed"] {
            let condition = json!({"type": kind, "reason": "Refused", "message": "by a.shop\nmore"});
            let object = json!({"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Accepted"}, condition]}});
            let text = table(named("vs").unwrap(), &[object], Style { wide: true, ..style(false) });
            assert!(text.ends_with("Refused   by a.shop\n"), "{text}");
        }
    }

    #[test]
    fn one_object_is_itself_and_several_are_a_list() {
        let objects = [json!({"kind": "Pod"})];
        assert_eq!(document(&objects, true)["kind"], "Pod");
        assert_eq!(document(&objects, false)["items"][0]["kind"], "Pod");
    }
}
