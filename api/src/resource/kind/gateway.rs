//! Pure. Istio's `Gateway`: the servers of gateway proxies.

use crate::resource::column::AGE;
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind's descriptor.
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
    /// Labels of the gateway proxies; empty: all gateways.
    pub selector: BTreeMap<String, String>,
    /// Servers of these proxies.
    pub servers: Vec<Server>,
}

/// A server: a port of a gateway with its hosts and TLS settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Port of the gateway's Service.
    pub port: Option<ServerPort>,
    /// Address to bind.
    pub bind: Unserved,
    /// Hosts, with the prefix `namespace/` if only routes of that namespace may use them.
    pub hosts: Vec<String>,
    /// TLS settings.
    pub tls: Option<ServerTls>,
    /// Name of the server.
    pub name: String,
    /// Default backend; unused in Istio.
    pub default_endpoint: Unserved,
}

/// The port of a server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerPort {
    /// Port number.
    pub number: u32,
    /// Protocol.
    pub protocol: String,
    /// Port name.
    pub name: String,
    /// Port of the workload, if it differs.
    pub target_port: Unserved,
}

/// TLS settings of a server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// Redirect plaintext HTTP requests to HTTPS.
    pub https_redirect: bool,
    /// TLS mode; `PASSTHROUGH` if absent.
    pub mode: Option<ServerTlsMode>,
    /// File with the certificate chain.
    pub server_certificate: String,
    /// File with the private key.
    pub private_key: String,
    /// File with the CA certificates that verify clients.
    pub ca_certificates: String,
    /// Secret with the certificate, key and CA certificates.
    pub credential_name: String,
    /// Names of several secrets.
    pub credential_names: Unserved,
    /// Secret with the CA certificates.
    pub ca_cert_credential_name: Unserved,
    /// Several certificates from files.
    pub tls_certificates: Unserved,
    /// Accepted subject alternative names of clients.
    pub subject_alt_names: Vec<String>,
    /// Accepted public keys of clients, as hashes.
    pub verify_certificate_spki: Unserved,
    /// Accepted certificates of clients, as hashes.
    pub verify_certificate_hash: Unserved,
    /// Minimum TLS version.
    pub min_protocol_version: Option<TlsVersion>,
    /// Maximum TLS version.
    pub max_protocol_version: Option<TlsVersion>,
    /// Allowed cipher suites.
    pub cipher_suites: Unserved,
    /// Allowed curves for the key exchange.
    pub ecdh_curves: Unserved,
    /// Certificate revocation list.
    pub ca_crl: Unserved,
    /// Do not verify clients' certificates.
    pub insecure_skip_verify: Unserved,
}

/// TLS modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(extend("x-refused-values" = ["AUTO_PASSTHROUGH", "OPTIONAL_MUTUAL"]))]
pub enum ServerTlsMode {
    /// Routed by SNI without decryption.
    Passthrough,
    /// TLS; clients are not authenticated.
    Simple,
    /// Mutual TLS: clients must send a certificate.
    Mutual,
    /// Routed by SNI without decryption, to the service that the SNI names.
    AutoPassthrough,
    /// Mutual TLS with the mesh's certificates.
    IstioMutual,
    /// TLS; clients may send a certificate.
    OptionalMutual,
}

/// TLS versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[allow(non_camel_case_types, reason = "the names are Istio's")]
#[schemars(extend("x-refused-values" = ["TLSV1_0", "TLSV1_1"]))]
pub enum TlsVersion {
    /// The default.
    TLS_AUTO,
    /// TLS 1.0.
    TLSV1_0,
    /// TLS 1.1.
    TLSV1_1,
    /// TLS 1.2.
    TLSV1_2,
    /// TLS 1.3.
    TLSV1_3,
}
