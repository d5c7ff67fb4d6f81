//! Pure. `DestinationRule`: policies for connections to a service, which apply after routing, and its subsets.

use crate::resource::column::{AGE, Column};
use crate::resource::descriptor::{Descriptor, NETWORKING, NETWORKING_CATEGORIES, NETWORKING_VERSIONS};
use crate::resource::schema;
use crate::resource::selector::PortSelector;
use crate::resource::unserved::Unserved;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kind's descriptor.
pub const KIND: Descriptor = Descriptor {
    group: NETWORKING,
    kind: "DestinationRule",
    plural: "destinationrules",
    short: &["dr"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[Column::path("HOST", ".spec.host", "Host of the service."), AGE],
    schema: Some(schema::of::<DestinationRule>),
};

/// The `spec` of a DestinationRule.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// Host of the service.
    pub host: String,
    /// Traffic policy for all ports and subsets.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Subsets of the service's endpoints.
    pub subsets: Vec<Subset>,
    /// Namespaces to which the rule is exported.
    pub export_to: Vec<String>,
    /// Client workloads to which the rule applies.
    pub workload_selector: Unserved,
}

/// A subset of a service's endpoints.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Name of the subset.
    pub name: String,
    /// Labels that select the endpoints.
    pub labels: BTreeMap<String, String>,
    /// Traffic policy of the subset; its fields override those of the rule.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// Policies for connections to a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// Load balancing.
    pub load_balancer: Option<LoadBalancer>,
    /// Connection pool settings.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS settings for connections to the service.
    pub tls: Option<ClientTls>,
    /// Policies for individual ports.
    pub port_level_settings: Vec<PortPolicy>,
    /// Tunnel through another proxy.
    pub tunnel: Unserved,
    /// PROXY protocol for connections to the service.
    pub proxy_protocol: Unserved,
    /// Limit on retries as a share of the active requests.
    pub retry_budget: Unserved,
}

/// Policy for one port. Absent fields have their defaults; they are not inherited from the rule.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortPolicy {
    /// The port.
    pub port: Option<PortSelector>,
    /// Load balancing.
    pub load_balancer: Option<LoadBalancer>,
    /// Connection pool settings.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS settings for connections to the service.
    pub tls: Option<ClientTls>,
}

/// Load balancing settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// A simple algorithm.
    pub simple: Option<SimpleBalancer>,
    /// Consistent hashing.
    pub consistent_hash: Option<ConsistentHash>,
    /// Locality load balancing.
    pub locality_lb_setting: Unserved,
    /// Zone-aware load balancing.
    pub zone_aware_lb_setting: Unserved,
    /// Slow start.
    pub warmup: Unserved,
    /// Slow start (deprecated; use `warmup`).
    pub warmup_duration_secs: Unserved,
}

/// Simple load balancing algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleBalancer {
    /// The default: `LEAST_REQUEST`.
    Unspecified,
    /// Round robin.
    RoundRobin,
    /// A random endpoint.
    Random,
    /// Forwards to the original destination address.
    Passthrough,
    /// The endpoint with fewer active requests of two random ones.
    LeastRequest,
    /// Deprecated; same as `LEAST_REQUEST`.
    LeastConn,
}

/// Consistent hashing: the hash key and the algorithm.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// Hash a request header.
    pub http_header_name: Option<String>,
    /// Hash a cookie.
    pub http_cookie: Option<HttpCookie>,
    /// Hash the client's IP address.
    pub use_source_ip: Option<bool>,
    /// Hash a query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Ring hash.
    pub ring_hash: Option<RingHash>,
    /// Maglev.
    pub maglev: Option<Maglev>,
    /// Size of the ring (deprecated; use `ringHash`).
    pub minimum_ring_size: Option<u64>,
}

/// A cookie as hash key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Name of the subset.
    pub name: String,
    /// Path of the cookie.
    pub path: String,
    /// Lifetime of the cookie.
    pub ttl: Option<String>,
    /// Further attributes of the cookie.
    pub attributes: Unserved,
}

/// Ring hash settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Minimum number of points on the ring.
    pub minimum_ring_size: Option<u64>,
}

