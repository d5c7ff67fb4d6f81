//! Pure. `ServiceEntry`: services that are not Kubernetes Services.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::{Port, WorkloadSelector};
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind's descriptor.
pub const KIND: Descriptor = Descriptor {
    group: NETWORKING,
    kind: "ServiceEntry",
    plural: "serviceentries",
    short: &["se"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[
        Column::path("HOSTS", ".spec.hosts", "Hosts of the service."),
        Column::path("LOCATION", ".spec.location", "Whether the service is inside or outside the mesh."),
        Column::path("RESOLUTION", ".spec.resolution", "How the endpoints are resolved."),
        AGE,
    ],
    schema: Some(schema::of::<ServiceEntry>),
};

/// The `spec` of a ServiceEntry.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// Hosts of the service.
    pub hosts: Vec<String>,
    /// Virtual IP addresses of the service.
    pub addresses: Vec<String>,
    /// Ports of the service.
    pub ports: Vec<Port>,
    /// Whether the service is inside or outside the mesh.
    pub location: Option<Location>,
    /// How the endpoints are resolved.
    pub resolution: Option<Resolution>,
    /// Endpoints of the service. An empty list differs from an absent one.
    pub endpoints: Option<Vec<WorkloadEntry>>,
    /// Selects the endpoints by labels.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces to which the service is exported.
    pub export_to: Vec<String>,
    /// Accepted subject alternative names of the endpoints' certificates.
    pub subject_alt_names: Vec<String>,
}

/// Whether the service is inside or outside the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside the mesh; no mutual TLS.
    MeshExternal,
    /// Inside the mesh.
    MeshInternal,
}

/// How endpoints are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(extend("x-refused-values" = ["DYNAMIC_DNS"]))]
pub enum Resolution {
    /// The original destination address.
    None,
    /// The listed endpoints.
    Static,
    /// All addresses to which the DNS name resolves.
    Dns,
    /// One of the addresses to which the DNS name resolves.
    DnsRoundRobin,
    /// The DNS name is resolved for each request.
    DynamicDns,
}

/// An endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// IP address, DNS name, or `unix://` path.
    pub address: String,
    /// Ports of the endpoint, by the name of the service's port.
    pub ports: BTreeMap<String, u32>,
    /// Labels of the endpoint.
    pub labels: BTreeMap<String, String>,
    /// Network of the endpoint.
    pub network: Unserved,
    /// Locality of the endpoint: `region/zone/sub-zone`, of which the last parts may be missing.
    pub locality: String,
    /// Load balancing weight of the endpoint.
    pub weight: Option<u32>,
    /// Service account of the endpoint.
    pub service_account: String,
}
