//! Pure. The resources that users write: Kubernetes' and Istio's kinds as they appear in YAML, and their parser.
//!
//! The types have every field of the kinds, also unsupported ones, so that the parser can distinguish a typing error
//! from a field that this version does not support. The meaning of fields and the validity of their values are
//! checked in pilot's `validate`, not here. Exists so that pilot and the tools read the same files in the same way,
//! and so that no policy is silently ignored.

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