/// Maglev settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Size of the table; a prime number.
    pub table_size: Option<u64>,
}

/// Limits on connections and requests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// Limits on connections.
    pub tcp: Option<TcpPool>,
    /// Limits on HTTP requests.
    pub http: Option<HttpPool>,
}

/// Limits on connections, for TCP and HTTP.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpPool {
    /// Maximum number of connections; 0: unlimited.
    pub max_connections: u32,
    /// Timeout for establishing a connection.
    pub connect_timeout: Option<String>,
    /// TCP keepalive.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Maximum lifetime of a connection.
    pub max_connection_duration: Unserved,
    /// Idle timeout of a connection.
    pub idle_timeout: Unserved,
}

/// TCP keepalive settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Number of unacknowledged probes after which the connection is closed.
    pub probes: u32,
    /// Idle time before the first probe.
    pub time: Option<String>,
    /// Time between probes.
    pub interval: Option<String>,
}

/// Limits on HTTP requests; 0 means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPool {
    /// Maximum number of requests that wait for a connection.
    #[serde(rename = "http1MaxPendingRequests")]
    pub http1_max_pending_requests: u32,
    /// Maximum number of active requests.
    #[serde(rename = "http2MaxRequests")]
    pub http2_max_requests: u32,
    /// Maximum number of requests per connection.
    pub max_requests_per_connection: u32,
    /// Maximum number of active retries.
    pub max_retries: u32,
    /// Idle timeout of a connection.
    pub idle_timeout: Option<String>,
    /// Whether HTTP/1.1 requests are upgraded to HTTP/2.
    #[serde(rename = "h2UpgradePolicy")]
    pub h2_upgrade_policy: Option<H2Upgrade>,
    /// Use the client's HTTP version for connections to the service.
    pub use_client_protocol: bool,
    /// Maximum number of concurrent streams of an HTTP/2 connection.
    pub max_concurrent_streams: Unserved,
    /// PING frames on HTTP/2 connections.
    #[serde(rename = "http2KeepAlive")]
    pub http2_keep_alive: Unserved,
}

/// Whether HTTP/1.1 requests are upgraded to HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2Upgrade {
    /// The mesh-wide default.
    Default,
    /// Requests are not upgraded.
    DoNotUpgrade,
    /// Requests are upgraded.
    Upgrade,
}

/// Ejection of failing endpoints.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Deprecated; has no effect in Istio either.
    pub consecutive_errors: Unserved,
    /// Count locally originated errors separately from error responses.
    pub split_external_local_origin_errors: Unserved,
    /// Number of consecutive locally originated errors before ejection.
    pub consecutive_local_origin_failures: Unserved,
    /// Number of consecutive 502, 503 and 504 responses before ejection; 0: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// Number of consecutive 5xx responses before ejection; 0: off.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Interval of the ejection analysis.
    pub interval: Option<String>,
    /// Duration of the first ejection.
    pub base_ejection_time: Option<String>,
    /// Maximum percentage of ejected endpoints.
    pub max_ejection_percent: Option<i64>,
    /// If a smaller percentage of endpoints is healthy, all endpoints are used.
    pub min_health_percent: Option<i64>,
}

/// TLS settings for connections to a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// TLS mode.
    pub mode: Option<TlsMode>,
    /// File with the client's certificate chain.
    pub client_certificate: String,
    /// File with the client's private key.
    pub private_key: String,
    /// File with the CA certificates.
    pub ca_certificates: String,
    /// Secret with the certificate, key and CA certificates.
    pub credential_name: String,
    /// Accepted subject alternative names of the server.
    pub subject_alt_names: Vec<String>,
    /// SNI to send.
    pub sni: String,
    /// Do not verify the server's certificate.
    pub insecure_skip_verify: Option<bool>,
    /// Certificate revocation list.
    pub ca_crl: Unserved,
}

/// TLS modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS; the server is verified.
    Simple,
    /// Mutual TLS with the given certificates.
    Mutual,
    /// Mutual TLS with the mesh's certificates.
    IstioMutual,
}
