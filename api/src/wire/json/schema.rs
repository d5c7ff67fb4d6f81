//! Pure. Messages as JSON and back, by reflection over Envoy's descriptors.

use super::locate;
use crate::wire::any::type_name;
use crate::wire::descriptors;
use crate::wire::refusal::Refusal;
use crate::wire::xds::Any;
use base64::Engine;
use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Envoy's message types, for reading and writing JSON. It takes megabytes, so drop it after use.
pub struct Schema {
    pub(super) pool: Arc<DescriptorPool>,
}

impl Schema {
    /// Builds the types from their descriptors.
    pub fn load() -> Self {
        Self { pool: descriptors::pool() }
    }

    /// A message as JSON with Envoy's field names and its type under `@type`. Nested messages of unknown types are
    /// shown as bytes.
    pub fn to_json(&self, any: &Any) -> Value {
        self.fields(any).map_or_else(
            || opaque(any),
            |fields| {
                let mut object = Map::from_iter([("@type".to_owned(), Value::from(any.type_url.as_str()))]);
                object.extend(fields);
                Value::Object(object)
            },
        )
    }

    pub(super) fn fields(&self, any: &Any) -> Option<Map<String, Value>> {
        let descriptor = self.pool.get_message_by_name(type_name(&any.type_url))?;
        let message = DynamicMessage::decode(descriptor, any.value.as_slice()).ok()?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        match message.serialize_with_options(serde_json::value::Serializer, &options).ok()? {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// A message from JSON.
    pub(super) fn read<M: prost::Message + Name + Default>(&self, value: &Value) -> Result<M, Refusal> {
        let descriptor = self.message(&M::full_name());
        let message = DynamicMessage::deserialize(descriptor.clone(), value)
            .map_err(|error| locate::refusal(&self.pool, &descriptor, value, &error.to_string()))?;
        message.transcode_to().map_err(|error| Refusal::new(error.to_string()))
    }

    pub(super) fn message(&self, name: &str) -> MessageDescriptor {
        self.pool.get_message_by_name(name).expect("every root is among the embedded descriptors")
    }
}

/// Converts one message to JSON; for several, keep a `Schema`.
pub fn to_json(any: &Any) -> Value {
    Schema::load().to_json(any)
}

fn opaque(any: &Any) -> Value {
    let bytes = base64::engine::general_purpose::STANDARD.encode(&any.value);
    serde_json::json!({"@type": any.type_url, "value": bytes})
}
