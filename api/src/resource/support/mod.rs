//! Pure. The supported fields of each kind, for the tables of docs/compatibility.md. They are generated from the
//! descriptors and types of the kinds, so the page cannot promise a field that is not read.

use super::descriptor::Descriptor;
use super::kind::refused::REFUSED;
use super::kind::{Kind, descriptors};
use super::mesh_config::MeshConfig;
use super::schema;
use serde_json::Value;

/// The table of supported kinds: group, names, versions.
pub fn kinds() -> String {
    let mut rows: Vec<(&str, String, Vec<String>)> = vec![];
    for kind in Kind::all().map(Kind::descriptor) {
        let versions = kind.versions.join(", ");
        match rows.iter_mut().find(|(group, of, _)| *group == kind.group && *of == versions) {
            Some((_, _, names)) => names.push(named(kind)),
            None => rows.push((kind.group, versions, vec![named(kind)])),
        }
    }
    let rows =
        rows.into_iter().map(|(group, versions, names)| [shown_group(group), names.join(", "), versions]);
    table(["group", "kinds, with short names", "versions"], rows)
}

/// The table of known kinds that are refused, with the alternative.
pub fn refused() -> String {
    let mut rows: Vec<(&str, &str, Vec<String>)> = vec![];
    for kind in REFUSED {
        let group = kind.descriptor.group;
        match rows.iter_mut().find(|(of, instead, _)| *of == group && *instead == kind.instead) {
            Some((_, _, names)) => names.push(kind.descriptor.kind.to_owned()),
            None => rows.push((group, kind.instead, vec![kind.descriptor.kind.to_owned()])),
        }
    }
    let rows = rows
        .into_iter()
        .map(|(group, instead, names)| [shown_group(group), names.join(", "), instead.to_owned()]);
    table(["group", "kinds", "instead"], rows)
}

/// The table of all fields of the mesh's kinds, by message: supported or refused.
pub fn fields() -> String {
    let kinds = descriptors().filter_map(|kind| Some((kind.kind, (kind.schema?)())));
    let mesh_config = ("MeshConfig", schema::of::<MeshConfig>());
    let mut seen: Vec<Message> = vec![];
    for (kind, schema) in kinds.chain([mesh_config]) {
        let path = if kind == "MeshConfig" { "" } else { "spec" };
        collect(kind, path, &schema, &mut seen);
    }
    let rows = seen.into_iter().map(|message| {
        let place = if message.path.is_empty() { String::new() } else { format!(" `{}`", message.path) };
        [format!("{}{place}", message.kind), message.acted_on.join(", "), message.refused.join(", ")]
    });
    table(["message", "acted on", "refused"], rows)
}

/// A message of a kind, at its first place.
#[derive(Debug, PartialEq)]
struct Message {
    name: String,
    kind: &'static str,
    path: String,
    acted_on: Vec<String>,
    refused: Vec<String>,
}

/// Lists a message and the messages in it, each only at its first place.
fn collect(kind: &'static str, path: &str, schema: &Value, seen: &mut Vec<Message>) {
    let Some(properties) = schema["properties"].as_object() else { return inner(kind, path, schema, seen) };
    let name = schema[schema::MESSAGE].as_str().unwrap_or_default().to_owned();
    let mut message = Message { name, kind, path: path.to_owned(), acted_on: vec![], refused: vec![] };
    for (field, property) in properties {
        let listed = format!("`{field}`");
        if property[schema::REFUSED] == true { &mut message.refused } else { &mut message.acted_on }
            .push(listed);
        let values = property[schema::REFUSED_VALUES].as_array().into_iter().flatten();
        message.refused.extend(values.filter_map(|v| v.as_str()).map(|value| format!("`{field}: {value}`")));
    }
    let same = |other: &Message| {
        (&other.name, &other.acted_on, &other.refused) == (&message.name, &message.acted_on, &message.refused)
    };
    if seen.iter().any(same) {
        return;
    }
    seen.push(message);
    for (field, property) in properties {
        let dot = if path.is_empty() { "" } else { "." };
        inner(kind, &format!("{path}{dot}{field}"), property, seen);
    }
}

fn inner(kind: &'static str, path: &str, schema: &Value, seen: &mut Vec<Message>) {
    if schema.get("properties").is_some() {
        collect(kind, path, schema, seen);
    } else if let Some(items) = schema.get("items") {
        inner(kind, &format!("{path}[]"), items, seen);
    } else if let Some(values) = schema.get("additionalProperties") {
        inner(kind, &format!("{path}.*"), values, seen);
    }
}

fn named(kind: &Descriptor) -> String {
    if kind.short.is_empty() {
        kind.kind.to_owned()
    } else {
        format!("{} ({})", kind.kind, kind.short.join(", "))
    }
}

fn shown_group(group: &str) -> String {
    if group.is_empty() { "core".to_owned() } else { format!("`{group}`") }
}

fn table(head: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> String {
    let line = |cells: [&str; 3]| format!("| {} |\n", cells.join(" | "));
    let body: String = rows.map(|[a, b, c]| line([&a, &b, &c])).collect();
    format!("{}{}{}", line(head), line(["---", "---", "---"]), body)
}

#[cfg(test)]
mod tests;
