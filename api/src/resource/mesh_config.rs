//! Pure. MeshConfig: settings of the whole mesh, as they stand in the ConfigMap `istio` under `mesh`.

use super::kind::sidecar::OutboundTrafficPolicy;
use super::kind::virtual_service::Retries;
use super::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;

/// The fields that are acted on. Those that no process of this version reads are unknown to this type, so that
/// the strict reader refuses them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Trust domain of the mesh's identities.
    pub trust_domain: Option<String>,
    /// Namespace whose policies hold for the whole mesh.
    pub root_namespace: Option<String>,
    /// What happens to unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// Where sidecars write access logs; empty: nowhere.
    pub access_log_file: Option<String>,
    /// How a line looks.
    pub access_log_format: Option<String>,
    /// Text or JSON.
    pub access_log_encoding: Option<AccessLogEncoding>,
    /// How paths are spelled before anything looks at them.
    pub path_normalization: Option<PathNormalization>,
    /// For making connections.
    pub connect_timeout: Option<String>,
    /// How long to wait for a client's first bytes.
    pub protocol_detection_timeout: Option<String>,
    /// mTLS to endpoints that have a sidecar.
    pub enable_auto_mtls: Option<bool>,
    /// For routes without one of their own.
    pub default_http_retry_policy: Option<Retries>,
    /// For Services without one of their own.
    pub default_service_export_to: Option<Vec<String>>,
    /// For VirtualServices without one of their own.
    pub default_virtual_service_export_to: Option<Vec<String>>,
    /// For DestinationRules without one of their own.
    pub default_destination_rule_export_to: Option<Vec<String>>,
    /// Settings of proxies, which the injector reads.
    pub default_config: Option<serde_json::Value>,
    /// Names of the trust domain that are also taken.
    pub trust_domain_aliases: Unserved,
    /// Merged metrics, which the injector reads.
    pub enable_prometheus_merge: Option<bool>,
}

/// How paths are spelled before anything looks at them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    /// Which spellings become one.
    pub normalization: Normalization,
}

/// Which spellings of a path become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Normalization {
    /// `BASE`.
    #[default]
    Default,
    /// None: paths stay as they come.
    None,
    /// Dot segments, backslashes and needless escapes (RFC 3986).
    Base,
    /// Adjacent slashes too.
    MergeSlashes,
    /// Escaped slashes too, before they are merged.
    DecodeAndMergeSlashes,
}

/// How a line of the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLogEncoding {
    /// Text.
    Text,
    /// JSON.
    Json,
}
