//! Pure. Services as clients call them, from Kubernetes Services and ServiceEntries, and the endpoints behind them.

use super::visibility::{ExportTo, Labels, Origin, selects};
use super::workload::Workload;
use crate::flow::Protocol;
use api::model::endpoint::{EndpointAddress, Health};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A host that clients call.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Fully qualified host in lower case; `*.domain` for a wildcard ServiceEntry.
    pub host: String,
    /// Short name: of the Service; the host itself for a ServiceEntry.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// The object it was made from.
    pub origin: Origin,
    /// Which kind of object that was.
    pub registry: Registry,
    /// Virtual addresses, single ones as /32 or /128; empty for headless services.
    pub addresses: Vec<IpNet>,
    /// Addresses that the catalog gave to a ServiceEntry that names none.
    pub allocated: Vec<IpAddr>,
    /// Such addresses are not wanted (label `networking.istio.io/enable-autoallocate-ip: "false"`).
    pub unallocated: bool,
    /// Host that an ExternalName Service stands for.
    pub alias_of: Option<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// A Kubernetes Service with `clusterIP: None`.
    pub headless: bool,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// A ServiceEntry outside the mesh: no automatic mTLS.
    pub mesh_external: bool,
    /// Labels of its pods; without any, all pods of its namespace are chosen. `None`: no pods are.
    pub selector: Option<Labels>,
    /// Endpoints are used before they are ready.
    pub publish_not_ready: bool,
    /// Endpoints that the object itself, or `Endpoints` and `EndpointSlice` objects, give.
    pub endpoints: WrittenEndpoints,
    /// Names that the endpoints' certificates must have, besides the accounts of its pods.
    pub subject_alt_names: Vec<String>,
    /// Who sees it.
    pub export_to: ExportTo,
    /// Gateways that it chooses listen to the targets of its ports.
    pub translates_ports: bool,
}

impl Service {
    /// Whether nothing but written endpoints differs from another service.
    pub fn has_outline_of(&self, other: &Self) -> bool {
        let endpoints = WrittenEndpoints::default();
        if self.endpoints.0.is_empty() && other.endpoints.0.is_empty() {
            return self == other;
        }
        // Compared as a whole, so that no field is forgotten: it is seldom asked, of services that have changed.
        Self { endpoints: endpoints.clone(), ..self.clone() } == Self { endpoints, ..other.clone() }
    }

    /// The port of that number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.number == number)
    }

    /// Whether its selector chooses a pod of its namespace with these labels.
    pub fn chooses(&self, labels: &Labels) -> bool {
        self.selector.as_ref().is_some_and(|selector| selects(selector, labels))
    }

    /// Whether the host is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.host.starts_with('*')
    }

    /// Virtual addresses that stand for this service alone.
    pub fn single_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len()).map(IpNet::addr)
    }

    /// Virtual addresses that are a whole range.
    pub fn ranges(&self) -> impl Iterator<Item = IpNet> {
        self.addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len()).map(IpNet::trunc)
    }

    /// The service that an ExternalName Service stands for, through further ones; `None`: this is no such Service, or
    /// it leads in a circle or to a host that `find` does not know.
    pub fn behind<'a>(&'a self, find: impl Fn(&str) -> Option<&'a Self>) -> Option<&'a Self> {
        let mut found = find(self.alias_of.as_ref()?)?;
        for _ in 0..MOST_ALIASES {
            match &found.alias_of {
                Some(next) => found = find(next)?,
                None => return Some(found),
            }
        }
        None
    }
}

/// Aliases that are followed one after the other; more are a circle.
const MOST_ALIASES: usize = 8;

/// Endpoints that are written down. Whoever makes configuration gets them from `Backing` alone, with what they depend on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WrittenEndpoints(Vec<StaticEndpoint>);

impl WrittenEndpoints {
    pub(super) fn list(&self) -> &[StaticEndpoint] {
        &self.0
    }
}

impl From<Vec<StaticEndpoint>> for WrittenEndpoints {
    fn from(endpoints: Vec<StaticEndpoint>) -> Self {
        Self(endpoints)
    }
}

/// Where a service is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// How the endpoints of a service are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Known to the catalog (`endpoints`): pods, or addresses that were given.
    Endpoints,
    /// Every address that DNS gives for the endpoints' names.
    Dns,
    /// The first address that DNS gives.
    DnsRoundRobin,
    /// The address the client wanted.
    Passthrough,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Number that clients use.
    pub number: u16,
    /// Name; empty when there is only one.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Port of the workload.
    pub target: TargetPort,
}

/// Port of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container's port.
    Name(String),
}

/// An endpoint that is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticEndpoint {
    /// IP address or DNS name.
    pub host: String,
    /// Ports by the names of the service's; the target port where absent.
    pub ports: BTreeMap<String, u16>,
    /// Numbers of the service's ports that it serves; empty: all of them.
    pub serves: Vec<u16>,
    /// Its labels, for subsets.
    pub labels: Labels,
    /// Relative weight.
    pub weight: u32,
    /// Its service account, for its identity.
    pub service_account: String,
    /// Whether it takes requests.
    pub ready: bool,
}

/// An address behind a port of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEndpoint {
    /// Where to connect.
    pub address: EndpointAddress,
    /// Whether it takes requests; ending pods are `Draining`.
    pub health: Health,
    /// Relative weight.
    pub weight: u32,
    /// It has a sidecar that takes mTLS on this port (its PeerAuthentication does not disable it).
    pub mtls: bool,
    /// Labels, for subsets.
    pub labels: Labels,
    /// The pod, where the endpoint is one.
    pub workload: Option<Arc<Workload>>,
}
