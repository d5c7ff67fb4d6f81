//! Pure. The envelope of the mesh's kinds: `apiVersion`, `kind`, `metadata`, `spec` and `status`.

use super::strict::{self, Fault};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "fields are named so that they are not taken for unknown ones")]
struct Envelope<S> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: Option<Value>,
}

/// The `spec` of an object.
pub(in crate::resource) fn spec<S: DeserializeOwned + Default>(value: &Value) -> Result<Box<S>, Vec<Fault>> {
    strict::read::<Envelope<S>>(value).map(|envelope| Box::new(envelope.spec))
}
