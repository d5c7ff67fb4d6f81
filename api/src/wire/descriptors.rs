//! Pure. Envoy's message descriptors, for reading and writing JSON and for naming fields.
//!
//! `envoy.binpb` holds what a mesh's configuration reaches (`make descriptors`). The types take a few megabytes
//! and some milliseconds to build, and a sidecar needs them only at its start, for a dump or to word a refusal;
//! so whoever needs them builds and drops them.

use prost_reflect::DescriptorPool;

/// Builds the types.
pub(super) fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).expect("a test reads the embedded descriptors")
}

/// The name of a field that is known by its number.
pub(super) fn field_name(message: &str, tag: u32) -> Option<String> {
    Some(pool().get_message_by_name(message)?.get_field(tag)?.name().to_owned())
}

const DESCRIPTORS: &[u8] = include_bytes!("envoy.binpb");
