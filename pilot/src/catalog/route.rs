//! Pure. The routes of a VirtualService in checked form: hosts are complete, and conditions use the types of the
//! configuration model. Nothing here is specific to VirtualService, so an HTTPRoute or an Ingress can be converted to
//! the same type.

use super::visibility::{ExportTo, Labels, Origin};
use api::model::filter::FilterOverride;
use api::model::matcher::{Fraction, HeaderMatch, HeaderMutations, QueryMatch};
use api::model::route::{PathMatch, Redirect, RetryOn};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

/// The routes that one object declares for its hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSet {
    /// The object.
    pub origin: Origin,
    /// Hosts: fully qualified, in lower case, `*` or `*.suffix`. Empty: a delegate of other VirtualServices.
    pub hosts: Vec<String>,
    /// The gateways where it applies; never empty.
    pub gateways: Vec<GatewayRef>,
    /// HTTP routes; the first match wins.
    pub http: Vec<HttpRoute>,
    /// TLS routes; the first match wins.
    pub tls: Vec<TlsRoute>,
    /// TCP routes; the first match wins.
    pub tcp: Vec<TcpRoute>,
    /// Which namespaces see it.
    pub export_to: ExportTo,
    /// Where the HTTP routes come from, if several objects declare them; empty: all from `origin`.
    pub parts: Vec<Part>,
    /// The name of the VirtualService that Istio would generate for these routes; absent: they are written as one.
    pub generated: Option<String>,
    /// The set that routes HTTP on ports for which this one has no routes. Set only in views of the catalog, which join
    /// the sets for one host this way.
    pub otherwise: Option<Arc<RouteSet>>,
}

/// Where an HTTP route comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The object.
    pub origin: Origin,
    /// The route's field in it.
    pub field: String,
}

impl RouteSet {
    /// Where an HTTP route comes from.
    pub fn part(&self, index: usize) -> Part {
        let written = || Part { origin: self.origin.clone(), field: format!("spec.http[{index}]") };
        self.parts.get(index).cloned().unwrap_or_else(written)
    }

    /// The path in metadata of the VirtualService with these routes.
    pub fn path(&self) -> String {
        match &self.generated {
            None => self.origin.path("virtual-service"),
            Some(name) => {
                let namespace = &self.origin.namespace;
                format!("/apis/networking.istio.io/v1/namespaces/{namespace}/virtual-service/{name}")
            }
        }
    }

    /// All destinations of its routes, including mirrors.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let http = self.http.iter().flat_map(HttpRoute::destinations);
        let tls = self.tls.iter().flat_map(|r| r.destinations.iter().map(|d| &d.destination));
        let tcp = self.tcp.iter().flat_map(|r| r.destinations.iter().map(|d| &d.destination));
        http.chain(tls).chain(tcp)
    }

    /// The destinations, including mirrors, of routes that clients in a namespace may take.
    pub fn destinations_for(&self, namespace: &str) -> Vec<&Destination> {
        let accepts = |source: &SourceMatch| source.namespace.as_ref().is_none_or(|n| n == namespace);
        let mut found: Vec<&Destination> = vec![];
        for route in &self.http {
            if route.matches.is_empty() || route.matches.iter().any(|m| accepts(&m.source)) {
                found.extend(route.destinations());
            }
        }
        for route in self.tls.iter().filter(|r| r.matches.iter().any(|m| accepts(&m.source))) {
            found.extend(route.destinations.iter().map(|d| &d.destination));
        }
        for route in &self.tcp {
            if route.matches.is_empty() || route.matches.iter().any(|m| accepts(&m.source)) {
                found.extend(route.destinations.iter().map(|d| &d.destination));
            }
        }
        found
    }
}

/// Where routes apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GatewayRef {
    /// Sidecars (`mesh`).
    Mesh,
    /// Gateway proxies that the named Gateway selects.
    Named {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// One HTTP route.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// Name; may be empty.
    pub name: String,
    /// The conditions, of which any must match; empty: every request matches.
    pub matches: Vec<HttpMatch>,
    /// What happens to matching requests.
    pub action: HttpAction,
    /// Replaces the matched prefix, or the whole path if the match is not a prefix.
    pub rewrite_uri: Option<String>,
    /// Replaces the authority (`Host`).
    pub rewrite_authority: Option<String>,
    /// Rewrites the path by a regular expression: pattern and substitution.
    pub rewrite_regex: Option<(String, String)>,
    /// Timeout of the whole request; absent or zero: none.
    pub timeout: Option<Duration>,
    /// Retry policy; absent: the mesh's default.
    pub retries: Option<Retries>,
    /// Per-route filter settings, sorted by filter name.
    pub filters: Vec<FilterOverride>,
    /// Destinations that get a copy of each request.
    pub mirrors: Vec<Mirror>,
    /// Changes to request headers.
    pub request_headers: HeaderMutations,
    /// Changes to response headers.
    pub response_headers: HeaderMutations,
}

