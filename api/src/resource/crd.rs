//! Pure. CustomResourceDefinitions of the mesh's kinds, for a cluster's API server.

use super::column::{Cell, Column};
use super::descriptor::Descriptor;
use super::kind::descriptors;
use super::schema::{PRESERVE, without_marks};
use serde_json::{Map, Value, json};

/// The definitions of all supported kinds of the mesh, sorted by name.
pub fn all() -> Vec<Value> {
    let mut all: Vec<Value> = descriptors().filter_map(definition).collect();
    all.sort_by(|a, b| a["metadata"]["name"].as_str().cmp(&b["metadata"]["name"].as_str()));
    all
}

/// The definition of a kind; `None` for Kubernetes' own kinds and for refused kinds.
fn definition(kind: &Descriptor) -> Option<Value> {
    let spec = without_marks(&(kind.schema?)());
    let schema = json!({
        "type": "object",
        "properties": {"spec": spec, "status": {"type": "object", PRESERVE: true}},
    });
    let mut columns: Vec<Value> = kind.columns.iter().filter_map(column).collect();
    // The age is the last column of each kind.
    columns.insert(columns.len().saturating_sub(1), programmed());
    let versions: Vec<Value> = kind
        .versions
        .iter()
        .map(|version| {
            json!({
                "name": version,
                "served": true,
                "storage": *version == kind.storage(),
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
            })
        })
        .collect();
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", kind.plural, kind.group)},
        "spec": {
            "group": kind.group,
            "names": names(kind),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    }))
}

fn names(kind: &Descriptor) -> Value {
    let mut names = Map::new();
    names.insert("kind".into(), kind.kind.into());
    names.insert("listKind".into(), format!("{}List", kind.kind).into());
    names.insert("plural".into(), kind.plural.into());
    names.insert("singular".into(), kind.singular().into());
    for (name, list) in [("shortNames", kind.short), ("categories", kind.categories)] {
        if !list.is_empty() {
            names.insert(name.into(), list.into());
        }
    }
    names.into()
}

/// The column of the condition that pilot writes. Objects on one machine have no status, so `ostria get` has no such column.
fn programmed() -> Value {
    json!({
        "name": "Programmed",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status",
        "description": "Whether all proxies have acknowledged the object.",
    })
}

/// A printer column; `None` for a computed column, which a CRD cannot express.
fn column(column: &Column) -> Option<Value> {
    let (path, kind) = match column.cell {
        Cell::Path(path) => (path, "string"),
        Cell::Since(path) => (path, "date"),
        Cell::Computed(_) => return None,
    };
    // kubectl writes headings in capitals itself.
    let mut name = column.name.to_lowercase();
    name[..1].make_ascii_uppercase();
    let mut shown = json!({"name": name, "type": kind, "jsonPath": path, "description": column.description});
    if column.wide {
        shown["priority"] = 1.into();
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_kind_of_the_mesh_has_a_definition() {
        let names: Vec<String> =
            all().iter().map(|crd| crd["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        let mut read: Vec<String> = crate::resource::kind::Kind::all()
            .filter(|kind| kind.is_mesh())
            .map(|kind| format!("{}.{}", kind.descriptor().plural, kind.group()))
            .collect();
        read.sort();
        assert_eq!(names, read);
    }

    #[test]
    fn one_version_is_stored_and_columns_are_paths() {
        for crd in all() {
            let versions = crd["spec"]["versions"].as_array().unwrap();
            assert_eq!(versions.iter().filter(|version| version["storage"] == true).count(), 1, "{crd}");
            let columns = versions[0]["additionalPrinterColumns"].as_array().unwrap();
            assert!(columns.iter().all(|c| c["jsonPath"].as_str().is_some_and(|path| path.starts_with('.'))));
            assert_eq!(columns.last().unwrap()["name"], "Age");
        }
    }

    #[test]
    fn a_definition_has_the_form_that_clusters_accept() {
        let all = all();
        let one = all.iter().find(|crd| crd["spec"]["names"]["kind"] == "PeerAuthentication").unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(one).unwrap());
    }
}
