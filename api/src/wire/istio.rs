//! Pure. Istio's small messages, which no published crate has, with Istio's field numbers.
//!
//! `TypedStruct` (of xDS and of its older home `udpa`), the ALPN filter, workload discovery (`istio.workload`)
//! and the name table (`istio.networking.nds.v1`).

use envoy_types::pb::google::protobuf::{Any, Struct};
use prost::{Message, Name};
use std::collections::BTreeMap;

/// Configuration as JSON, with the type URL of the message that it stands for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypedStruct {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<Struct>,
}

impl Name for TypedStruct {
    const NAME: &'static str = "TypedStruct";
    const PACKAGE: &'static str = "xds.type.v3";

    fn type_url() -> String {
        type_url("xds.type.v3.TypedStruct")
    }
}

/// `TypedStruct` under its older name, which Istio still sends.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UdpaTypedStruct {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<Struct>,
}

impl Name for UdpaTypedStruct {
    const NAME: &'static str = "TypedStruct";
    const PACKAGE: &'static str = "udpa.type.v1";

    fn type_url() -> String {
        type_url("udpa.type.v1.TypedStruct")
    }
}

/// Configuration of `istio.alpn`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Alpn {
    #[prost(message, repeated, tag = "1")]
    pub(super) alpn_override: Vec<AlpnOverride>,
}

/// ALPN protocols to offer for requests of one protocol (0: HTTP/1.0, 1: HTTP/1.1, 2: HTTP/2).
#[derive(Clone, PartialEq, Message)]
pub(super) struct AlpnOverride {
    #[prost(int32, tag = "1")]
    pub(super) upstream_protocol: i32,
    #[prost(string, repeated, tag = "2")]
    pub(super) alpn_override: Vec<String>,
}

impl Name for Alpn {
    const NAME: &'static str = "FilterConfig";
    const PACKAGE: &'static str = "istio.envoy.config.filter.http.alpn.v2alpha1";

    fn type_url() -> String {
        type_url(ALPN)
    }
}

/// The workload or service at an address.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Address {
    #[prost(message, optional, tag = "1")]
    pub(super) workload: Option<Workload>,
    /// A service, as undecoded bytes: proxies request workloads only.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) service: Option<Vec<u8>>,
}

impl Name for Address {
    const NAME: &'static str = "Address";
    const PACKAGE: &'static str = "istio.workload";

    fn type_url() -> String {
        type_url("istio.workload.Address")
    }
}

/// One workload; fields that only tunnels and gateways need are skipped.
#[derive(Clone, PartialEq, Message)]
#[allow(clippy::struct_field_names)] // as Istio names them
pub(super) struct Workload {
    #[prost(string, tag = "20")]
    pub(super) uid: String,
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) addresses: Vec<Vec<u8>>,
    #[prost(string, tag = "6")]
    pub(super) trust_domain: String,
    #[prost(string, tag = "7")]
    pub(super) service_account: String,
    #[prost(string, tag = "10")]
    pub(super) canonical_name: String,
    #[prost(string, tag = "11")]
    pub(super) canonical_revision: String,
    #[prost(string, tag = "13")]
    pub(super) workload_name: String,
    #[prost(string, tag = "18")]
    pub(super) cluster_id: String,
    #[prost(message, repeated, tag = "26")]
    pub(super) extensions: Vec<Extension>,
}

/// An extension of a workload.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Extension {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) config: Option<Any>,
}

/// The host names that a proxy's DNS server resolves.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NameTable {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) table: BTreeMap<String, NameInfo>,
}

impl Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";

    fn type_url() -> String {
        type_url("istio.networking.nds.v1.NameTable")
    }
}

/// The addresses and the origin of one host name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NameInfo {
    #[prost(string, repeated, tag = "1")]
    pub(super) ips: Vec<String>,
    #[prost(string, tag = "2")]
    pub(super) registry: String,
    #[prost(string, tag = "3")]
    pub(super) shortname: String,
    #[prost(string, tag = "4")]
    pub(super) namespace: String,
}

/// The type URL of a full message name.
pub(super) fn type_url(name: &str) -> String {
    format!("type.googleapis.com/{name}")
}

/// Type of the ALPN filter's configuration.
pub(super) const ALPN: &str = "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig";
/// Type of the metrics filter's configuration.
pub(super) const STATS: &str = "stats.PluginConfig";
/// Type of the HTTP peer metadata filter's configuration.
pub(super) const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";
/// Type of the TCP peer metadata filter's configuration.
pub(super) const METADATA_EXCHANGE: &str = "envoy.tcp.metadataexchange.config.MetadataExchange";
