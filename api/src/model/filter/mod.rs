//! Pure. HTTP filters: what happens to a request before it is routed on and to its response, and what tables, virtual
//! hosts and routes may say to each filter. One file per filter; the enums here are the table of them.
//!
//! Envoy: `http_filters` and `typed_per_filter_config`.

pub mod cors;
pub mod fault;

use super::authorization::Authorization;
use cors::CorsPolicy;
use fault::Fault;

/// A filter of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpFilter {
    /// Name by which routes give it settings.
    pub name: String,
    /// Off, unless a route, a virtual host or the table has settings for it.
    pub disabled: bool,
    /// What it does.
    pub kind: Filter,
}

/// What a filter does, with its settings for the whole listener.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Role-based access control: enforced rules, shadow rules, both or none.
    Rbac(Vec<Authorization>),
    /// Faults.
    Fault(Fault),
    /// Cross-origin rules, which only routes and virtual hosts give.
    Cors,
    /// gRPC-Web to gRPC.
    GrpcWeb,
    /// gRPC message counts.
    GrpcStats,
    /// Istio: choose upstream ALPN by the request's protocol.
    Alpn,
    /// Istio: standard metrics.
    Stats,
    /// Istio: exchange of peer metadata.
    PeerMetadata,
    /// The end of the list: routes and sends.
    Router,
}

/// What a table, a virtual host or a route says to the filters of a name. Of the three the most specific one counts.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterOverride {
    /// The filters' name.
    pub name: String,
    /// Its settings.
    pub setting: Setting,
}

/// Settings in place of a listener's.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// The filter is off.
    Off,
    /// Other rules; none: everything passes.
    Rbac(Vec<Authorization>),
    /// Other faults.
    Fault(Fault),
    /// Cross-origin rules.
    Cors(CorsPolicy),
}

impl Filter {
    /// Envoy's name for it, under which filters stand in lists and routes give settings.
    pub fn usual_name(&self) -> &'static str {
        match self {
            Self::Rbac(_) => RBAC,
            Self::Fault(_) => fault::NAME,
            Self::Cors => cors::NAME,
            Self::GrpcWeb => "envoy.filters.http.grpc_web",
            Self::GrpcStats => "envoy.filters.http.grpc_stats",
            Self::Alpn => "istio.alpn",
            Self::Stats => "istio.stats",
            Self::PeerMetadata => "istio.metadata_exchange",
            Self::Router => "envoy.filters.http.router",
        }
    }

    /// Whether only Istio's Envoy has it.
    pub fn is_istios(&self) -> bool {
        match self {
            Self::Alpn | Self::Stats | Self::PeerMetadata => true,
            Self::Rbac(_) | Self::Fault(_) | Self::Cors | Self::GrpcWeb | Self::GrpcStats | Self::Router => {
                false
            }
        }
    }
}

impl From<Filter> for HttpFilter {
    /// Under its usual name.
    fn from(kind: Filter) -> Self {
        Self { name: kind.usual_name().into(), disabled: false, kind }
    }
}

impl From<Fault> for FilterOverride {
    /// For filters of the usual name.
    fn from(fault: Fault) -> Self {
        Self { name: fault::NAME.into(), setting: Setting::Fault(fault) }
    }
}

impl From<CorsPolicy> for FilterOverride {
    /// For filters of the usual name.
    fn from(policy: CorsPolicy) -> Self {
        Self { name: cors::NAME.into(), setting: Setting::Cors(policy) }
    }
}

impl From<Vec<Authorization>> for FilterOverride {
    /// For filters of the usual name.
    fn from(rules: Vec<Authorization>) -> Self {
        Self { name: RBAC.into(), setting: Setting::Rbac(rules) }
    }
}

/// Envoy's name of the filter of role-based access control.
const RBAC: &str = "envoy.filters.http.rbac";
