//! Pure. `PeerAuthentication`: whether a workload accepts plaintext, mutual TLS or both.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{Descriptor, SECURITY, SECURITY_CATEGORIES, SECURITY_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::LabelSelector;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind's descriptor.
pub const KIND: Descriptor = Descriptor {
    group: SECURITY,
    kind: "PeerAuthentication",
    plural: "peerauthentications",
    short: &["pa"],
    categories: SECURITY_CATEGORIES,
    namespaced: true,
    versions: SECURITY_VERSIONS,
    columns: &[Column::path("MODE", ".spec.mtls.mode", "Mutual TLS mode."), AGE],
    schema: Some(schema::of::<PeerAuthentication>),
};

/// The `spec` of a PeerAuthentication.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Workloads to which the policy applies; if absent: the namespace, or the whole mesh in the root namespace.
    pub selector: Option<LabelSelector>,
    /// Mutual TLS settings for all ports.
    pub mtls: Option<MutualTls>,
    /// Mutual TLS settings for individual ports of the workload. An empty map differs from an absent one.
    pub port_level_mtls: Option<BTreeMap<String, MutualTls>>,
}

/// Mutual TLS settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// Mode; inherited if absent.
    pub mode: Option<MutualTlsMode>,
}

/// Mutual TLS modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// Inherited from the next wider scope.
    Unset,
    /// Only plaintext is accepted.
    Disable,
    /// Plaintext and mutual TLS are accepted.
    Permissive,
    /// Only mutual TLS is accepted.
    Strict,
}