impl HttpRoute {
    /// All destinations, including mirrors.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let routed = match &self.action {
            HttpAction::Forward(destinations) => destinations.as_slice(),
            _ => &[],
        };
        routed.iter().map(|d| &d.destination).chain(self.mirrors.iter().map(|m| &m.destination))
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpAction {
    /// The request is forwarded to one of these. Never empty; destinations with weight zero are left out.
    Forward(Vec<HttpDestination>),
    /// The response is a redirect.
    Redirect {
        /// The redirect's target.
        to: Redirect,
        /// Whether the redirect keeps the port of the request.
        request_port: bool,
    },
    /// The response comes from the configuration.
    Direct {
        /// Status code.
        status: u16,
        /// Response body.
        body: String,
    },
    /// The routes of another VirtualService apply. `Catalog` resolves delegates: the sets it returns contain none.
    Delegate {
        /// Namespace of the delegate.
        namespace: String,
        /// Name of the delegate.
        name: String,
    },
}

/// The conditions of an HTTP match. All must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpMatch {
    /// Name; may be empty.
    pub name: String,
    /// Path; absent: any.
    pub path: Option<PathMatch>,
    /// Whether the path is compared case-insensitively.
    pub ignore_case: bool,
    /// Headers, including `:scheme`, `:method` and `:authority`.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters.
    pub query: Vec<QueryMatch>,
    /// The conditions that pilot evaluates for each proxy.
    pub source: SourceMatch,
}

/// Conditions that do not depend on the request. Pilot evaluates them for each proxy and listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceMatch {
    /// Port of the service or gateway.
    pub port: Option<u16>,
    /// Labels of the client's workload.
    pub labels: Labels,
    /// Namespace of the client's workload.
    pub namespace: Option<String>,
    /// The gateways where the match applies; empty: those of the set.
    pub gateways: Vec<GatewayRef>,
}

/// A destination of HTTP requests with its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpDestination {
    /// Its index in the list as written, for messages. Destinations with weight zero are left out, so this can differ
    /// from the position here.
    pub index: usize,
    /// The destination.
    pub destination: Destination,
    /// Weight relative to the sum of all weights; 1 for a single destination.
    pub weight: u32,
    /// Changes to the headers of requests to this destination.
    pub request_headers: HeaderMutations,
    /// Changes to the headers of its responses.
    pub response_headers: HeaderMutations,
    /// Replaces the authority (set by a `Host` header for this destination), unless the route replaces it.
    pub rewrite_authority: Option<String>,
}

/// A service or one of its subsets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Fully qualified host in lower case.
    pub host: String,
    /// Subset; empty: the whole service.
    pub subset: String,
    /// Port; absent: the service's only port, else the listener's.
    pub port: Option<u16>,
}

/// A retry policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Maximum number of retries; 0: none.
    pub attempts: u32,
    /// Timeout of each attempt.
    pub per_try_timeout: Option<Duration>,
    /// Retry conditions; absent: the mesh's default.
    pub on: Option<Vec<RetryOn>>,
    /// Status codes that are retried.
    pub status_codes: Vec<u16>,
    /// Base delay before the first retry; absent: 25 ms.
    pub backoff: Option<Duration>,
    /// Whether retries avoid hosts that were already tried; absent: yes, except with consistent hashing.
    pub ignore_previous_hosts: Option<bool>,
}

/// A destination that gets copies of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Where copies go.
    pub destination: Destination,
    /// The fraction of requests that is copied; never zero.
    pub fraction: Fraction,
}

/// One TLS route.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsRoute {
    /// The conditions, of which any must match; never empty.
    pub matches: Vec<TlsMatch>,
    /// The destinations; never empty.
    pub destinations: Vec<TcpDestination>,
}

/// The conditions of a TLS match. All must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsMatch {
    /// SNI names: exact, `*` or `*.suffix`, in lower case.
    pub sni_hosts: Vec<String>,
    /// Subnets that contain the destination address; empty: any address.
    pub destination_subnets: Vec<IpNet>,
    /// The conditions that pilot evaluates for each proxy.
    pub source: SourceMatch,
}

/// One TCP route.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpRoute {
    /// The conditions, of which any must match; empty: every connection matches.
    pub matches: Vec<TcpMatch>,
    /// The destinations; never empty.
    pub destinations: Vec<TcpDestination>,
}

/// The conditions of a TCP match. All must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpMatch {
    /// Subnets that contain the destination address; empty: any address.
    pub destination_subnets: Vec<IpNet>,
    /// The conditions that pilot evaluates for each proxy.
    pub source: SourceMatch,
}

/// A destination of connections with its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpDestination {
    /// The destination.
    pub destination: Destination,
    /// Weight relative to the sum of all weights; 1 for a single destination.
    pub weight: u32,
}
