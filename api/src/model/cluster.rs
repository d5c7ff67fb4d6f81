//! Pure. Clusters: a group of endpoints, and how to connect and send requests to it.
//!
//! Envoy: `config.cluster.v3.Cluster`.

use super::endpoint::LoadAssignment;
use super::tls::UpstreamTls;
use std::net::IpAddr;
use std::time::Duration;

/// A cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Name, such as `outbound|9080|v1|reviews.default.svc.cluster.local`.
    pub name: String,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How names of endpoints are looked up, where `discovery` is by name.
    pub lookup: NameLookup,
    /// Timeout for establishing a connection.
    pub connect_timeout: Duration,
    /// How an endpoint is chosen.
    pub balancer: Balancer,
    /// Which HTTP versions are spoken upstream.
    pub http: UpstreamHttp,
    /// TLS towards the endpoints.
    pub tls: ClusterTls,
    /// Limits on connections and requests.
    pub limits: Limits,
    /// When failing endpoints are ejected; `None`: never.
    pub outlier: Option<Outlier>,
    /// Local address of upstream connections.
    pub bind: Option<IpAddr>,
    /// Close upstream HTTP connections that have been idle for this long; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Requests per upstream connection; 0: unlimited.
    pub max_requests_per_connection: u32,
    /// TCP keep-alive; `None`: off.
    pub keepalive: Option<Keepalive>,
    /// Use all endpoints when fewer than this percentage are healthy.
    pub panic_threshold: u32,
    /// The Service this cluster stands for, for telemetry (metadata `istio: {services: [...]}`).
    pub service: Option<ClusterService>,
    /// The DestinationRule it was made from
    /// (metadata `istio: {config: /apis/networking.istio.io/v1/namespaces/<ns>/destination-rule/<name>}`).
    pub origin: Option<String>,
}

impl Cluster {
    /// A cluster with Envoy's defaults.
    pub fn new(name: impl Into<String>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            discovery,
            lookup: NameLookup::default(),
            connect_timeout: Duration::from_secs(5),
            balancer: Balancer::RoundRobin,
            http: UpstreamHttp::Http1,
            tls: ClusterTls::Never,
            limits: Limits::default(),
            outlier: None,
            bind: None,
            idle_timeout: Some(Duration::from_secs(3600)),
            max_requests_per_connection: 0,
            keepalive: None,
            panic_threshold: 50,
            service: None,
            origin: None,
        }
    }
}

/// Where endpoints come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// Part of the cluster's own configuration.
    Static(LoadAssignment),
    /// Endpoint discovery under this name.
    Eds(String),
    /// Resolved; every address is an endpoint.
    StrictDns(LoadAssignment),
    /// Resolved; the first address is the endpoint.
    LogicalDns(LoadAssignment),
    /// The original destination of the connection.
    OriginalDestination {
        /// Port to connect to; `None`: the original destination's.
        port: Option<u16>,
    },
}

impl Discovery {
    /// Whether endpoints are host names that the proxy resolves.
    pub fn is_by_name(&self) -> bool {
        match self {
            Self::StrictDns(_) | Self::LogicalDns(_) => true,
            Self::Static(_) | Self::Eds(_) | Self::OriginalDestination { .. } => false,
        }
    }
}

/// How host names of endpoints are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameLookup {
    /// Time between look-ups.
    pub refresh: Duration,
    /// Time until a failed look-up is retried; `None`: the same as `refresh`.
    pub failure: Option<FailurePace>,
    /// Largest random addition to the time after each successful look-up.
    pub jitter: Duration,
    /// Look up again when the record with the shortest TTL expires, instead of after `refresh`.
    pub respect_ttl: bool,
    /// Which address families are queried.
    pub family: AddressFamily,
}

impl Default for NameLookup {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5),
            failure: None,
            jitter: Duration::ZERO,
            respect_ttl: false,
            family: AddressFamily::V6OrV4,
        }
    }
}

/// Back-off of failed look-ups: exponential, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FailurePace {
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of every wait.
    pub longest: Duration,
}

/// Which addresses of a host name are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv6, or IPv4 where there is none (Envoy's `AUTO`).
    V6OrV4,
    /// IPv4, or IPv6 where there is none.
    V4OrV6,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    All,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Balancer {
    /// Round robin, by weight.
    RoundRobin,
    /// The least busy of `choices` random endpoints.
    LeastRequest {
        /// How many are compared, 2 by default.
        choices: u32,
    },
    /// A random endpoint.
    Random,
    /// By consistent hash on a ring.
    RingHash {
        /// Least number of points on the ring.
        min_size: u64,
    },
    /// By consistent hash in a table (prime size).
    Maglev {
        /// Table size.
        table_size: u64,
    },
    /// The connection's original destination (`CLUSTER_PROVIDED`).
    Provided,
}

/// Which HTTP versions are spoken upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamHttp {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 (by prior knowledge, or negotiated in TLS).
    Http2,
    /// The version the client spoke (`use_downstream_protocol_config`).
    SameAsClient,
    /// Negotiated by ALPN; HTTP/1.1 if the server selects no protocol.
    Negotiated,
}

/// TLS towards endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterTls {
    /// Plaintext.
    Never,
    /// To all endpoints.
    Always(Box<UpstreamTls>),
    /// Automatic mTLS: to endpoints whose `mtls` flag is set, plaintext to others.
    WhenOffered(Box<UpstreamTls>),
}

impl Cluster {
    /// Largest number of active requests. An HTTP/1.1 connection carries one request, and a request that waits for a
    /// connection is not active, so the limit on connections may be the lower one.
    pub fn request_limit(&self) -> u32 {
        let Limits { max_connections, max_requests, .. } = self.limits;
        let kept = self.http == UpstreamHttp::Http1 && max_connections <= max_requests;
        if kept { u32::MAX } else { max_requests }
    }
}

/// Circuit breaker limits. Requests beyond them are refused with 503 and response flag `UO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending: u32,
    /// Active requests.
    pub max_requests: u32,
    /// Active retries.
    pub max_retries: u32,
}

impl Default for Limits {
    /// Envoy's defaults: 1024 each, and 3 retries.
    fn default() -> Self {
        Self { max_connections: 1024, max_pending: 1024, max_requests: 1024, max_retries: 3 }
    }
}

impl Limits {
    /// Istio's default: no limits.
    pub const UNLIMITED: Self = Self {
        max_connections: u32::MAX,
        max_pending: u32::MAX,
        max_requests: u32::MAX,
        max_retries: u32::MAX,
    };
}

/// When failing endpoints are ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outlier {
    /// Server errors in a row; `None`: not counted.
    pub consecutive_5xx: Option<u32>,
    /// 502, 503, 504 in a row; `None`: not counted.
    pub consecutive_gateway: Option<u32>,
    /// Time between sweeps.
    pub interval: Duration,
    /// Length of the first ejection; the nth lasts n times as long.
    pub base_ejection: Duration,
    /// Longest ejection.
    pub max_ejection: Duration,
    /// Share of endpoints that may be ejected, percent.
    pub max_percent: u32,
}

/// TCP keep-alive; `None` leaves the system's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// Unacknowledged probes after which the connection counts as dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// The Service a cluster stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClusterService {
    /// Fully qualified host.
    pub host: String,
    /// Short name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}
