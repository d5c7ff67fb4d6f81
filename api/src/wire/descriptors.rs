//! Pure. Envoy's message descriptors, for reading and writing JSON and for naming fields.
//!
//! `envoy.binpb` holds what a mesh's configuration reaches (`make descriptors`). The types take a few megabytes
//! and some milliseconds to build, and a sidecar needs them only at its start, for a dump or to word a refusal;
//! so they are built for those who need them, and dropped when nobody holds them.

use prost_reflect::DescriptorPool;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The types, built unless somebody holds them.
pub(super) fn pool() -> Arc<DescriptorPool> {
    static HELD: Mutex<Weak<DescriptorPool>> = Mutex::new(Weak::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.upgrade().unwrap_or_else(|| {
        let built = DescriptorPool::decode(DESCRIPTORS).expect("a test reads the embedded descriptors");
        let built = Arc::new(built);
        *held = Arc::downgrade(&built);
        built
    })
}

/// The name of a field that is known by its number.
pub(super) fn field_name(message: &str, tag: u32) -> Option<String> {
    Some(pool().get_message_by_name(message)?.get_field(tag)?.name().to_owned())
}

const DESCRIPTORS: &[u8] = include_bytes!("envoy.binpb");
