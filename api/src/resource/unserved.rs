//! Pure. The type of fields that a kind has and that this version refuses.

use super::schema::{PRESERVE, REFUSED};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// A field of a kind that this version does not support. It is refused with any value, except one that means the same
/// as no value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Unserved(Option<Value>);

impl JsonSchema for Unserved {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Unserved".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({PRESERVE: true, REFUSED: true})
    }
}

impl Unserved {
    /// The value as written, even if it means the same as no value.
    pub fn written(&self) -> Option<&Value> {
        self.0.as_ref()
    }

    /// Whether the field has a value that this version would have to support.
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|value| !is_default(value))
    }
}

/// Whether protobuf cannot distinguish the value from an absent field.
pub fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    }
}
