//! Pure. What users write: Kubernetes' and Istio's kinds as they stand in YAML, and their parser.
//!
//! The types hold every field that the kinds have, also those that are not served, so that a typing error is told
//! apart from a field that this version does not act on. What a field means, and whether its value makes sense,
//! is not decided here: pilot's `validate` does. Exists so that pilot and the tools read the same files alike, and
//! so that nobody believes a policy to be in force that was never read.

pub mod parse;

mod head;
mod yaml;

pub mod locate;

pub mod strict;

mod instead;

pub mod object;

pub mod check;
pub mod weight;

pub mod document;

pub mod kind;
pub mod name;
pub mod quantity;

pub mod destination_rule;
pub mod gateway;
pub mod mesh_config;
pub mod peer_authentication;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;

pub mod selector;

/// A field that exists in the kind and that this version does not serve: whatever it holds, it is refused.
pub type Unserved = Option<serde_json::Value>;
