//! Pure. `Sidecar`: what the proxies of a namespace or workload see of the mesh.

use crate::resource::column::AGE;
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::WorkloadSelector;
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;

/// The kind.
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
    /// Whose; all of the namespace when absent.
    pub workload_selector: Option<WorkloadSelector>,
    /// Own inbound listeners.
    pub ingress: Unserved,
    /// What is seen; everything when empty.
    pub egress: Vec<EgressListener>,
    /// Limits of inbound connections.
    pub inbound_connection_pool: Unserved,
    /// What happens to unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// Hosts that are seen.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListener {
    /// Only on this port.
    pub port: Unserved,
    /// On this address.
    pub bind: Unserved,
    /// How it is captured.
    pub capture_mode: Unserved,
    /// `namespace/host` with `*`, `.` and `~` as namespaces.
    pub hosts: Vec<String>,
}

/// What happens to unknown destinations.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Reached or not.
    pub mode: Option<OutboundMode>,
    /// Through this proxy.
    pub egress_proxy: Unserved,
}

/// Whether unknown destinations are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(extend("x-refused-values" = ["ALLOW_ANY_DYNAMIC_DNS"]))]
pub enum OutboundMode {
    /// No.
    RegistryOnly,
    /// Yes.
    AllowAny,
    /// Yes, with the names resolved by the proxy.
    AllowAnyDynamicDns,
}
