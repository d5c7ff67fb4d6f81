//! Pure. From a request's host, path and headers to a cluster.
//!
//! Envoy: `config.route.v3.RouteConfiguration`.

use super::filter::FilterOverride;
use super::matcher::{BackOff, Fraction, HeaderMatch, HeaderMutations, Pattern, QueryMatch};
use std::time::Duration;

/// A table of virtual hosts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteConfiguration {
    /// Name, as RDS addresses it.
    pub name: String,
    /// Chosen by host: exact, longest `*suffix`, longest `prefix*`, `*`.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Compare hosts without their port.
    pub ignore_port_in_host: bool,
    /// Changes to all requests.
    pub request_headers: HeaderMutations,
    /// Changes to all responses.
    pub response_headers: HeaderMutations,
    /// Removed from requests that do not come from inside.
    pub internal_only_headers: Vec<String>,
    /// Where several levels change one header, the most specific one has the last word, not the widest.
    pub most_specific_wins: bool,
    /// Settings of filters, in order of their names, where virtual hosts and routes have none.
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
    /// Answer plain HTTP with a redirect to https.
    pub require_tls: bool,
    /// Add `x-envoy-attempt-count` to upstream requests.
    pub attempt_count: bool,
    /// Add `x-envoy-attempt-count` to responses.
    pub attempt_count_in_response: bool,
    /// Changes to all requests.
    pub request_headers: HeaderMutations,
    /// Changes to all responses.
    pub response_headers: HeaderMutations,
    /// For routes without one of their own.
    pub retry: Option<RetryPolicy>,
    /// Settings of filters, in order of their names, where routes have none.
    pub filters: Vec<FilterOverride>,
}

/// One route.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Name for logs.
    pub name: String,
    /// When it applies.
    pub criteria: RouteMatch,
    /// What happens.
    pub action: RouteAction,
    /// Changes to the request.
    pub request_headers: HeaderMutations,
    /// Changes to the response.
    pub response_headers: HeaderMutations,
    /// Settings of filters, in order of their names.
    pub filters: Vec<FilterOverride>,
    /// Istio's metadata: the object this route was made from, for `proxy-config routes`
    /// (`/apis/networking.istio.io/v1/namespaces/<ns>/virtual-service/<name>`).
    pub origin: Option<String>,
}

/// All conditions must hold.
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
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer from the configuration.
    Direct {
        /// Status code.
        status: u16,
        /// Body.
        body: String,
    },
}

/// How a request is sent on.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// Where to.
    pub clusters: ClusterChoice,
    /// Limit for the whole response; `None`: none.
    pub timeout: Option<Duration>,
    /// Longest `grpc-timeout` a client may ask for; `Some(0)`: any; `None`: the header is ignored.
    pub max_grpc_timeout: Option<Duration>,
    /// Limit for a stream without activity; `None`: the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// When to try again.
    pub retry: Option<RetryPolicy>,
    /// Replaces the matched prefix (or exact path).
    pub prefix_rewrite: Option<String>,
    /// Replaces by regular expression: pattern and substitution (`\1`).
    pub regex_rewrite: Option<(String, String)>,
    /// Replaces the authority.
    pub host_rewrite: Option<HostRewrite>,
    /// Keep the authority that a rewrite replaces in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// Copies of the request, whose answers are dropped.
    pub mirrors: Vec<Mirror>,
    /// How consistent-hash balancers find their key.
    pub hash: Vec<HashKey>,
    /// Status when the cluster is not there: 503, or 500 for Gateway API routes.
    pub cluster_not_found: u16,
}

impl Forward {
    /// Everything at its default, to one cluster.
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

/// Where another authority comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// Given here.
    Literal(String),
    /// The name of the endpoint that is chosen, where it has one.
    Endpoint,
    /// A header of the request, where it is there.
    Header(String),
    /// Made of the path by a regular expression: pattern and substitution.
    Path(String, String),
}

/// Which cluster.
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

/// One of several clusters.
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

/// A copy of the traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Where copies go.
    pub cluster: String,
    /// Share of requests.
    pub fraction: Fraction,
}

/// Where the key of a consistent hash comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header.
    Header(String),
    /// A cookie, made when absent if a lifetime is given.
    Cookie {
        /// Its name.
        name: String,
        /// Its path.
        path: String,
        /// Lifetime; `None`: not made by the proxy; zero: session cookie.
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
    /// Port; `None`: unchanged (left out where it is the scheme's own).
    pub port: Option<u16>,
    /// Whole path; excludes `prefix`.
    pub path: Option<String>,
    /// Replacement of the matched prefix.
    pub prefix: Option<String>,
    /// Replacement in the path by a regular expression: pattern and substitution.
    pub regex: Option<(String, String)>,
    /// Drop the query.
    pub strip_query: bool,
}

/// When and how a request is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Conditions, any of which allows a repetition.
    pub on: Vec<RetryOn>,
    /// Status codes that count for `RetryOn::RetriableStatusCodes`.
    pub status_codes: Vec<u16>,
    /// Repetitions after the first attempt.
    pub attempts: u32,
    /// Limit for each attempt; `None`: none.
    pub per_try_timeout: Option<Duration>,
    /// Waits between attempts.
    pub back_off: BackOff,
    /// Choose another endpoint than those tried, looking at most this often (`previous_hosts`); 0: off.
    pub avoid_previous_hosts: u32,
    /// Response headers that count for `RetryOn::RetriableHeaders`.
    pub headers: Vec<HeaderMatch>,
    /// Only requests that one of these matches are repeated; none: all.
    pub request_headers: Vec<HeaderMatch>,
}

/// Conditions for a repetition, by Envoy's names.
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

/// The pattern of a `PathMatch` as a string matcher pattern, for tables and dumps.
impl From<&PathMatch> for Pattern {
    fn from(path: &PathMatch) -> Self {
        match path {
            PathMatch::Prefix(p) | PathMatch::Segments(p) => Self::Prefix(p.clone()),
            PathMatch::Exact(p) => Self::Exact(p.clone()),
            PathMatch::Regex(p) => Self::Regex(p.clone()),
        }
    }
}
