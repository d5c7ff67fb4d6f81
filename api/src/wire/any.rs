//! Pure. Messages inside `Any`, including `TypedStruct`, in which Istio sends types that stock Envoy lacks.

use super::istio::{TypedStruct, UdpaTypedStruct};
use super::refusal::{At, Refusal, refuse};
use super::stable::{self, Shape};
use super::xds::Any;
use prost::{Message, Name};

/// Packs a message into an `Any`.
pub(super) fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Packs a message that contains maps, with their entries sorted so that equal values have equal bytes.
pub(super) fn pack_in_order<M: Message + Name>(message: &M, shape: &Shape) -> Any {
    let mut any = pack(message);
    stable::sort_maps(&mut any.value, shape);
    any
}

/// Unpacks the message of an `Any`, which must have the given type.
pub(super) fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, Refusal> {
    if type_name(&any.type_url) != M::full_name() {
        return refuse(format!("holds {}, not {}", type_name(&any.type_url), M::full_name()));
    }
    M::decode(any.value.as_slice()).or_else(|e| refuse(format!("cannot be read: {e}")))
}

/// The full message name at the end of a type URL.
pub(super) fn type_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// The type of a configuration; for a `TypedStruct`, the type that it names.
pub(super) fn config_type(any: &Any) -> Result<String, Refusal> {
    let name = type_name(&any.type_url);
    let inner = if name == TypedStruct::full_name() {
        unpack::<TypedStruct>(any).at("typed_config")?.type_url
    } else if name == UdpaTypedStruct::full_name() {
        unpack::<UdpaTypedStruct>(any).at("typed_config")?.type_url
    } else {
        return Ok(name.to_owned());
    };
    Ok(type_name(&inner).to_owned())
}

/// The configuration of an extension.
pub(super) fn typed<M: Message + Name + Default>(any: &Any) -> Result<M, Refusal> {
    unpack(any).at("typed_config")
}
