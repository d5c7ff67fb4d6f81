//! Pure. Istio's `Gateway`: what a gateway proxy listens to.

use crate::resource::column::AGE;
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind.
pub const KIND: Descriptor = Descriptor {
    group: NETWORKING,
    kind: "Gateway",
    plural: "gateways",
    short: &["gw"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[AGE],
    schema: Some(schema::of::<Gateway>),
};

/// The `spec` of a Gateway.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Labels of the proxies it is for; empty: every gateway.
    pub selector: BTreeMap<String, String>,
    /// What they listen to.
    pub servers: Vec<Server>,
}

/// One port of a gateway.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// The port of the gateway's Service.
    pub port: Option<ServerPort>,
    /// Address to bind.
    pub bind: Unserved,
    /// Hosts, with `namespace/` where only routes of one namespace may use them.
    pub hosts: Vec<String>,
    /// TLS of the server.
    pub tls: Option<ServerTls>,
    /// Name of the server.
    pub name: String,
    /// Never used by anyone.
    pub default_endpoint: Unserved,
}

/// The port of a server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerPort {
    /// The number.
    pub number: u32,
    /// What it speaks.
    pub protocol: String,
    /// Its name.
    pub name: String,
    /// Another port of the workload.
    pub target_port: Unserved,
}

/// TLS of a server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// Answer plain HTTP with a redirect.
    pub https_redirect: bool,
    /// Which kind; pass-through when absent.
    pub mode: Option<ServerTlsMode>,
    /// File with the chain.
    pub server_certificate: String,
    /// File with the key.
    pub private_key: String,
    /// File with the roots for callers.
    pub ca_certificates: String,
    /// Secret with all of these.
    pub credential_name: String,
    /// Several secrets.
    pub credential_names: Unserved,
    /// Secret with the roots.
    pub ca_cert_credential_name: Unserved,
    /// Several files.
    pub tls_certificates: Unserved,
    /// Names that callers must have.
    pub subject_alt_names: Vec<String>,
    /// Pinned keys.
    pub verify_certificate_spki: Unserved,
    /// Pinned certificates.
    pub verify_certificate_hash: Unserved,
    /// Lowest version.
    pub min_protocol_version: Option<TlsVersion>,
    /// Highest version.
    pub max_protocol_version: Option<TlsVersion>,
    /// Allowed suites.
    pub cipher_suites: Unserved,
    /// Allowed curves.
    pub ecdh_curves: Unserved,
    /// Revoked certificates.
    pub ca_crl: Unserved,
    /// Take any caller.
    pub insecure_skip_verify: Unserved,
}

/// Kinds of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(extend("x-refused-values" = ["AUTO_PASSTHROUGH", "OPTIONAL_MUTUAL"]))]
pub enum ServerTlsMode {
    /// Routed by SNI, not decrypted.
    Passthrough,
    /// Server certificate only.
    Simple,
    /// Callers show a certificate.
    Mutual,
    /// Routed by SNI to the service it names.
    AutoPassthrough,
    /// Callers show one of the mesh's certificates.
    IstioMutual,
    /// Callers may show a certificate.
    OptionalMutual,
}

/// TLS versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[allow(non_camel_case_types, reason = "the names are Istio's")]
#[schemars(extend("x-refused-values" = ["TLSV1_0", "TLSV1_1"]))]
pub enum TlsVersion {
    /// The default.
    TLS_AUTO,
    /// 1.0
    TLSV1_0,
    /// 1.1
    TLSV1_1,
    /// 1.2
    TLSV1_2,
    /// 1.3
    TLSV1_3,
}
