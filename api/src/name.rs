//! Pure. Builds and parses Istio's names of clusters, routes and nodes. Exists because dashboards, tools and SNI
//! routing depend on their exact form (`outbound|9080|v1|reviews.default.svc.cluster.local`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Cluster that resets all connections: `REGISTRY_ONLY` routes unknown destinations to it.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Cluster that connects to the original destination: `ALLOW_ANY` routes unknown destinations to it.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Cluster for inbound ports that belong to no Service.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// Listener for captured outbound connections.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// Listener for captured inbound connections.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
/// Secret name of the workload's own certificate.
pub const WORKLOAD_CERTIFICATE: &str = "default";
/// Secret name of the mesh's trust anchors.
pub const WORKLOAD_ROOTS: &str = "ROOTCA";
/// The machine's own trust anchors.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Source address that marks connections from a sidecar to its own application, exempt from capture.
pub const INBOUND_SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 6));
/// The same for connections over IPv6.
pub const INBOUND_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The name of a cluster: a Service's port as seen by its clients, or a workload's port as seen by its sidecar.
///
/// Text form: `outbound|<port>|<subset>|<host>` or `inbound|<target port>||`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClusterName {
    /// A Service, for its clients.
    Outbound {
        /// Service port.
        port: u16,
        /// Subset of a DestinationRule; empty for the whole Service.
        subset: String,
        /// Fully qualified host.
        host: String,
    },
    /// A port of the workload, for its own sidecar.
    Inbound {
        /// Port of the workload (target port).
        port: u16,
    },
}

impl ClusterName {
    /// The cluster of a whole Service.
    pub fn outbound(host: &str, port: u16, subset: &str) -> Self {
        Self::Outbound { port, subset: subset.to_owned(), host: host.to_owned() }
    }

    /// The SNI that clients with automatic mTLS send: `outbound_.<port>_.<subset>_.<host>`.
    pub fn sni(&self) -> String {
        match self {
            Self::Outbound { port, subset, host } => format!("outbound_.{port}_.{subset}_.{host}"),
            Self::Inbound { port } => format!("inbound_.{port}_._."),
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbound { port, subset, host } => write!(f, "outbound|{port}|{subset}|{host}"),
            Self::Inbound { port } => write!(f, "inbound|{port}||"),
        }
    }
}

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Cluster(text.to_owned());
        let parts: Vec<&str> = text.split('|').collect();
        let [direction, port, subset, host] = parts[..] else { return Err(malformed()) };
        let port = port.parse().map_err(|_| malformed())?;
        match direction {
            "outbound" => Ok(Self::outbound(host, port, subset)),
            "inbound" => Ok(Self::Inbound { port }),
            _ => Err(malformed()),
        }
    }
}

/// The type of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A sidecar: runs beside an application and captures its traffic.
    Sidecar,
    /// A gateway: no captured traffic, listeners come from `Gateway` objects.
    Router,
}

/// The node id of an xDS client: `<kind>~<ip>~<pod>.<namespace>~<dns domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// The type of the proxy.
    pub kind: NodeKind,
    /// Address of the workload.
    pub ip: IpAddr,
    /// Pod name, without its namespace.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// DNS domain that completes short names, for example `default.svc.cluster.local`.
    pub domain: String,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            NodeKind::Sidecar => "sidecar",
            NodeKind::Router => "router",
        };
        write!(f, "{kind}~{}~{}.{}~{}", self.ip, self.pod, self.namespace, self.domain)
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Node(text.to_owned());
        let parts: Vec<&str> = text.split('~').collect();
        let [kind, ip, workload, domain] = parts[..] else { return Err(malformed()) };
        let kind = match kind {
            "sidecar" => NodeKind::Sidecar,
            "router" => NodeKind::Router,
            _ => return Err(malformed()),
        };
        let (pod, namespace) = workload.rsplit_once('.').ok_or_else(malformed)?;
        Ok(Self {
            kind,
            ip: ip.parse().map_err(|_| malformed())?,
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

/// A malformed name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `outbound|port|subset|host` or `inbound|port||`.
    #[error("{0:?} is not a cluster name: expected direction|port|subset|host")]
    Cluster(String),
    /// Not `kind~ip~pod.namespace~domain`.
    #[error("{0:?} is not a node id: expected sidecar|router~ip~pod.namespace~domain")]
    Node(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_survive_a_round_trip() {
        for text in
            ["outbound|9080||reviews.default.svc.cluster.local", "outbound|80|v1|a.b", "inbound|9080||"]
        {
            assert_eq!(text.parse::<ClusterName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_cluster_names_are_refused() {
        for text in ["", "outbound|x||h", "outbound|80|h", "sideways|80||h", "outbound|80||h|more"] {
            assert!(text.parse::<ClusterName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_sni_of_a_subset_follows_istio() {
        assert_eq!(ClusterName::outbound("a.b", 80, "v1").sni(), "outbound_.80_.v1_.a.b");
    }

    #[test]
    fn node_ids_survive_a_round_trip() {
        let text = "sidecar~10.244.0.7~reviews-v1-abc.default~default.svc.cluster.local";
        let id: NodeId = text.parse().unwrap();
        assert_eq!((id.pod.as_str(), id.namespace.as_str()), ("reviews-v1-abc", "default"));
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn malformed_node_ids_are_refused() {
        for text in [
            "",
            "sidecar~10.0.0.1~pod.ns",
            "waypoint~10.0.0.1~p.n~d",
            "sidecar~x~p.n~d",
            "sidecar~10.0.0.1~p~d",
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }
}
