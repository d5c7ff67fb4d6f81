//! Pure. `DestinationRule`: how a service is called once a route has chosen it, and its subsets.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::PortSelector;
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind.
pub const KIND: Descriptor = Descriptor {
    group: NETWORKING,
    kind: "DestinationRule",
    plural: "destinationrules",
    short: &["dr"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[Column::path("HOST", ".spec.host", "The service."), AGE],
    schema: Some(schema::of::<DestinationRule>),
};

/// The `spec` of a DestinationRule.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// The service.
    pub host: String,
    /// For all its ports and subsets.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Its parts.
    pub subsets: Vec<Subset>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
    /// Callers it is for.
    pub workload_selector: Unserved,
}

/// A part of a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels of its endpoints.
    pub labels: BTreeMap<String, String>,
    /// Its own policy, block by block over the rule's.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How a service is called.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the service.
    pub tls: Option<ClientTls>,
    /// Replacements for single ports.
    pub port_level_settings: Vec<PortPolicy>,
    /// Tunnel through a proxy.
    pub tunnel: Unserved,
    /// PROXY protocol towards the service.
    pub proxy_protocol: Unserved,
    /// Share of requests that may be repetitions.
    pub retry_budget: Unserved,
}

/// The policy of one port: what is absent here returns to the default, not to the rule's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortPolicy {
    /// Which port.
    pub port: Option<PortSelector>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the service.
    pub tls: Option<ClientTls>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// By one of the simple ways.
    pub simple: Option<SimpleBalancer>,
    /// By consistent hash.
    pub consistent_hash: Option<ConsistentHash>,
    /// By place.
    pub locality_lb_setting: Unserved,
    /// By zone.
    pub zone_aware_lb_setting: Unserved,
    /// Slow start.
    pub warmup: Unserved,
    /// Slow start, an old spelling.
    pub warmup_duration_secs: Unserved,
}

/// The simple ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleBalancer {
    /// The default: least request.
    Unspecified,
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
    /// The address the client wanted.
    Passthrough,
    /// The less busy of two.
    LeastRequest,
    /// The same, an old spelling.
    LeastConn,
}

/// The key of a consistent hash and the table it is looked up in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// A header.
    pub http_header_name: Option<String>,
    /// A cookie.
    pub http_cookie: Option<HttpCookie>,
    /// The caller's address.
    pub use_source_ip: Option<bool>,
    /// A query parameter.
    pub http_query_parameter_name: Option<String>,
    /// A ring.
    pub ring_hash: Option<RingHash>,
    /// A Maglev table.
    pub maglev: Option<Maglev>,
    /// Size of the ring, an old spelling.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie as key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its lifetime.
    pub ttl: Option<String>,
    /// Further attributes.
    pub attributes: Unserved,
}

/// A ring.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Least number of points.
    pub minimum_ring_size: Option<u64>,
}

/// A Maglev table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Number of entries, a prime.
    pub table_size: Option<u64>,
}

/// Limits.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: Option<TcpPool>,
    /// Of requests.
    pub http: Option<HttpPool>,
}

/// Limits of connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpPool {
    /// Open at once; 0: unlimited.
    pub max_connections: u32,
    /// For making one.
    pub connect_timeout: Option<String>,
    /// Probes on idle connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Longest life.
    pub max_connection_duration: Unserved,
    /// Longest silence.
    pub idle_timeout: Unserved,
}

/// Probes on idle connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Unanswered ones before the connection is dead.
    pub probes: u32,
    /// Silence before the first.
    pub time: Option<String>,
    /// Time between them.
    pub interval: Option<String>,
}

/// Limits of requests; 0 means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPool {
    /// That wait for a connection.
    #[serde(rename = "http1MaxPendingRequests")]
    pub http1_max_pending_requests: u32,
    /// Under way.
    #[serde(rename = "http2MaxRequests")]
    pub http2_max_requests: u32,
    /// Per connection.
    pub max_requests_per_connection: u32,
    /// Repetitions under way.
    pub max_retries: u32,
    /// Longest silence of a connection.
    pub idle_timeout: Option<String>,
    /// Whether HTTP/1.1 is sent on as HTTP/2.
    #[serde(rename = "h2UpgradePolicy")]
    pub h2_upgrade_policy: Option<H2Upgrade>,
    /// Speak upstream what the client speaks.
    pub use_client_protocol: bool,
    /// Streams per HTTP/2 connection.
    pub max_concurrent_streams: Unserved,
    /// PINGs on HTTP/2 connections.
    #[serde(rename = "http2KeepAlive")]
    pub http2_keep_alive: Unserved,
}

/// Whether HTTP/1.1 is sent on as HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2Upgrade {
    /// As the mesh says.
    Default,
    /// No.
    DoNotUpgrade,
    /// Yes.
    Upgrade,
}

/// Ejection of failing endpoints.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Never did what it says.
    pub consecutive_errors: Unserved,
    /// Tell local errors from answers.
    pub split_external_local_origin_errors: Unserved,
    /// Local errors in a row.
    pub consecutive_local_origin_failures: Unserved,
    /// 502, 503, 504 in a row; 0: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// Server errors in a row; 0: off.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between sweeps.
    pub interval: Option<String>,
    /// First ejection.
    pub base_ejection_time: Option<String>,
    /// Share that may be ejected.
    pub max_ejection_percent: Option<i64>,
    /// Below this share of healthy endpoints all are used.
    pub min_health_percent: Option<i64>,
}

/// TLS towards a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// Which kind.
    pub mode: Option<TlsMode>,
    /// File with the caller's chain.
    pub client_certificate: String,
    /// File with its key.
    pub private_key: String,
    /// File with the roots.
    pub ca_certificates: String,
    /// Secret with all of these.
    pub credential_name: String,
    /// Names the server must have.
    pub subject_alt_names: Vec<String>,
    /// SNI to send.
    pub sni: String,
    /// Take any server.
    pub insecure_skip_verify: Option<bool>,
    /// Revoked certificates.
    pub ca_crl: Unserved,
}

/// Kinds of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// None.
    Disable,
    /// The server is verified.
    Simple,
    /// Both are, with the user's certificates.
    Mutual,
    /// Both are, with the mesh's certificates.
    IstioMutual,
}
