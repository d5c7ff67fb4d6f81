//! Pure. The configuration model: listeners, routes, clusters, endpoints, secrets and workloads as plain values.
//!
//! The concepts and defaults are Envoy's, reduced to what a mesh uses; `wire` turns them into Envoy's protobuf
//! and back. Pilot generates these values, the proxy acts on them, and neither sees a protobuf type. A value is
//! complete: an absent duration means "no limit", never "some default", because `wire` fills in Envoy's defaults
//! while decoding.

pub mod listener;

pub mod cluster;
pub mod route;
pub mod filter;

pub mod authorization;

pub mod access_log;
pub mod endpoint;
pub mod secret;
pub mod tls;
pub mod workload;

pub mod matcher;
pub mod port_set;

/// One resource of any type, as xDS carries it.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "routes, nearly as large, are as many as listeners")]
pub enum Resource {
    /// LDS.
    Listener(listener::Listener),
    /// RDS.
    Route(route::RouteConfiguration),
    /// CDS.
    Cluster(Box<cluster::Cluster>),
    /// EDS.
    Endpoints(endpoint::LoadAssignment),
    /// SDS.
    Secret(secret::Secret),
    /// Workload discovery: the workload at an address.
    Workload(workload::Workload),
    /// Name table for the proxy's DNS server.
    Names(workload::NameTable),
}

impl Resource {
    /// The type this resource belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Listener(_) => Kind::Listener,
            Self::Route(_) => Kind::Route,
            Self::Cluster(_) => Kind::Cluster,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::Secret(_) => Kind::Secret,
            Self::Workload(_) => Kind::Workload,
            Self::Names(_) => Kind::Names,
        }
    }

    /// The name xDS addresses it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Listener(r) => &r.name,
            Self::Route(r) => &r.name,
            Self::Cluster(r) => &r.name,
            Self::Endpoints(r) => &r.cluster,
            Self::Secret(r) => &r.name,
            Self::Workload(r) => &r.uid,
            Self::Names(_) => "",
        }
    }
}

/// The resource types of the mesh, in the order in which a configuration must be applied: a resource comes before
/// the resources that refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoints,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    Route,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`
    Secret,
    /// `istio.workload.Workload`, requested by address
    Workload,
    /// `istio.networking.nds.v1.NameTable`
    Names,
}

impl Kind {
    /// Every kind, in push order.
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Route,
        Self::Secret,
        Self::Workload,
        Self::Names,
    ];

    /// The type URL of xDS requests and `Any` values.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Workload => "type.googleapis.com/istio.workload.Address",
            Self::Names => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The kind of a type URL; `None` for a type that the mesh does not use.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.type_url() == url)
    }
}
