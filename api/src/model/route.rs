//! Pure. Routes: they choose a cluster by a request's host, path and headers.
//!
//! Envoy: `config.route.v3.RouteConfiguration`.

use super::filter::FilterOverride;
use super::matcher::{BackOff, Fraction, HeaderMatch, HeaderMutations, Pattern, QueryMatch};
use std::time::Duration;

/// A table of virtual hosts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteConfiguration {
    /// Name in RDS requests.
    pub name: String,
    /// Chosen by host: exact, longest `*suffix`, longest `prefix*`, `*`.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Compare hosts without their port.
    pub ignore_port_in_host: bool,
    /// Changes to all requests.
    pub request_headers: HeaderMutations,
    /// Changes to all responses.
    pub response_headers: HeaderMutations,
    /// Headers that are removed from requests of external clients.
    pub internal_only_headers: Vec<String>,
    /// If several levels change one header, the most specific level wins instead of the widest.
    pub most_specific_wins: bool,
    /// Settings of filters, sorted by name, for virtual hosts and routes without their own.
    pub filters: Vec<FilterOverride>,
}

/// Routes of a set of hosts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VirtualHost {
    /// Name for logs, such as `reviews.default.svc.cluster.local:9080`.
    pub name: String,
    /// Host patterns, lower-case.
    pub domains: Vec<String>,
    /// The first that matches wins.
    pub routes: Vec<Route>,
    /// Redirect plain HTTP requests to https.
    pub require_tls: bool,
    /// Add `x-envoy-attempt-count` to upstream requests.
    pub attempt_count: bool,
    /// Add `x-envoy-attempt-count` to responses.
    pub attempt_count_in_response: bool,
    /// Changes to all requests.
    pub request_headers: HeaderMutations,
    /// Changes to all responses.
    pub response_headers: HeaderMutations,
    /// Retry policy of routes without their own.
    pub retry: Option<RetryPolicy>,
    /// Settings of filters, sorted by name, for routes without their own.
    pub filters: Vec<FilterOverride>,
}

/// One route.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Name for logs.
    pub name: String,
    /// The requests that it applies to.
    pub criteria: RouteMatch,
    /// What happens to a matching request.
    pub action: RouteAction,
    /// Changes to the request.
    pub request_headers: HeaderMutations,
    /// Changes to the response.
    pub response_headers: HeaderMutations,
    /// Settings of filters, sorted by name.
    pub filters: Vec<FilterOverride>,
    /// Istio's metadata: the object this route was made from, for `proxy-config routes`
    /// (`/apis/networking.istio.io/v1/namespaces/<ns>/virtual-service/<name>`).
    pub origin: Option<String>,
}

/// The conditions of a route, all of which must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteMatch {
    /// Path without query.
    pub path: PathMatch,
    /// Compare the path without regard to ASCII case.
    pub ignore_case: bool,
    /// Conditions on headers.
    pub headers: Vec<HeaderMatch>,
    /// Conditions on query parameters.
    pub query: Vec<QueryMatch>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Only this share of requests.
    pub fraction: Option<Fraction>,
}

impl RouteMatch {
    /// Every request.
    pub fn any() -> Self {
        Self::path(PathMatch::Prefix("/".into()))
    }

    /// Requests by path only.
    pub fn path(path: PathMatch) -> Self {
        Self { path, ignore_case: false, headers: vec![], query: vec![], grpc: false, fraction: None }
    }
}

/// Conditions on the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// Starts with.
    Prefix(String),
    /// Equals.
    Exact(String),
    /// RE2 over the whole path.
    Regex(String),
    /// Equals, or starts with this followed by `/` (Gateway API's `PathPrefix`).
    Segments(String),
}

/// What happens to a matching request.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteAction {
    /// Send it to a cluster.
    Forward(Box<Forward>),
    /// Respond with a redirect.
    Redirect(Redirect),
    /// Respond with a status and body from the configuration.
    Direct {
        /// Status code.
        status: u16,
        /// Body.
        body: String,
    },
}

/// How a request is forwarded.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// Cluster to send it to.
    pub clusters: ClusterChoice,
    /// Timeout for the whole response; `None`: none.
    pub timeout: Option<Duration>,
    /// Longest `grpc-timeout` that a client may set; `Some(0)`: any; `None`: the header is ignored.
    pub max_grpc_timeout: Option<Duration>,
    /// Idle timeout of a stream; `None`: the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// When to retry.
    pub retry: Option<RetryPolicy>,
    /// Replaces the matched prefix (or exact path).
    pub prefix_rewrite: Option<String>,
    /// Replaces by regular expression: pattern and substitution (`\1`).
    pub regex_rewrite: Option<(String, String)>,
    /// Replaces the authority.
    pub host_rewrite: Option<HostRewrite>,
    /// Keep the authority that a rewrite replaces in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// Clusters that get a copy of the request; their responses are dropped.
    pub mirrors: Vec<Mirror>,
    /// Where consistent-hash balancers take their key from.
    pub hash: Vec<HashKey>,
    /// Status when the cluster does not exist: 503, or 500 for Gateway API routes.
    pub cluster_not_found: u16,
}

impl Forward {
    /// Forwards to one cluster with all settings at their defaults.
    pub fn to(cluster: impl Into<String>) -> Self {
        Self {
            clusters: ClusterChoice::Single(cluster.into()),
            timeout: None,
            max_grpc_timeout: Some(Duration::ZERO),
            idle_timeout: None,
            retry: None,
            prefix_rewrite: None,
            regex_rewrite: None,
            host_rewrite: None,
            append_forwarded_host: false,
            mirrors: vec![],
            hash: vec![],
            cluster_not_found: 503,
        }
    }
}

