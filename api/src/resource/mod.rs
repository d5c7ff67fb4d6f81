//! Pure. What users write: Kubernetes' and Istio's kinds as they stand in YAML, and their parser.
//!
//! The types hold every field that the kinds have, also those that are not served, so that a typing error is told
//! apart from a field that this version does not act on. What a field means, and whether its value makes sense,
//! is not decided here: pilot's `validate` does. Exists so that pilot and the tools read the same files alike, and
//! so that nobody believes a policy to be in force that was never read.

pub mod parse;

mod head;
mod yaml;

mod locate;

pub mod object;

pub mod crd;
pub mod support;

pub mod check;
pub mod relation;
pub mod verdict;
pub mod weight;

pub mod document;

pub mod mesh_config;

pub mod kind;

mod envelope;

pub mod strict;

pub mod descriptor;

pub mod column;

pub mod quantity;
pub mod selector;
pub mod name;

pub mod unserved;

pub mod schema;
