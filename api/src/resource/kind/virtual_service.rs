//! Pure. `VirtualService`: routes for the requests to hosts.

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
    kind: "VirtualService",
    plural: "virtualservices",
    short: &["vs"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[
        Column::path("GATEWAYS", ".spec.gateways", "Gateways to which the routes apply; sidecars if empty."),
        Column::path("HOSTS", ".spec.hosts", "Hosts whose requests are routed."),
        AGE,
    ],
    schema: Some(schema::of::<VirtualService>),
};

/// The `spec` of a VirtualService.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// Hosts whose requests are routed.
    pub hosts: Vec<String>,
    /// Gateways and sidecars (`mesh`) to which the routes apply; `[mesh]` if empty.
    pub gateways: Vec<String>,
    /// Routes for HTTP requests; the first match is used.
    pub http: Vec<HttpRoute>,
    /// Routes for TLS connections, by SNI.
    pub tls: Vec<TlsRoute>,
    /// Routes for TCP connections.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces to which the VirtualService is exported.
    pub export_to: Vec<String>,
}

/// An HTTP route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// Name for logs.
    pub name: String,
    /// Conditions, of which at least one must match; empty: all requests match.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Destinations with weights.
    pub route: Vec<HttpDestination>,
    /// Respond with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Respond with a fixed response.
    pub direct_response: Option<DirectResponse>,
    /// Delegate to another VirtualService.
    pub delegate: Option<Delegate>,
    /// Rewrite the path or authority.
    pub rewrite: Option<Rewrite>,
    /// Timeout of a request, including retries.
    pub timeout: Option<String>,
    /// Retry policy.
    pub retries: Option<Retries>,
    /// Fault injection.
    pub fault: Option<Fault>,
    /// Destination of mirrored requests.
    pub mirror: Option<Destination>,
    /// Several destinations of mirrored requests.
    pub mirrors: Vec<MirrorPolicy>,
    /// Percentage of mirrored requests (deprecated; use `mirrorPercentage`).
    #[serde(alias = "mirror_percent")]
    #[schemars(extend("x-aliases" = ["mirror_percent"]))]
    pub mirror_percent: Option<u32>,
    /// Percentage of mirrored requests.
    pub mirror_percentage: Option<Percent>,
    /// CORS policy.
    pub cors_policy: Option<CorsPolicy>,
    /// Header manipulation.
    pub headers: Option<Headers>,
}

/// CORS policy: which pages of other origins may send requests and read responses.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Allowed origins (deprecated; use `allowOrigins`).
    pub allow_origin: Vec<String>,
    /// Allowed origins.
    pub allow_origins: Vec<StringMatch>,
    /// Allowed methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Allowed request headers, or `*`.
    pub allow_headers: Vec<String>,
    /// Response headers that pages may read.
    pub expose_headers: Vec<String>,
    /// How long browsers may cache the response to a preflight request.
    pub max_age: Option<String>,
    /// Whether requests with credentials such as cookies are allowed.
    pub allow_credentials: Option<bool>,
    /// Whether preflight requests from other origins are forwarded: `FORWARD` or `IGNORE`.
    pub unmatched_preflights: String,
}

/// Match conditions, which must all hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// Name for logs.
    pub name: String,
    /// Path of the request.
    pub uri: Option<StringMatch>,
    /// Scheme of the request.
    pub scheme: Option<StringMatch>,
    /// Method of the request.
    pub method: Option<StringMatch>,
    /// Authority of the request.
    pub authority: Option<StringMatch>,
    /// Headers; an empty condition matches if the header is present.
    pub headers: BTreeMap<String, StringMatch>,
    /// Port of the service or gateway.
    pub port: Option<u32>,
    /// Labels of the client's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways and sidecars (`mesh`) to which the condition is limited.
    pub gateways: Vec<String>,
    /// Query parameters.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Ignore the case of the path.
    pub ignore_uri_case: bool,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Namespace of the client's workload.
    pub source_namespace: String,
    /// Prefix of the route's statistics.
    pub stat_prefix: Unserved,
}

/// String match; at most one field is set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// Exact match.
    pub exact: Option<String>,
    /// Prefix match.
    pub prefix: Option<String>,
    /// RE2 regular expression that must match the whole text.
    pub regex: Option<String>,
}

/// A service, or a subset of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Host of the service.
    pub host: String,
    /// Name of a subset in the DestinationRule.
    pub subset: String,
    /// Port of the service.
    pub port: Option<PortSelector>,
}

/// A destination with its weight.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDestination {
    /// The destination.
    pub destination: Option<Destination>,
    /// Weight, relative to the sum of all weights.
    pub weight: i64,
    /// Header manipulation.
    pub headers: Option<Headers>,
}

