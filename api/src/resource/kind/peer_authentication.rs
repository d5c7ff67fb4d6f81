//! Pure. `PeerAuthentication`: which callers a workload takes.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{Descriptor, SECURITY, SECURITY_CATEGORIES, SECURITY_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::LabelSelector;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind.
pub const KIND: Descriptor = Descriptor {
    group: SECURITY,
    kind: "PeerAuthentication",
    plural: "peerauthentications",
    short: &["pa"],
    categories: SECURITY_CATEGORIES,
    namespaced: true,
    versions: SECURITY_VERSIONS,
    columns: &[Column::path("MODE", ".spec.mtls.mode", "Which callers are taken."), AGE],
    schema: Some(schema::of::<PeerAuthentication>),
};

/// The `spec` of a PeerAuthentication.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Whose; the whole namespace when absent, the whole mesh in the root namespace.
    pub selector: Option<LabelSelector>,
    /// For all ports.
    pub mtls: Option<MutualTls>,
    /// For single ports of the workload; absent is not the same as empty.
    pub port_level_mtls: Option<BTreeMap<String, MutualTls>>,
}

/// Which callers are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// The mode; inherited when absent.
    pub mode: Option<MutualTlsMode>,
}

/// The modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the next wider scope says.
    Unset,
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// mTLS only.
    Strict,
}
