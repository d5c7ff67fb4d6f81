//! Pure. Finds the field for which JSON could not be read, since the parser reports only what is wrong, not where.

use crate::wire::any::type_name;
use crate::wire::refusal::{At, Refusal};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The innermost field that cannot be read; `reason` is the parser's error for the whole message.
pub(super) fn refusal(
    pool: &DescriptorPool,
    kind: &MessageDescriptor,
    value: &Value,
    reason: &str,
) -> Refusal {
    inside(pool, kind, value).err().unwrap_or_else(|| Refusal::new(reason))
}

/// Checks the fields of a message.
fn inside(pool: &DescriptorPool, kind: &MessageDescriptor, value: &Value) -> Result<(), Refusal> {
    let Value::Object(fields) = value else { return Ok(()) };
    if kind.full_name() == "google.protobuf.Any" {
        return inside_any(pool, fields);
    }
    if kind.full_name().starts_with("google.protobuf.") {
        return Ok(());
    }
    for (key, value) in fields {
        let Some(field) = kind.get_field_by_json_name(key).or_else(|| kind.get_field_by_name(key)) else {
            return Err(Refusal::new("is not a known field")).at(key);
        };
        field_value(pool, kind, &field, key, value)?;
    }
    Ok(())
}

fn inside_any(pool: &DescriptorPool, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(url) = fields.get("@type").and_then(Value::as_str) else {
        return Err(Refusal::new("is missing")).at("@type");
    };
    let Some(kind) = pool.get_message_by_name(type_name(url)) else {
        return Err(Refusal::new(format!("type {url} is not supported"))).at("@type");
    };
    let mut rest = fields.clone();
    rest.remove("@type");
    inside(pool, &kind, &Value::Object(rest))
}

fn field_value(
    pool: &DescriptorPool,
    owner: &MessageDescriptor,
    field: &FieldDescriptor,
    key: &str,
    value: &Value,
) -> Result<(), Refusal> {
    let Err(error) = DynamicMessage::deserialize(owner.clone(), &json!({key: value})) else { return Ok(()) };
    let message = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind().as_message().cloned(),
        kind => kind.as_message().cloned(),
    };
    if let Some(kind) = message {
        match value {
            Value::Array(items) if field.is_list() => {
                for (i, item) in items.iter().enumerate() {
                    inside(pool, &kind, item).at_item(key, i)?;
                }
            }
            Value::Object(entries) if field.is_map() => {
                for (name, entry) in entries {
                    inside(pool, &kind, entry).at_item(key, name)?;
                }
            }
            single => inside(pool, &kind, single).at(key)?,
        }
    }
    Err(Refusal::new(error.to_string())).at(key)
}