/// A redirect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// New path.
    pub uri: Option<String>,
    /// New authority.
    pub authority: Option<String>,
    /// New port.
    pub port: Option<u32>,
    /// How the port is derived.
    pub derive_port: Option<DerivePort>,
    /// New scheme.
    pub scheme: Option<String>,
    /// Status code; 301 if absent.
    pub redirect_code: Option<u32>,
    /// Replaces the matched prefix.
    pub prefix_rewrite: Option<String>,
}

/// How a redirect's port is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// The default port of the scheme.
    FromProtocolDefault,
    /// The port of the request.
    FromRequestPort,
}

/// A fixed response.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// Status code.
    pub status: u32,
    /// Body of the response.
    pub body: Option<Body>,
}

/// The body of a fixed response.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Body {
    /// Text.
    pub string: Option<String>,
    /// Bytes, in base64.
    pub bytes: Option<String>,
}

/// The VirtualService to delegate to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Name of the VirtualService.
    pub name: String,
    /// Namespace of the VirtualService.
    pub namespace: String,
}

/// Rewrite of path and authority.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rewrite {
    /// Replaces the matched path or prefix.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Rewrites the path with a regular expression.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A rewrite with a regular expression.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// RE2 regular expression.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Substitution, with references such as `\1`.
    pub rewrite: String,
}

/// Retry policy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// Maximum number of retries; 0 or less: no retries.
    pub attempts: i64,
    /// Timeout of each attempt.
    pub per_try_timeout: Option<String>,
    /// Conditions for a retry, separated by commas.
    pub retry_on: Option<String>,
    /// Whether retries may use other localities.
    pub retry_remote_localities: Unserved,
    /// Whether retries avoid endpoints that were tried.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Base interval of the back-off.
    pub backoff: Option<String>,
}

/// Fault injection.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Delay requests.
    pub delay: Option<Delay>,
    /// Abort requests.
    pub abort: Option<Abort>,
}

/// A delay.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// Duration of the delay.
    pub fixed_delay: Option<String>,
    /// Percentage of affected requests.
    pub percentage: Option<Percent>,
    /// Percentage of affected requests (deprecated; use `percentage`).
    pub percent: Option<i64>,
    /// Exponential delay; not implemented in Istio either.
    pub exponential_delay: Unserved,
}

/// An abort.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// HTTP status code.
    pub http_status: Option<i64>,
    /// gRPC status, by name or number.
    pub grpc_status: Option<String>,
    /// HTTP/2 error code.
    pub http2_error: Unserved,
    /// Percentage of affected requests.
    pub percentage: Option<Percent>,
    /// Percentage of affected requests (deprecated; use `percentage`).
    pub percent: Option<i64>,
}

/// A percentage, 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// The percentage.
    pub value: f64,
}

/// A destination of mirrored requests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorPolicy {
    /// The destination.
    pub destination: Option<Destination>,
    /// Percentage of requests.
    pub percentage: Option<Percent>,
}

/// Header manipulation.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Changes to request headers.
    pub request: Option<HeaderOperations>,
    /// Changes to response headers.
    pub response: Option<HeaderOperations>,
}

/// Changes to a set of headers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Headers to set.
    pub set: BTreeMap<String, String>,
    /// Headers to add.
    pub add: BTreeMap<String, String>,
    /// Headers to remove.
    pub remove: Vec<String>,
}

/// A route for TLS connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Conditions, of which at least one must match.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatch>,
    /// Destinations with weights.
    pub route: Vec<RouteDestination>,
}

/// Match conditions, which must all hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsMatch {
    /// Hosts, of which one must match the SNI.
    pub sni_hosts: Vec<String>,
    /// Destination addresses of the connection.
    pub destination_subnets: Vec<String>,
    /// Port of the service or gateway.
    pub port: Option<u32>,
    /// Labels of the client's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways and sidecars (`mesh`) to which the condition is limited.
    pub gateways: Vec<String>,
    /// Namespace of the client's workload.
    pub source_namespace: String,
}

/// A route for TCP connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Conditions, of which at least one must match; empty: all connections match.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Destinations with weights.
    pub route: Vec<RouteDestination>,
}

/// Match conditions, which must all hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Match {
    /// Destination addresses of the connection.
    pub destination_subnets: Vec<String>,
    /// Port of the service or gateway.
    pub port: Option<u32>,
    /// Address of the client; undocumented in Istio.
    pub source_subnet: Unserved,
    /// Labels of the client's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways and sidecars (`mesh`) to which the condition is limited.
    pub gateways: Vec<String>,
    /// Namespace of the client's workload.
    pub source_namespace: String,
}

/// A destination with its weight.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// The destination.
    pub destination: Option<Destination>,
    /// Weight, relative to the sum of all weights.
    pub weight: i64,
}
