//! Pure. `Sidecar`: limits the configuration of a namespace's or workload's proxies to a part of the mesh.

use crate::resource::column::AGE;
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::WorkloadSelector;
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;

/// The kind's descriptor.
pub const KIND: Descriptor = Descriptor {
    group: NETWORKING,
    kind: "Sidecar",
    plural: "sidecars",
    short: &[],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[AGE],
    schema: Some(schema::of::<Sidecar>),
};

/// The `spec` of a Sidecar.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// Workloads to which it applies; if absent: the whole namespace.
    pub workload_selector: Option<WorkloadSelector>,
    /// Custom inbound listeners.
    pub ingress: Unserved,
    /// Visible services; all if empty.
    pub egress: Vec<EgressListener>,
    /// Limits on inbound connections.
    pub inbound_connection_pool: Unserved,
    /// Policy for unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// Visible hosts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListener {
    /// Port of the listener.
    pub port: Unserved,
    /// Address to bind.
    pub bind: Unserved,
    /// How traffic is captured.
    pub capture_mode: Unserved,
    /// Visible hosts as `namespace/host`; the namespace may be `*`, `.` or `~`.
    pub hosts: Vec<String>,
}

/// Policy for unknown destinations.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Whether unknown destinations are allowed.
    pub mode: Option<OutboundMode>,
    /// Proxy to which unknown traffic is forwarded.
    pub egress_proxy: Unserved,
}

/// Whether unknown destinations are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(extend("x-refused-values" = ["ALLOW_ANY_DYNAMIC_DNS"]))]
pub enum OutboundMode {
    /// Unknown destinations are blocked.
    RegistryOnly,
    /// Unknown destinations are allowed.
    AllowAny,
    /// Unknown destinations are allowed; the proxy resolves their names.
    AllowAnyDynamicDns,
}
