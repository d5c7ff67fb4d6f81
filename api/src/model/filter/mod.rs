//! Pure. HTTP filters, which process a request before the router and its response, and the settings that tables,
//! virtual hosts and routes may have for each filter. One file per filter; the enums here list them all.
//!
//! Envoy: `http_filters` and `typed_per_filter_config`.

pub mod buffer;
pub mod cors;
pub mod fault;
pub mod health_check;

use super::authorization::Authorization;
use buffer::Buffer;
use cors::CorsPolicy;
use fault::Fault;
use health_check::HealthCheck;

/// A filter of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpFilter {
    /// Name, under which routes override its settings.
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
    /// Holds requests until their bodies have arrived.
    Buffer(Buffer),
    /// Cross-origin rules, which only routes and virtual hosts give.
    Cors,
    /// Health checks to which the proxy responds, or whose responses it marks.
    HealthCheck(HealthCheck),
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

/// Settings of a table, a virtual host or a route for the filters of a name. The most specific level applies.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterOverride {
    /// The filters' name.
    pub name: String,
    /// The settings.
    pub setting: Setting,
}

/// Settings that replace the listener's.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// The filter is off.
    Off,
    /// Replaces the rules; empty: everything passes.
    Rbac(Vec<Authorization>),
    /// Replaces the faults.
    Fault(Fault),
    /// Cross-origin rules.
    Cors(CorsPolicy),
    /// Replaces the limit of held bodies.
    Buffer(Buffer),
}

impl Filter {
    /// Envoy's usual name of the filter, in lists of filters and in routes' settings.
    pub fn usual_name(&self) -> &'static str {
        match self {
            Self::Rbac(_) => RBAC,
            Self::Fault(_) => fault::NAME,
            Self::Buffer(_) => buffer::NAME,
            Self::Cors => cors::NAME,
            Self::HealthCheck(_) => health_check::NAME,
            Self::GrpcWeb => "envoy.filters.http.grpc_web",
            Self::GrpcStats => "envoy.filters.http.grpc_stats",
            Self::Alpn => "istio.alpn",
            Self::Stats => "istio.stats",
            Self::PeerMetadata => "istio.metadata_exchange",
            Self::Router => "envoy.filters.http.router",
        }
    }

    /// Whether only Istio's build of Envoy has this filter.
    pub fn is_istios(&self) -> bool {
        self.usual_name().starts_with("istio.")
    }
}

impl From<Filter> for HttpFilter {
    /// A filter under its usual name.
    fn from(kind: Filter) -> Self {
        Self { name: kind.usual_name().into(), disabled: false, kind }
    }
}

impl From<Fault> for FilterOverride {
    /// Settings for filters of the usual name.
    fn from(fault: Fault) -> Self {
        Self { name: fault::NAME.into(), setting: Setting::Fault(fault) }
    }
}

impl From<CorsPolicy> for FilterOverride {
    /// Settings for filters of the usual name.
    fn from(policy: CorsPolicy) -> Self {
        Self { name: cors::NAME.into(), setting: Setting::Cors(policy) }
    }
}

impl From<Buffer> for FilterOverride {
    /// Settings for filters of the usual name.
    fn from(buffer: Buffer) -> Self {
        Self { name: buffer::NAME.into(), setting: Setting::Buffer(buffer) }
    }
}

impl From<Vec<Authorization>> for FilterOverride {
    /// Settings for filters of the usual name.
    fn from(rules: Vec<Authorization>) -> Self {
        Self { name: RBAC.into(), setting: Setting::Rbac(rules) }
    }
}

/// Envoy's name of the role-based access control filter.
const RBAC: &str = "envoy.filters.http.rbac";
