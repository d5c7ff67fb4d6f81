//! Pure. Envoy's JSON: configuration files in, `/config_dump` out.
//!
//! The JSON form is protobuf's own, read and written by reflection over Envoy's descriptors.

mod dump;
mod bootstrap;
mod schema;
mod locate;

pub use bootstrap::{AdsSource, Bootstrap, BootstrapError};
pub use dump::{Entry, config_dump};
pub use schema::{Schema, to_json};

#[cfg(test)]
mod dropped;
#[cfg(test)]
mod tests;
