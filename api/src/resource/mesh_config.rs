//! Pure. MeshConfig: settings of the whole mesh, from the key `mesh` of the ConfigMap `istio`.

use super::kind::sidecar::OutboundTrafficPolicy;
use super::kind::virtual_service::Retries;
use super::selector::requirement::{Expression, RequirementError, Selector};
use super::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The supported fields. Fields that no process of this version reads are not in this type, so the strict reader
/// refuses them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Trust domain of the mesh's identities.
    pub trust_domain: Option<String>,
    /// Namespace whose policies apply to the whole mesh.
    pub root_namespace: Option<String>,
    /// Policy for unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// File to which sidecars write access logs; empty: no access log.
    pub access_log_file: Option<String>,
    /// Format of an access log line.
    pub access_log_format: Option<String>,
    /// Text or JSON.
    pub access_log_encoding: Option<AccessLogEncoding>,
    /// Normalization of paths before they are matched.
    pub path_normalization: Option<PathNormalization>,
    /// Timeout for establishing connections.
    pub connect_timeout: Option<String>,
    /// How long to wait for a client's first bytes.
    pub protocol_detection_timeout: Option<String>,
    /// Whether proxies use mTLS to endpoints that have a sidecar.
    pub enable_auto_mtls: Option<bool>,
    /// Retry policy of routes without their own.
    pub default_http_retry_policy: Option<Retries>,
    /// `exportTo` of Services without their own.
    pub default_service_export_to: Option<Vec<String>>,
    /// `exportTo` of VirtualServices without their own.
    pub default_virtual_service_export_to: Option<Vec<String>>,
    /// `exportTo` of DestinationRules without their own.
    pub default_destination_rule_export_to: Option<Vec<String>>,
    /// Settings of proxies, which the injector reads.
    pub default_config: Option<serde_json::Value>,
    /// Further accepted names of the trust domain.
    pub trust_domain_aliases: Unserved,
    /// Merged metrics, which the injector reads.
    pub enable_prometheus_merge: Option<bool>,
    /// The namespaces that belong to the mesh: those that any of these selectors selects; all if there is none.
    pub discovery_selectors: Vec<NamespaceSelector>,
    /// Which Ingresses gateways serve.
    pub ingress_controller_mode: Option<IngressControllerMode>,
    /// The class of those Ingresses, in the annotation `kubernetes.io/ingress.class`; `istio` by default.
    pub ingress_class: Option<String>,
    /// The value of the label `istio` of the gateway pods that serve Ingresses.
    pub ingress_selector: Option<String>,
    /// The gateway's Service in the root namespace, whose addresses are written to Ingresses.
    pub ingress_service: Option<String>,
}

/// Selects namespaces by labels; all of its requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSelector {
    /// Labels that a namespace must have.
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    pub match_expressions: Vec<NamespaceRequirement>,
}

impl NamespaceSelector {
    /// Checks the selector. One without requirements selects every namespace.
    pub fn parse(&self) -> Result<Selector, RequirementError> {
        let labels = self.match_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let expressions: Vec<Expression> = self
            .match_expressions
            .iter()
            .map(|one| Expression { key: &one.key, operator: &one.operator, values: &one.values })
            .collect();
        Selector::of_object(labels, &expressions)
    }
}

/// Whether a namespace belongs to the mesh: there is no selector, or one of them selects its labels. Kubernetes labels each
/// namespace with its name, which also holds where there is no API server, and for a namespace without an object.
pub fn discovers(selectors: &[Selector], name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |label: &str| {
        let written = labels.and_then(|labels| labels.get(label)).map(String::as_str);
        written.or_else(|| (label == NAME_LABEL).then_some(name))
    };
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(value))
}

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A requirement on a label of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceRequirement {
    /// Name of the label.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: String,
    /// Values of the label.
    pub values: Vec<String>,
}

/// Which Ingresses gateways serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IngressControllerMode {
    /// None, whatever their class.
    Unspecified,
    /// None, whatever their class.
    Off,
    /// Those of the class, and those that name no class.
    Default,
    /// Those of the class.
    Strict,
}

/// How paths are spelled before anything looks at them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    /// How paths are normalized.
    pub normalization: Normalization,
}

/// How paths are normalized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Normalization {
    /// `BASE`.
    #[default]
    Default,
    /// Paths stay unchanged.
    None,
    /// Resolve dot segments, backslashes and unnecessary escapes (RFC 3986).
    Base,
    /// As `Base`, and merge adjacent slashes.
    MergeSlashes,
    /// As `MergeSlashes`, after decoding escaped slashes.
    DecodeAndMergeSlashes,
}

/// Encoding of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLogEncoding {
    /// Text.
    Text,
    /// JSON.
    Json,
}
