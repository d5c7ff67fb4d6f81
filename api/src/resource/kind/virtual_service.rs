//! Pure. `VirtualService`: how requests to hosts are routed.

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
    kind: "VirtualService",
    plural: "virtualservices",
    short: &["vs"],
    categories: NETWORKING_CATEGORIES,
    namespaced: true,
    versions: NETWORKING_VERSIONS,
    columns: &[
        Column::path("GATEWAYS", ".spec.gateways", "Where the routes apply; sidecars when empty."),
        Column::path("HOSTS", ".spec.hosts", "Whose requests are routed."),
        AGE,
    ],
    schema: Some(schema::of::<VirtualService>),
};

/// The `spec` of a VirtualService.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// Whose requests it routes.
    pub hosts: Vec<String>,
    /// Where it applies; `[mesh]` when empty.
    pub gateways: Vec<String>,
    /// Routes of HTTP requests, first match wins.
    pub http: Vec<HttpRoute>,
    /// Routes of TLS connections by SNI.
    pub tls: Vec<TlsRoute>,
    /// Routes of TCP connections.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
}

/// One HTTP route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// Name for logs.
    pub name: String,
    /// Any must match; empty: every request.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Where requests go, by weight.
    pub route: Vec<HttpDestination>,
    /// Answer with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Answer from the configuration.
    pub direct_response: Option<DirectResponse>,
    /// Go on in another VirtualService.
    pub delegate: Option<Delegate>,
    /// Change path or authority.
    pub rewrite: Option<Rewrite>,
    /// Limit for the response.
    pub timeout: Option<String>,
    /// When to try again.
    pub retries: Option<Retries>,
    /// Injected faults.
    pub fault: Option<Fault>,
    /// Copies go here.
    pub mirror: Option<Destination>,
    /// Copies go to each of these.
    pub mirrors: Vec<MirrorPolicy>,
    /// Share of requests to copy, an old spelling.
    #[serde(alias = "mirror_percent")]
    #[schemars(extend("x-aliases" = ["mirror_percent"]))]
    pub mirror_percent: Option<u32>,
    /// Share of requests to copy.
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin rules.
    pub cors_policy: Option<CorsPolicy>,
    /// Changes to headers.
    pub headers: Option<Headers>,
}

/// Which pages of other origins may read answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Origins, an old spelling.
    pub allow_origin: Vec<String>,
    /// Origins.
    pub allow_origins: Vec<StringMatch>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Request headers, or `*`.
    pub allow_headers: Vec<String>,
    /// Response headers that pages may read.
    pub expose_headers: Vec<String>,
    /// How long an answer to a preflight holds.
    pub max_age: Option<String>,
    /// Answers to requests with cookies may be read.
    pub allow_credentials: Option<bool>,
    /// Where preflights from other origins go: `FORWARD` or `IGNORE`.
    pub unmatched_preflights: String,
}

/// All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// Name for logs.
    pub name: String,
    /// Path.
    pub uri: Option<StringMatch>,
    /// Scheme.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Authority.
    pub authority: Option<StringMatch>,
    /// Headers; an empty condition means present.
    pub headers: BTreeMap<String, StringMatch>,
    /// Port of the service or gateway.
    pub port: Option<u32>,
    /// Labels of the caller's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Only on these gateways.
    pub gateways: Vec<String>,
    /// Query parameters.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compare the path without regard to case.
    pub ignore_uri_case: bool,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Namespace of the caller's workload.
    pub source_namespace: String,
    /// Name of the route's statistics.
    pub stat_prefix: Unserved,
}

/// How a string is compared; at most one is set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole text.
    pub exact: Option<String>,
    /// Its start.
    pub prefix: Option<String>,
    /// RE2 over the whole text.
    pub regex: Option<String>,
}

/// A service, or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Host.
    pub host: String,
    /// Subset of its DestinationRule.
    pub subset: String,
    /// Port of the service.
    pub port: Option<PortSelector>,
}

/// A destination with its share.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDestination {
    /// Where to.
    pub destination: Option<Destination>,
    /// Share of the sum of weights.
    pub weight: i64,
    /// Changes to headers.
    pub headers: Option<Headers>,
}

