//! Pure. `ServiceEntry`: services that Kubernetes does not know.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::{Port, WorkloadSelector};
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind.
pub const KIND: Descriptor = Descriptor {
    group: NETWORKING,
    kind: "ServiceEntry",
    plural: "serviceentries",
    short: &["se"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[
        Column::path("HOSTS", ".spec.hosts", "The names of the service."),
        Column::path("LOCATION", ".spec.location", "Inside or outside the mesh."),
        Column::path("RESOLUTION", ".spec.resolution", "How its endpoints are found."),
        AGE,
    ],
    schema: Some(schema::of::<ServiceEntry>),
};

/// The `spec` of a ServiceEntry.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// Its names.
    pub hosts: Vec<String>,
    /// Its virtual addresses.
    pub addresses: Vec<String>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Inside or outside the mesh.
    pub location: Option<Location>,
    /// How its endpoints are found.
    pub resolution: Option<Resolution>,
    /// Its endpoints; an empty list is not the same as none.
    pub endpoints: Option<Vec<WorkloadEntry>>,
    /// Its endpoints by label.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
    /// Names its endpoints' certificates must have.
    pub subject_alt_names: Vec<String>,
}

/// Inside or outside the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside: no mTLS.
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// How endpoints are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(extend("x-refused-values" = ["DYNAMIC_DNS"]))]
pub enum Resolution {
    /// The address the client wanted.
    None,
    /// Those given.
    Static,
    /// All addresses of the name.
    Dns,
    /// One address of the name.
    DnsRoundRobin,
    /// Looked up per request.
    DynamicDns,
}

/// One endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// IP address, name, or `unix://` path.
    pub address: String,
    /// Its ports by the names of the service's.
    pub ports: BTreeMap<String, u32>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network.
    pub network: Unserved,
    /// Its place.
    pub locality: Unserved,
    /// Its share of the load.
    pub weight: Option<u32>,
    /// Its service account.
    pub service_account: String,
}
