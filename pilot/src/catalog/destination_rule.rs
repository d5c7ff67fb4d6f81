//! Pure. DestinationRules: checked, and the policy that holds for one port of one subset, by Istio's precedence.

use super::visibility::{ExportTo, Labels, Origin};
use api::model::cluster::{Balancer, Keepalive, Limits, Outlier};
use api::model::route::HashKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// A DestinationRule, or several of one host and namespace merged.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    /// The (oldest) object.
    pub origin: Origin,
    /// Fully qualified host, or `*.suffix`, or `*`.
    pub host: String,
    /// For all ports and subsets.
    pub policy: TrafficPolicy,
    /// Parts of the service; names are unique.
    pub subsets: Vec<Subset>,
    /// Who sees it.
    pub export_to: ExportTo,
}

impl DestinationRule {
    /// The subset of that name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|s| s.name == name)
    }

    /// The policy of a port, for the whole service (`subset` empty) or one of its subsets.
    ///
    /// A subset's blocks overlay the rule's one by one; the settings of a port replace all blocks at once, so that
    /// what they leave out is at its default.
    pub fn effective(&self, port: u16, subset: &str) -> PolicyBlocks {
        let subset = self.subset(subset).map(|s| &s.policy);
        if let Some(replaced) = subset.and_then(|s| s.ports.get(&port)) {
            return replaced.clone();
        }
        let base = self.policy.ports.get(&port).unwrap_or(&self.policy.blocks);
        match subset {
            Some(own) => own.blocks.over(base),
            None => base.clone(),
        }
    }
}

/// A part of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels of its endpoints.
    pub labels: Labels,
    /// Its own policy.
    pub policy: TrafficPolicy,
}

/// How a service is called.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficPolicy {
    /// On all ports.
    pub blocks: PolicyBlocks,
    /// On single ports, instead of `blocks`.
    pub ports: BTreeMap<u16, PolicyBlocks>,
}

/// The blocks of a policy; an absent one is at its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyBlocks {
    /// How an endpoint is chosen; default: least request.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits; default: none, connect timeout of the mesh.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection; default: never.
    pub outlier: Option<OutlierPolicy>,
    /// TLS; default: automatic mTLS.
    pub tls: Option<ClientTls>,
}

impl PolicyBlocks {
    fn over(&self, base: &Self) -> Self {
        Self {
            load_balancer: self.load_balancer.clone().or_else(|| base.load_balancer.clone()),
            connection_pool: self.connection_pool.clone().or_else(|| base.connection_pool.clone()),
            outlier: self.outlier.or(base.outlier),
            tls: self.tls.clone().or_else(|| base.tls.clone()),
        }
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadBalancer {
    /// The balancer; `Provided` for PASSTHROUGH: the address the client wanted.
    pub balancer: Balancer,
    /// Where a consistent hash finds its key; goes into the routes to this service.
    pub hash: Option<HashKey>,
}

/// Limits and protocol of connections.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionPool {
    /// What is open at once; 0 was read as unlimited.
    pub limits: Limits,
    /// For making a connection; absent: the mesh's.
    pub connect_timeout: Option<Duration>,
    /// Probes on idle connections.
    pub keepalive: Option<Keepalive>,
    /// Requests per connection; 0: unlimited.
    pub max_requests_per_connection: u32,
    /// Longest silence of an HTTP connection; absent: 1 h.
    pub idle_timeout: Option<Duration>,
    /// HTTP/1.1 is sent on as HTTP/2.
    pub upgrade_to_http2: bool,
    /// Upstream speaks what the client speaks.
    pub use_client_protocol: bool,
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self {
            limits: Limits::UNLIMITED,
            connect_timeout: None,
            keepalive: None,
            max_requests_per_connection: 0,
            idle_timeout: None,
            upgrade_to_http2: false,
            use_client_protocol: false,
        }
    }
}

/// When failing endpoints are ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierPolicy {
    /// The rules.
    pub outlier: Outlier,
    /// Panic threshold of the cluster: with fewer healthy endpoints all are used.
    pub min_health_percent: u32,
}

/// TLS towards a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTls {
    /// None.
    Disable,
    /// With the mesh's certificates.
    Istio {
        /// Names the server must have; empty: the accounts of the service.
        subject_alt_names: Vec<String>,
        /// SNI; absent: the cluster's.
        sni: Option<String>,
    },
    /// With the user's own roots and certificates.
    Own {
        /// The caller's certificate (mode MUTUAL).
        certificate: Option<CertificatePlace>,
        /// Roots.
        roots: RootsPlace,
        /// Names the server must have; empty: the host called.
        subject_alt_names: Vec<String>,
        /// SNI; absent: the host called.
        sni: Option<String>,
    },
}

/// Where the caller's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificatePlace {
    /// Files of the proxy: chain and key.
    Files {
        /// PEM chain.
        chain: String,
        /// PEM key.
        key: String,
    },
    /// A Secret in the gateway's namespace (only gateways read these).
    Secret(String),
}

/// Where roots come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsPlace {
    /// The system's.
    System,
    /// A PEM file of the proxy.
    File(String),
    /// A Secret in the gateway's namespace (only gateways read these).
    Secret(String),
    /// The server is not verified.
    Unverified,
}