/// A redirect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// The whole path.
    pub uri: Option<String>,
    /// The authority.
    pub authority: Option<String>,
    /// The port.
    pub port: Option<u32>,
    /// The port by rule.
    pub derive_port: Option<DerivePort>,
    /// The scheme.
    pub scheme: Option<String>,
    /// The status, 301 when absent.
    pub redirect_code: Option<u32>,
    /// Replaces the matched prefix.
    pub prefix_rewrite: Option<String>,
}

/// How a redirect's port is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// The scheme's own.
    FromProtocolDefault,
    /// The request's.
    FromRequestPort,
}

/// An answer from the configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// Status.
    pub status: u32,
    /// Body.
    pub body: Option<Body>,
}

/// A body.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Body {
    /// As text.
    pub string: Option<String>,
    /// In base64.
    pub bytes: Option<String>,
}

/// Another VirtualService.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Changes to path and authority.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rewrite {
    /// Replaces the matched path or prefix.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Replaces parts of the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A replacement by regular expression.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// RE2.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The substitution, with `\1`.
    pub rewrite: String,
}

/// When to try again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// Repetitions; 0 or less: none.
    pub attempts: i64,
    /// Limit for each attempt.
    pub per_try_timeout: Option<String>,
    /// Conditions, separated by commas.
    pub retry_on: Option<String>,
    /// Also other localities.
    pub retry_remote_localities: Unserved,
    /// Avoid hosts that were tried.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Wait before the first repetition.
    pub backoff: Option<String>,
}

/// Injected faults.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Wait before the request goes on.
    pub delay: Option<Delay>,
    /// Answer instead of the service.
    pub abort: Option<Abort>,
}

/// A wait.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// How long.
    pub fixed_delay: Option<String>,
    /// Which share.
    pub percentage: Option<Percent>,
    /// Which share, an old spelling.
    pub percent: Option<i64>,
    /// Never implemented by anyone.
    pub exponential_delay: Unserved,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// HTTP status.
    pub http_status: Option<i64>,
    /// gRPC status by name or number.
    pub grpc_status: Option<String>,
    /// HTTP/2 error code.
    pub http2_error: Unserved,
    /// Which share.
    pub percentage: Option<Percent>,
    /// Which share, an old spelling.
    pub percent: Option<i64>,
}

/// A share, 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// The share.
    pub value: f64,
}

/// A place for copies.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorPolicy {
    /// Where to.
    pub destination: Option<Destination>,
    /// Share of requests.
    pub percentage: Option<Percent>,
}

/// Changes to headers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Of requests.
    pub request: Option<HeaderOperations>,
    /// Of responses.
    pub response: Option<HeaderOperations>,
}

/// Changes to a set of headers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Replace or add.
    pub set: BTreeMap<String, String>,
    /// Add another value.
    pub add: BTreeMap<String, String>,
    /// Remove.
    pub remove: Vec<String>,
}

/// A route of TLS connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Any must match.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatch>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsMatch {
    /// Any must match the SNI.
    pub sni_hosts: Vec<String>,
    /// Addresses the connection was made to.
    pub destination_subnets: Vec<String>,
    /// Port of the service or gateway.
    pub port: Option<u32>,
    /// Labels of the caller's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Only on these gateways.
    pub gateways: Vec<String>,
    /// Namespace of the caller's workload.
    pub source_namespace: String,
}

/// A route of TCP connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Any must match; empty: every connection.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Match {
    /// Addresses the connection was made to.
    pub destination_subnets: Vec<String>,
    /// Port of the service or gateway.
    pub port: Option<u32>,
    /// Address of the caller, never documented.
    pub source_subnet: Unserved,
    /// Labels of the caller's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Only on these gateways.
    pub gateways: Vec<String>,
    /// Namespace of the caller's workload.
    pub source_namespace: String,
}

/// A destination with its share.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// Where to.
    pub destination: Option<Destination>,
    /// Share of the sum of weights.
    pub weight: i64,
}
