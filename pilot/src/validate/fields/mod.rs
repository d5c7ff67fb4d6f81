//! Checks the validators against the field lists in the kinds' descriptors, and thereby docs/compatibility.md: a field
//! that is listed as acted on changes the result, and a refused field or value is refused by its path.
//!
//! `examples.yaml` holds accepted objects. Together they set every field that is acted on.

use super::object;
use crate::catalog::kind::Item;
use crate::catalog::policy::Mesh;
use api::resource::document::Place;
use api::resource::kind::{self, descriptors};
use api::resource::parse;
use api::resource::schema::{MESSAGE, REFUSED, REFUSED_VALUES};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Fields that are parsed but change nothing, each with the reason.
const INERT: &[(&str, &str)] = &[];

/// The result of validating an object.
#[derive(Debug, Clone, PartialEq, Default)]
struct Found {
    item: Option<Item>,
    errors: Vec<String>,
    /// Paths and reasons.
    warnings: Vec<String>,
}

fn found(value: &Value) -> Found {
    let place = Place::new("examples.yaml", 0);
    match parse::object(&place, value) {
        Err(refusals) => {
            Found { errors: refusals.iter().map(|r| r.path.clone()).collect(), ..Found::default() }
        }
        Ok(read) => {
            let checked = object(&place, &read, &Mesh::default());
            Found {
                item: checked.item,
                errors: checked.errors.iter().map(|r| r.path.clone()).collect(),
                warnings: checked.warnings.iter().map(ToString::to_string).collect(),
            }
        }
    }
}

/// The accepted objects, each with its kind's name and schema.
fn examples() -> Vec<(&'static str, Value, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/validate/fields/examples.yaml");
    let parsed = parse::parse("examples.yaml", &std::fs::read_to_string(path).unwrap());
    assert!(parsed.refusals.is_empty(), "{:?}", parsed.refusals);
    let of = |document: api::resource::object::Document| {
        let kind = document.object.kind().descriptor();
        let accepted = found(&document.raw);
        assert!(accepted.errors.is_empty(), "{}: {:?}", document.object.key, accepted.errors);
        (kind.kind, document.raw, (kind.schema.expect("a kind of the mesh"))())
    };
    parsed.documents.into_iter().map(of).collect()
}

/// One field in an object.
#[derive(Debug, Clone)]
struct FieldLocation {
    /// Its kind, message and name, such as `VirtualService HttpRoute.name`.
    field: String,
    /// Its path in this object, as in a refusal.
    path: String,
    /// The path of the message that contains it.
    parent: String,
    name: String,
    present: bool,
    /// The refused values; every value if the whole field is refused.
    refused: Vec<Value>,
    leaf: bool,
}

/// Every field of the messages that an object contains.
fn locations(kind: &str, schema: &Value, value: &Value) -> Vec<FieldLocation> {
    let mut all = vec![];
    walk(kind, schema, &value["spec"], ("spec", "/spec"), &mut all);
    all
}

/// `at`: the path and the JSON pointer in the object.
fn walk(kind: &str, schema: &Value, value: &Value, at: (&str, &str), all: &mut Vec<FieldLocation>) {
    let (path, pointer) = at;
    if let (Some(properties), true) = (schema["properties"].as_object(), value.is_object()) {
        for (name, property) in properties {
            let inner = (format!("{path}.{name}"), format!("{pointer}/{name}"));
            let refused = match &property[REFUSED_VALUES] {
                _ if property[REFUSED] == true => vec![json!({"some": "value"})],
                Value::Array(values) => values.clone(),
                _ => vec![],
            };
            all.push(FieldLocation {
                field: field(kind, schema, name),
                path: inner.0.clone(),
                parent: pointer.to_owned(),
                name: name.clone(),
                present: value.get(name).is_some(),
                refused,
                leaf: is_leaf(property),
            });
            if let Some(inner_value) = value.get(name) {
                walk(kind, property, inner_value, (&inner.0, &inner.1), all);
            }
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        walk(kind, &schema["items"], item, (&format!("{path}[{i}]"), &format!("{pointer}/{i}")), all);
    }
    let Some(values) = schema.get("additionalProperties") else { return };
    for (name, inner_value) in value.as_object().into_iter().flatten() {
        walk(kind, values, inner_value, (&format!("{path}.{name}"), &format!("{pointer}/{name}")), all);
    }
}

fn field(kind: &str, schema: &Value, name: &str) -> String {
    format!("{kind} {}.{name}", schema[MESSAGE].as_str().unwrap_or_default())
}

/// Whether a field holds no message.
fn is_leaf(schema: &Value) -> bool {
    let inner = schema.get("items").or(schema.get("additionalProperties"));
    schema.get("properties").is_none() && inner.is_none_or(is_leaf)
}

/// Collects every leaf field of a schema that is acted on.
fn leaves(kind: &str, schema: &Value, all: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if is_leaf(property) && property[REFUSED] != true {
            all.insert(field(kind, schema, name));
        }
        leaves(kind, property, all);
    }
    for inner in ["items", "additionalProperties"] {
        schema.get(inner).into_iter().for_each(|inner| leaves(kind, inner, all));
    }
}

