//! Pure. A field that a kind has and that is refused.

use super::schema::{PRESERVE, REFUSED};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// A field that exists in the kind and that this version does not serve: whatever it holds, it is refused, but for a
/// value that means the same as none.
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
    /// What the user wrote, also where it means the same as none.
    pub fn written(&self) -> Option<&Value> {
        self.0.as_ref()
    }

    /// Whether the field holds something that would have to be acted on.
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|value| !is_default(value))
    }
}

/// What protobuf does not tell apart from an absent field.
pub fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    }
}
