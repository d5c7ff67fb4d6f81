//! Pure. Envoy's message descriptors, for reading and writing JSON and for naming fields.
//!
//! `envoy.binpb` holds the messages that a mesh's configuration can contain (`make descriptors`). Building the types
//! takes a few megabytes and some milliseconds, and a sidecar needs them only at its start, for a dump or to word
//! a refusal. So they are built on demand, and freed when their last holder drops them.

use prost_reflect::DescriptorPool;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The types. They are built unless a holder still keeps them.
pub(super) fn pool() -> Arc<DescriptorPool> {
    static POOL: Mutex<Weak<DescriptorPool>> = Mutex::new(Weak::new());
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    pool.upgrade().unwrap_or_else(|| {
        let built = DescriptorPool::decode(DESCRIPTORS).expect("a test reads the embedded descriptors");
        let built = Arc::new(built);
        *pool = Arc::downgrade(&built);
        built
    })
}

/// The name of the field with a number.
pub(super) fn field_name(message: &str, tag: u32) -> Option<String> {
    Some(pool().get_message_by_name(message)?.get_field(tag)?.name().to_owned())
}

const DESCRIPTORS: &[u8] = include_bytes!("envoy.binpb");
