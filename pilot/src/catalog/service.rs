//! Pure. Services that clients call, made from Kubernetes Services and ServiceEntries, and their endpoints.

use super::node::Distribution;
use super::visibility::{ExportTo, Labels, Origin, selects};
use super::workload::Workload;
use crate::flow::Protocol;
use api::model::endpoint::{EndpointAddress, Health, Locality};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A service: a host with ports and endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Fully qualified host in lower case; `*.domain` for a wildcard ServiceEntry.
    pub host: String,
    /// Short name of the Service; for a ServiceEntry the host.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// The object it was made from.
    pub origin: Origin,
    /// The kind of that object.
    pub registry: Registry,
    /// Virtual addresses, single ones as /32 or /128. Empty for headless services.
    pub addresses: Vec<IpNet>,
    /// Addresses allocated by the catalog for a ServiceEntry that declares none.
    pub allocated: Vec<IpAddr>,
    /// Whether address allocation is disabled (label `networking.istio.io/enable-autoallocate-ip: "false"`).
    pub unallocated: bool,
    /// The host that an ExternalName Service is an alias of.
    pub alias_of: Option<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Whether this is a Kubernetes Service with `clusterIP: None`.
    pub headless: bool,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Whether this is a ServiceEntry outside the mesh, which gets no automatic mTLS.
    pub mesh_external: bool,
    /// Selector of its pods; empty labels select all pods of the namespace. `None`: no selector.
    pub selector: Option<Labels>,
    /// Whether endpoints get traffic before they are ready.
    pub publish_not_ready: bool,
    /// Static endpoints, from the object itself or from `Endpoints` and `EndpointSlice` objects.
    pub endpoints: WrittenEndpoints,
    /// Subject alternative names that endpoints may present, in addition to the identities of their service accounts.
    pub subject_alt_names: Vec<String>,
    /// Which namespaces see it.
    pub export_to: ExportTo,
    /// Which endpoints clients prefer.
    pub distribution: Distribution,
    /// The addresses outside of the cluster, of its load balancer and `externalIPs`; the name of an ExternalName Service.
    pub outside: Vec<String>,
    /// Whether gateways that the Service selects listen on the target ports rather than on the Service's ports.
    pub translates_ports: bool,
}

impl Service {
    /// Whether two services differ in nothing but static endpoints.
    pub fn has_outline_of(&self, other: &Self) -> bool {
        let endpoints = WrittenEndpoints::default();
        if self.endpoints == endpoints && other.endpoints == endpoints {
            return self == other;
        }
        // Compares the whole struct, so that no field is forgotten. The cost does not matter: only changed services are
        // compared.
        Self { endpoints: endpoints.clone(), ..self.clone() } == Self { endpoints, ..other.clone() }
    }

    /// Returns the port with this number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.number == number)
    }

    /// Whether its selector selects a pod of its namespace with these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.selector.as_ref().is_some_and(|selector| selects(selector, labels))
    }

    /// Whether the host is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.host.starts_with('*')
    }

    /// Virtual addresses that are single addresses.
    pub fn single_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len()).map(IpNet::addr)
    }

    /// Virtual addresses that are ranges.
    pub fn ranges(&self) -> impl Iterator<Item = IpNet> {
        self.addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len()).map(IpNet::trunc)
    }

    /// Resolves an ExternalName Service, through further aliases, to the service behind it. `None` if this Service is
    /// no alias, or if the chain is a cycle or leads to a host that `find` does not know.
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

/// The longest chain of aliases that is followed; a longer one is treated as a cycle.
const MOST_ALIASES: usize = 8;

/// Static endpoints of a service. Only the catalog reads the list; configuration is generated from `Backing`, which
/// includes the pods and policies that the endpoints depend on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WrittenEndpoints {
    list: Vec<StaticEndpoint>,
    /// Whether a cluster's controller lists the selected pods here, ready or not.
    selected: bool,
}

impl WrittenEndpoints {
    /// The endpoints that a cluster's controller, and perhaps a user, list for a service.
    pub(super) fn of_selected_pods(list: Vec<StaticEndpoint>) -> Self {
        Self { list, selected: true }
    }

    pub(super) fn list(&self) -> &[StaticEndpoint] {
        &self.list
    }

    /// Whether the list names the pods that the service's selector selects, so that pods are not looked up by it.
    pub(super) fn names_selected_pods(&self) -> bool {
        self.selected
    }
}

impl From<Vec<StaticEndpoint>> for WrittenEndpoints {
    fn from(list: Vec<StaticEndpoint>) -> Self {
        Self { list, selected: false }
    }
}

/// The kind of object that declares a service.
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
    /// Known to the catalog: pods or static endpoints.
    Endpoints,
    /// All addresses that the endpoints' names resolve to.
    Dns,
    /// The first address that a name resolves to.
    DnsRoundRobin,
    /// The client's original destination address.
    Passthrough,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The number that clients use.
    pub number: u16,
    /// Name; empty if it is the only port.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The corresponding port of the workload.
    pub target: TargetPort,
}

/// A port of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container's port.
    Name(String),
}

/// An endpoint whose address is listed explicitly.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticEndpoint {
    /// IP address or DNS name.
    pub host: String,
    /// Port numbers by the names of the service's ports; the target port where absent.
    pub ports: Arc<BTreeMap<String, u16>>,
    /// Numbers of the service ports that it serves; empty: all of them.
    pub serves: Vec<u16>,
    /// Its labels, for subsets.
    pub labels: Labels,
    /// Relative weight.
    pub weight: u32,
    /// Its service account, from which its identity follows.
    pub service_account: String,
    /// Whether it gets requests.
    pub ready: bool,
    /// Whether it is being stopped and only finishes the requests that it has, unless it is ready.
    pub draining: bool,
    /// The pod of the service's namespace that it belongs to, if its object names one.
    pub pod: Option<Box<str>>,
    /// Where it is, if its object says so. An EndpointSlice names the zone only.
    pub locality: Option<Arc<Locality>>,
}

/// An endpoint of a service port.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEndpoint {
    /// The address to connect to.
    pub address: EndpointAddress,
    /// Whether it gets requests; terminating pods are `Draining`.
    pub health: Health,
    /// Relative weight.
    pub weight: u32,
    /// Whether it has a sidecar that accepts mTLS on this port (its PeerAuthentication does not disable it).
    pub mtls: bool,
    /// Labels, for subsets.
    pub labels: Labels,
    /// The pod, if the endpoint is one.
    pub workload: Option<Arc<Workload>>,
    /// Where it is, if known.
    pub locality: Option<Arc<Locality>>,
}