#[test]
fn every_listed_field_has_an_effect() {
    let mut wanted = BTreeSet::new();
    for kind in descriptors() {
        if let Some(schema) = kind.schema {
            leaves(kind.kind, &schema(), &mut wanted);
        }
    }
    let mut acted_on = BTreeSet::new();
    for (kind, value, schema) in examples() {
        let before = found(&value);
        for location in
            locations(kind, &schema, &value).into_iter().filter(|location| location.leaf && location.present)
        {
            let mut without = value.clone();
            without
                .pointer_mut(&location.parent)
                .and_then(Value::as_object_mut)
                .expect("a message")
                .remove(&location.name);
            if found(&without) != before {
                acted_on.insert(location.field);
            }
        }
    }
    let inert: BTreeSet<String> = INERT.iter().map(|(field, _)| (*field).to_owned()).collect();
    let missing: Vec<_> = wanted.iter().filter(|f| !acted_on.contains(*f) && !inert.contains(*f)).collect();
    assert!(missing.is_empty(), "listed, and nothing changes without them:\n{missing:#?}");
    let stale: Vec<_> = inert.iter().filter(|f| acted_on.contains(*f) || !wanted.contains(*f)).collect();
    assert!(stale.is_empty(), "not inert: {stale:#?}");
}

#[test]
fn every_refused_field_or_value_is_refused_by_its_path() {
    let mut tried = BTreeSet::new();
    for (kind, value, schema) in examples() {
        for location in locations(kind, &schema, &value) {
            for refused in &location.refused {
                let mut with = value.clone();
                let parent =
                    with.pointer_mut(&location.parent).and_then(Value::as_object_mut).expect("a message");
                parent.insert(location.name.clone(), refused.clone());
                let errors = found(&with).errors;
                // A value may have no effect in one object, as a TLS version where plaintext is used.
                if refused.is_string() && !errors.contains(&location.path) {
                    continue;
                }
                assert!(
                    errors.contains(&location.path),
                    "{} {}: {refused} is taken: {errors:?}",
                    location.field,
                    location.path
                );
                tried.insert((location.field.clone(), refused.to_string()));
            }
        }
    }
    let mut wanted = BTreeSet::new();
    for kind in descriptors() {
        if let Some(schema) = kind.schema {
            refusals(kind.kind, &schema(), &mut wanted);
        }
    }
    let untried: Vec<_> = wanted.difference(&tried).collect();
    assert!(untried.is_empty(), "listed as refused, and never refused:\n{untried:#?}");
}

fn refusals(kind: &str, schema: &Value, all: &mut BTreeSet<(String, String)>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let field = field(kind, schema, name);
        if property[REFUSED] == true {
            all.insert((field.clone(), json!({"some": "value"}).to_string()));
        }
        let values = property[REFUSED_VALUES].as_array().into_iter().flatten();
        all.extend(values.map(|value| (field.clone(), value.to_string())));
        refusals(kind, property, all);
    }
    for inner in ["items", "additionalProperties"] {
        schema.get(inner).into_iter().for_each(|inner| refusals(kind, inner, all));
    }
}

#[test]
fn every_kind_of_the_mesh_has_an_example() {
    let had: BTreeSet<&str> = examples().iter().map(|(kind, ..)| *kind).collect();
    let wanted: BTreeSet<&str> =
        kind::Kind::all().filter(|kind| kind.is_mesh()).map(kind::Kind::name).collect();
    assert_eq!(had, wanted);
}