/// Source of the authority that replaces the request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// This literal text.
    Literal(String),
    /// The host name of the chosen endpoint, if it has one.
    Endpoint,
    /// The value of a request header, if present.
    Header(String),
    /// Derived from the path by a regular expression: pattern and substitution.
    Path(String, String),
}

/// How the cluster is chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterChoice {
    /// Always this one.
    Single(String),
    /// By weight.
    Weighted(Vec<WeightedCluster>),
    /// Named by a request header.
    Header(String),
}

impl ClusterChoice {
    /// Every cluster that may be chosen.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Single(name) => vec![name],
            Self::Weighted(clusters) => clusters.iter().map(|c| c.name.as_str()).collect(),
            Self::Header(_) => vec![],
        }
    }
}

/// A cluster with a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedCluster {
    /// Cluster name.
    pub name: String,
    /// Share of the sum of all weights.
    pub weight: u32,
    /// Changes to requests that go there.
    pub request_headers: HeaderMutations,
    /// Changes to its responses.
    pub response_headers: HeaderMutations,
    /// Replaces the authority.
    pub host_rewrite: Option<String>,
}

/// Mirroring to a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Where copies go.
    pub cluster: String,
    /// Share of requests.
    pub fraction: Fraction,
    /// Whether copies keep the request's host; otherwise `-shadow` is appended to it.
    pub keep_host: bool,
}

/// Where the key of a consistent hash comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header.
    Header(String),
    /// A cookie. If it is absent and a lifetime is given, the proxy sets it.
    Cookie {
        /// Its name.
        name: String,
        /// Its path.
        path: String,
        /// Lifetime; `None`: the proxy never sets the cookie; zero: session cookie.
        ttl: Option<Duration>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(String),
}

/// A redirect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Status: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `https` or `http`; `None`: unchanged.
    pub scheme: Option<String>,
    /// Host; `None`: unchanged.
    pub host: Option<String>,
    /// Port; `None`: unchanged (omitted if it is the scheme's default).
    pub port: Option<u16>,
    /// Whole path; excludes `prefix`.
    pub path: Option<String>,
    /// Replacement of the matched prefix.
    pub prefix: Option<String>,
    /// Rewrites the path by a regular expression: pattern and substitution.
    pub regex: Option<(String, String)>,
    /// Drop the query.
    pub strip_query: bool,
}

/// When and how a request is retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Conditions, any of which allows a retry.
    pub on: Vec<RetryOn>,
    /// Status codes that count for `RetryOn::RetriableStatusCodes`.
    pub status_codes: Vec<u16>,
    /// Retries after the first attempt.
    pub attempts: u32,
    /// Limit for each attempt; `None`: none.
    pub per_try_timeout: Option<Duration>,
    /// Waits between attempts.
    pub back_off: BackOff,
    /// How many times another endpoint is chosen if the choice was tried before (`previous_hosts`); 0: off.
    pub avoid_previous_hosts: u32,
    /// Response headers that count for `RetryOn::RetriableHeaders`.
    pub headers: Vec<HeaderMatch>,
    /// Retry only requests that match one of these; empty: all requests.
    pub request_headers: Vec<HeaderMatch>,
}

/// Conditions for a retry, by Envoy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// `5xx`: any 5xx, or no response.
    ServerError,
    /// `gateway-error`: 502, 503, 504, or no response.
    GatewayError,
    /// `connect-failure`
    ConnectFailure,
    /// `reset`: the upstream reset or closed before the response.
    Reset,
    /// `reset-before-request`: before the request was sent.
    ResetBeforeRequest,
    /// `refused-stream`: HTTP/2 REFUSED_STREAM.
    RefusedStream,
    /// `retriable-4xx`: 409.
    Retriable4xx,
    /// `retriable-status-codes`
    RetriableStatusCodes,
    /// `retriable-headers`
    RetriableHeaders,
    /// gRPC `cancelled`.
    GrpcCancelled,
    /// gRPC `deadline-exceeded`.
    GrpcDeadlineExceeded,
    /// gRPC `internal`.
    GrpcInternal,
    /// gRPC `resource-exhausted`.
    GrpcResourceExhausted,
    /// gRPC `unavailable`.
    GrpcUnavailable,
}

impl RetryOn {
    /// Every condition with Envoy's name for it.
    pub const NAMES: [(Self, &'static str); 14] = [
        (Self::ServerError, "5xx"),
        (Self::GatewayError, "gateway-error"),
        (Self::ConnectFailure, "connect-failure"),
        (Self::Reset, "reset"),
        (Self::ResetBeforeRequest, "reset-before-request"),
        (Self::RefusedStream, "refused-stream"),
        (Self::Retriable4xx, "retriable-4xx"),
        (Self::RetriableStatusCodes, "retriable-status-codes"),
        (Self::RetriableHeaders, "retriable-headers"),
        (Self::GrpcCancelled, "cancelled"),
        (Self::GrpcDeadlineExceeded, "deadline-exceeded"),
        (Self::GrpcInternal, "internal"),
        (Self::GrpcResourceExhausted, "resource-exhausted"),
        (Self::GrpcUnavailable, "unavailable"),
    ];

    /// Envoy's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(c, _)| *c == self).map_or("", |(_, n)| n)
    }

    /// The condition of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|(c, _)| *c)
    }
}

/// Converts a `PathMatch` to a string matcher's pattern, for tables and dumps.
impl From<&PathMatch> for Pattern {
    fn from(path: &PathMatch) -> Self {
        match path {
            PathMatch::Prefix(p) | PathMatch::Segments(p) => Self::Prefix(p.clone()),
            PathMatch::Exact(p) => Self::Exact(p.clone()),
            PathMatch::Regex(p) => Self::Regex(p.clone()),
        }
    }
}
