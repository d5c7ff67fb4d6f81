//! Pure. Routes of one object, a VirtualService: checked, hosts completed, conditions in the terms of the configuration
//! model. Nothing here is particular to the kind, so that an HTTPRoute or an Ingress can become the same.

use super::visibility::{ExportTo, Labels, Origin};
use api::model::filter::FilterOverride;
use api::model::matcher::{Fraction, HeaderMatch, HeaderMutations, QueryMatch};
use api::model::route::{PathMatch, Redirect, RetryOn};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

/// The routes that one object of a user gives to some hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSet {
    /// The object.
    pub origin: Origin,
    /// Hosts: fully qualified, lower case, `*` or `*.suffix`. Empty: others delegate to it.
    pub hosts: Vec<String>,
    /// Where it applies; never empty.
    pub gateways: Vec<GatewayRef>,
    /// HTTP routes, first match wins.
    pub http: Vec<HttpRoute>,
    /// TLS routes, first match wins.
    pub tls: Vec<TlsRoute>,
    /// TCP routes, first match wins.
    pub tcp: Vec<TcpRoute>,
    /// Who sees it.
    pub export_to: ExportTo,
    /// Routes HTTP on ports for which this one has no routes; a view of the catalog joins those of one host so.
    pub otherwise: Option<Arc<RouteSet>>,
}

impl RouteSet {
    /// Every destination its routes name, mirrors included.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let http = self.http.iter().flat_map(HttpRoute::destinations);
        let tls = self.tls.iter().flat_map(|r| r.destinations.iter().map(|d| &d.destination));
        let tcp = self.tcp.iter().flat_map(|r| r.destinations.iter().map(|d| &d.destination));
        http.chain(tls).chain(tcp)
    }

    /// The destinations of routes that callers in a namespace may take, mirrors included.
    pub fn destinations_for(&self, namespace: &str) -> Vec<&Destination> {
        let meets = |source: &SourceMatch| source.namespace.as_ref().is_none_or(|n| n == namespace);
        let mut found: Vec<&Destination> = vec![];
        for route in &self.http {
            if route.matches.is_empty() || route.matches.iter().any(|m| meets(&m.source)) {
                found.extend(route.destinations());
            }
        }
        for route in self.tls.iter().filter(|r| r.matches.iter().any(|m| meets(&m.source))) {
            found.extend(route.destinations.iter().map(|d| &d.destination));
        }
        for route in &self.tcp {
            if route.matches.is_empty() || route.matches.iter().any(|m| meets(&m.source)) {
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
    /// Gateway proxies with this Gateway object.
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
    /// Any must match; empty: every request.
    pub matches: Vec<HttpMatch>,
    /// What happens.
    pub action: HttpAction,
    /// Replaces the matched prefix, or the whole path where none was matched by prefix.
    pub rewrite_uri: Option<String>,
    /// Replaces the authority.
    pub rewrite_authority: Option<String>,
    /// Replaces by regular expression: pattern and substitution.
    pub rewrite_regex: Option<(String, String)>,
    /// Limit for the response; absent or zero: none.
    pub timeout: Option<Duration>,
    /// When to try again; absent: the mesh's default.
    pub retries: Option<Retries>,
    /// Settings of filters, in order of their names.
    pub filters: Vec<FilterOverride>,
    /// Copies.
    pub mirrors: Vec<Mirror>,
    /// Changes to requests.
    pub request_headers: HeaderMutations,
    /// Changes to responses.
    pub response_headers: HeaderMutations,
}

impl HttpRoute {
    /// Every destination it names, mirrors included.
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
    /// It goes to one of these; never empty, zero weights already left out.
    Forward(Vec<HttpDestination>),
    /// Answered with a redirect.
    Redirect {
        /// Where clients are sent.
        to: Redirect,
        /// To the port that they called.
        request_port: bool,
    },
    /// Answered from the configuration.
    Direct {
        /// Status code.
        status: u16,
        /// Body.
        body: String,
    },
    /// Another set of routes goes on. `Catalog` resolves these: its sets never hold one.
    Delegate {
        /// Namespace of the other.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpMatch {
    /// Name; may be empty.
    pub name: String,
    /// Path; absent: any.
    pub path: Option<PathMatch>,
    /// Compare the path without regard to case.
    pub ignore_case: bool,
    /// Headers, with `:scheme`, `:method` and `:authority`.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters.
    pub query: Vec<QueryMatch>,
    /// What pilot decides for each proxy.
    pub source: SourceMatch,
}

/// Conditions that do not depend on the request: pilot decides them for each proxy and listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceMatch {
    /// Port of the service or gateway.
    pub port: Option<u16>,
    /// Labels of the caller's workload.
    pub labels: Labels,
    /// Namespace of the caller's workload.
    pub namespace: Option<String>,
    /// Only on these gateways; empty: as the set says.
    pub gateways: Vec<GatewayRef>,
}

/// A destination with its share.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpDestination {
    /// Its place in the list as written, for messages: those without weight are not here.
    pub index: usize,
    /// Where to.
    pub destination: Destination,
    /// Share of the sum of weights; 1 for a single destination.
    pub weight: u32,
    /// Changes to requests that go there.
    pub request_headers: HeaderMutations,
    /// Changes to its responses.
    pub response_headers: HeaderMutations,
    /// Replaces the authority (from a `Host` header set here), unless the route itself does.
    pub rewrite_authority: Option<String>,
}

/// A service or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Fully qualified host in lower case.
    pub host: String,
    /// Subset; empty for the whole service.
    pub subset: String,
    /// Port; absent: the service's single port, else the listener's.
    pub port: Option<u16>,
}

/// When to try again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Repetitions; 0: none.
    pub attempts: u32,
    /// Limit for each attempt.
    pub per_try_timeout: Option<Duration>,
    /// Conditions; absent: the mesh's default ones.
    pub on: Option<Vec<RetryOn>>,
    /// Status codes that count.
    pub status_codes: Vec<u16>,
    /// Wait before the first repetition; absent: 25 ms.
    pub backoff: Option<Duration>,
    /// Avoid hosts that were tried; absent: yes, but with consistent hash.
    pub ignore_previous_hosts: Option<bool>,
}

/// Copies of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Where copies go.
    pub destination: Destination,
    /// Which share; never zero.
    pub fraction: Fraction,
}

/// One TLS route.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsRoute {
    /// Any must match; never empty.
    pub matches: Vec<TlsMatch>,
    /// Where connections go; never empty.
    pub destinations: Vec<TcpDestination>,
}

/// All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsMatch {
    /// SNI is one of these: exact, `*` or `*.suffix`, lower case.
    pub sni_hosts: Vec<String>,
    /// The address called is in one of these; empty: any.
    pub destination_subnets: Vec<IpNet>,
    /// What pilot decides for each proxy.
    pub source: SourceMatch,
}

/// One TCP route.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpRoute {
    /// Any must match; empty: every connection.
    pub matches: Vec<TcpMatch>,
    /// Where connections go; never empty.
    pub destinations: Vec<TcpDestination>,
}

/// All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpMatch {
    /// The address called is in one of these; empty: any.
    pub destination_subnets: Vec<IpNet>,
    /// What pilot decides for each proxy.
    pub source: SourceMatch,
}

/// A destination with its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpDestination {
    /// Where to.
    pub destination: Destination,
    /// Share of the sum of weights; 1 for a single destination.
    pub weight: u32,
}
