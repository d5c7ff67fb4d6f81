//! Pure. DestinationRules in checked form, and the policy that applies to a port of a subset by Istio's precedence.

use super::visibility::{ExportTo, Labels, Origin};
use api::model::cluster::{Balancer, Keepalive, Limits, Outlier};
use api::model::route::HashKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// A DestinationRule, or several for one host and namespace merged into one.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    /// The object; of several, the oldest.
    pub origin: Origin,
    /// Fully qualified host, `*.suffix` or `*`.
    pub host: String,
    /// The policy for all ports and subsets.
    pub policy: TrafficPolicy,
    /// The subsets of the service; their names are unique.
    pub subsets: Vec<Subset>,
    /// Which namespaces see the rule.
    pub export_to: ExportTo,
}

impl DestinationRule {
    /// Returns the subset with this name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|s| s.name == name)
    }

    /// Whether endpoints that fail are ejected, on any port of any subset.
    pub fn detects_outliers(&self) -> bool {
        let policies = std::iter::once(&self.policy).chain(self.subsets.iter().map(|s| &s.policy));
        let mut blocks =
            policies.flat_map(|policy| std::iter::once(&policy.blocks).chain(policy.ports.values()));
        blocks.any(|blocks| blocks.outlier.is_some())
    }

    /// Returns the policy of a port for the whole service (`subset` empty) or for one of its subsets.
    ///
    /// Each block that a subset sets replaces the rule's block. Settings for a port replace all blocks together, so a
    /// block that they omit has its default.
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

/// A subset of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// The labels of its endpoints.
    pub labels: Labels,
    /// Its own policy.
    pub policy: TrafficPolicy,
}

/// How clients connect to a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficPolicy {
    /// For all ports.
    pub blocks: PolicyBlocks,
    /// For individual ports, instead of `blocks`.
    pub ports: BTreeMap<u16, PolicyBlocks>,
}

/// The blocks of a traffic policy. An absent block has its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyBlocks {
    /// Load balancing; default: least request.
    pub load_balancer: Option<LoadBalancer>,
    /// Connection pool limits; default: none, with the mesh's connect timeout.
    pub connection_pool: Option<ConnectionPool>,
    /// Outlier detection; default: none.
    pub outlier: Option<OutlierPolicy>,
    /// TLS settings; default: automatic mTLS.
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

/// How an endpoint is selected.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadBalancer {
    /// The algorithm. `Provided` for PASSTHROUGH, which uses the client's original destination address.
    pub balancer: Balancer,
    /// The source of the key for consistent hashing. It becomes part of the routes to this service.
    pub hash: Option<HashKey>,
}

/// Limits and protocol of connections.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionPool {
    /// Limits on concurrent connections and requests. A written 0 has been parsed as unlimited.
    pub limits: Limits,
    /// Connect timeout; absent: the mesh's.
    pub connect_timeout: Option<Duration>,
    /// TCP keepalive.
    pub keepalive: Option<Keepalive>,
    /// Maximum requests per connection; 0: unlimited.
    pub max_requests_per_connection: u32,
    /// Idle timeout of HTTP connections; absent: 1 h.
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 requests are forwarded as HTTP/2.
    pub upgrade_to_http2: bool,
    /// Whether the upstream connection uses the client's HTTP version.
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
    /// The conditions for ejection.
    pub outlier: Outlier,
    /// Panic threshold: below this percentage of healthy endpoints, requests go to all endpoints.
    pub min_health_percent: u32,
}

/// TLS of connections to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTls {
    /// Plaintext.
    Disable,
    /// mTLS with the mesh's certificates.
    Istio {
        /// Subject alternative names that the server may present; empty: the identities of the service's accounts.
        subject_alt_names: Vec<String>,
        /// SNI; absent: the cluster's default.
        sni: Option<String>,
    },
    /// TLS with the user's own roots and certificates.
    Own {
        /// The client certificate (mode MUTUAL).
        certificate: Option<CertificatePlace>,
        /// The trust anchors.
        roots: RootsPlace,
        /// Subject alternative names that the server may present; empty: the requested host.
        subject_alt_names: Vec<String>,
        /// SNI; absent: the requested host.
        sni: Option<String>,
    },
}

/// Where the client certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificatePlace {
    /// Files in the proxy's file system: chain and key.
    Files {
        /// PEM chain.
        chain: String,
        /// PEM key.
        key: String,
    },
    /// A Secret in the gateway's namespace. Only gateways read these.
    Secret(String),
}

/// Where trust anchors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsPlace {
    /// The system's trust store.
    System,
    /// A PEM file in the proxy's file system.
    File(String),
    /// A Secret in the gateway's namespace. Only gateways read these.
    Secret(String),
    /// None: the server's certificate is not verified.
    Unverified,
}
