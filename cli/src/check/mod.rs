//! Pure. What `ostria check` finds: each file turns values that were read from a cluster into findings.

pub mod data_plane;
pub mod definition;
pub mod platform;
pub mod readiness;
pub mod rival;
pub mod trust;
pub mod unsupported;

pub mod permission;
pub mod plane;
pub mod selection;

pub mod finding;
pub mod owner;
