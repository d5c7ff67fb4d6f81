//! Pure. The schema of a kind, generated from its types: structural, as Kubernetes requires of a CRD, and with marks
//! for refused fields, from which the tables of the documentation and their tests are generated.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Marks a field of which no value is supported.
pub const REFUSED: &str = "x-refused";
/// Lists values of an enumeration that are not supported.
pub const REFUSED_VALUES: &str = "x-refused-values";
/// The name of a message's type.
pub const MESSAGE: &str = "x-message";
/// Lists other spellings of a field.
pub const ALIASES: &str = "x-aliases";
/// Kubernetes preserves any content of the field.
pub const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// The schema of a type, with the marks.
pub fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut root = generator.into_root_schema_for::<T>().to_value();
    let definitions = root["$defs"].take();
    let mut schema = structural(root, &definitions);
    schema[MESSAGE] = T::schema_name().into_owned().into();
    schema
}

/// The schema without the marks, for a CRD.
pub fn without_marks(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, _)| ![REFUSED, REFUSED_VALUES, MESSAGE, ALIASES].contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), without_marks(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(without_marks).collect(),
        other => other.clone(),
    }
}

/// A schema without references, alternatives, `null` and defaults. The API server would write defaults into objects.
fn structural(schema: Value, definitions: &Value) -> Value {
    let Value::Object(mut fields) = schema else { return json!({PRESERVE: true}) };
    for dropped in ["$schema", "$defs", "title", "default", "required"] {
        fields.remove(dropped);
    }
    resolve(&mut fields, definitions);
    if let Some(Value::Array(types)) = fields.get("type") {
        let one = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
        fields.insert("type".into(), one);
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    bound(&mut fields);
    if let Some(Value::Object(properties)) = fields.remove("properties") {
        let mut all = Map::new();
        for (name, property) in properties {
            let property = structural(property, definitions);
            for alias in property[ALIASES].as_array().into_iter().flatten().filter_map(Value::as_str) {
                all.insert(alias.to_owned(), property.clone());
            }
            all.insert(name, property);
        }
        fields.insert("properties".into(), all.into());
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(found) = fields.remove(inner) {
            fields.insert(inner.into(), structural(found, definitions));
        }
    }
    Value::Object(fields)
}

/// Inlines the target of a reference and the alternative that is not `null`; merges constants with descriptions into
/// one enumeration. Fields beside the reference take precedence over the inlined ones.
fn resolve(fields: &mut Map<String, Value>, definitions: &Value) {
    while let Some(found) = next(fields, definitions) {
        let Value::Object(found) = found else { return };
        for (name, value) in found {
            if !["title", "default"].contains(&name.as_str()) {
                fields.entry(name).or_insert(value);
            }
        }
    }
}

fn next(fields: &mut Map<String, Value>, definitions: &Value) -> Option<Value> {
    if let Some(Value::String(reference)) = fields.remove("$ref") {
        let name = reference.strip_prefix("#/$defs/").unwrap_or(&reference).to_owned();
        let mut found = definitions[&name].clone();
        found[MESSAGE] = name.into();
        return Some(found);
    }
    if let Some(Value::Array(alternatives)) = fields.remove("anyOf") {
        return alternatives.into_iter().find(|one| one["type"] != "null");
    }
    let Some(Value::Array(alternatives)) = fields.remove("oneOf") else { return None };
    let names = alternatives.iter().flat_map(|one| match &one["enum"] {
        Value::Array(names) => names.clone(),
        _ => vec![one["const"].clone()],
    });
    let names: Vec<Value> = names.filter(|name| !name.is_null()).collect();
    Some(json!({"type": "string", "enum": names}))
}

/// Expresses the width of unsigned integers as bounds, because Kubernetes has formats of signed integers only.
fn bound(fields: &mut Map<String, Value>) {
    let most: Option<u64> = match fields.get("format").and_then(Value::as_str) {
        Some("uint8") => Some(u8::MAX.into()),
        Some("uint16") => Some(u16::MAX.into()),
        Some("uint32") => Some(u32::MAX.into()),
        Some("uint64" | "uint") => None,
        _ => return,
    };
    fields.remove("format");
    fields.insert("minimum".into(), 0.into());
    if let Some(most) = most {
        fields.insert("maximum".into(), most.into());
    } else {
        fields.insert("format".into(), "int64".into());
    }
}

#[cfg(test)]
mod tests;
