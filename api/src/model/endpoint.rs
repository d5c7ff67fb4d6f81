//! Pure. The addresses behind a cluster.
//!
//! Envoy: `config.endpoint.v3.ClusterLoadAssignment`.

use std::net::SocketAddr;

/// All endpoints of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadAssignment {
    /// The cluster's (or its EDS service) name.
    pub cluster: String,
    /// Endpoints, grouped by locality and priority.
    pub localities: Vec<LocalityEndpoints>,
}

impl LoadAssignment {
    /// Every endpoint in order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.localities.iter().flat_map(|l| &l.endpoints)
    }
}

/// Endpoints that share a locality and a priority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalityEndpoints {
    /// Region, zone and sub-zone; empty when unknown.
    pub locality: Locality,
    /// Priority; 0 is preferred.
    pub priority: u32,
    /// Relative weight among localities of one priority; `None`: not weighted.
    pub weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A locality: region, zone and sub-zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone in it.
    pub zone: String,
    /// Part of the zone.
    pub sub_zone: String,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: EndpointAddress,
    /// Whether it may be chosen.
    pub health: Health,
    /// Host name, which a rewrite can use as the request's authority; empty: none.
    pub hostname: String,
    /// Relative weight, 1 by default.
    pub weight: u32,
    /// It has a sidecar that accepts mTLS (metadata `envoy.transport_socket_match: {tlsMode: istio}`).
    pub mtls: bool,
    /// Its workload, for telemetry (metadata `istio: {workload: …}`).
    pub workload: Option<EndpointWorkload>,
}

/// Address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A host name to resolve (strict or logical DNS clusters).
    Dns(String, u16),
    /// A Unix socket.
    Pipe(String),
}

/// Whether an endpoint may be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Usable (also when unknown).
    #[default]
    Healthy,
    /// Usable, if the healthy endpoints do not suffice.
    Degraded,
    /// Not usable.
    Unhealthy,
    /// Draining: it gets no more requests.
    Draining,
}

/// Istio's endpoint metadata `workload`: `name;namespace;canonical-name;canonical-revision;cluster`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct EndpointWorkload {
    /// Workload (Deployment) name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Canonical service.
    pub canonical_name: String,
    /// Canonical revision, `latest` when unknown.
    pub canonical_revision: String,
    /// Cluster id.
    pub cluster_id: String,
}
