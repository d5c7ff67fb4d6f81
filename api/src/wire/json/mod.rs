//! Pure. Envoy's JSON: configuration files in, `/config_dump` out.
//!
//! The JSON form is protobuf's own, read and written by reflection over Envoy's descriptors.

mod dump;
mod bootstrap;
mod locate;

use super::any::type_name;
use super::descriptors;
use super::refusal::Refusal;
use super::xds::Any;
use base64::Engine;
use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value};
use std::sync::Arc;

pub use bootstrap::{AdsSource, Bootstrap, BootstrapError};
pub use dump::{Entry, config_dump};

/// Envoy's message types, for reading and writing JSON. It takes megabytes, so drop it after use.
pub struct Schema {
    pool: Arc<DescriptorPool>,
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

    /// A bootstrap from YAML or JSON text.
    pub fn bootstrap(&self, text: &str) -> Result<Bootstrap, BootstrapError> {
        bootstrap::parse(self, text)
    }

    /// A bootstrap as JSON, without its private keys.
    pub fn bootstrap_to_json(&self, start: &Bootstrap) -> Value {
        Value::Object(self.fields(&dump::without_keys(start)).unwrap_or_default())
    }

    fn fields(&self, any: &Any) -> Option<Map<String, Value>> {
        let descriptor = self.pool.get_message_by_name(type_name(&any.type_url))?;
        let message = DynamicMessage::decode(descriptor, any.value.as_slice()).ok()?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        match message.serialize_with_options(serde_json::value::Serializer, &options).ok()? {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// A message from JSON.
    fn read<M: prost::Message + Name + Default>(&self, value: &Value) -> Result<M, Refusal> {
        let descriptor = self.message(&M::full_name());
        let message = DynamicMessage::deserialize(descriptor.clone(), value)
            .map_err(|error| locate::refusal(&self.pool, &descriptor, value, &error.to_string()))?;
        message.transcode_to().map_err(|error| Refusal::new(error.to_string()))
    }

    fn message(&self, name: &str) -> MessageDescriptor {
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

#[cfg(test)]
mod dropped;
#[cfg(test)]
mod tests;
