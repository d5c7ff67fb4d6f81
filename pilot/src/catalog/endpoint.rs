//! Pure. Look-ups of a service's pods and static endpoints, and of the mTLS mode of a workload.

use super::Catalog;
use super::kind::peer_authentication::{own_policy, peer_mode};
use super::service::{Registry, Service, ServiceEndpoint, ServicePort, StaticEndpoint, TargetPort};
use super::visibility::Labels;
use super::workload::Workload;
use crate::flow::MtlsMode;
use api::model::endpoint::{EndpointAddress, Health};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

impl ServicePort {
    /// Returns the pod's port that this service port targets; `None` if the pod has no port with the target's name.
    pub fn on(&self, workload: &Workload) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => workload.named_port(name),
        }
    }
}

impl Catalog {
    /// The pods that a service's selector selects, sorted by name.
    pub fn pods_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Arc<Workload>> {
        let labels = service.selector.iter().flatten();
        let lists = labels.map(|(n, v)| self.index.labelled(&service.namespace, n, v));
        let fewest = lists.min_by_key(|pods| pods.len()).unwrap_or_default();
        let named = fewest.iter().filter(|w| w.namespace == service.namespace && service.selects(&w.labels));
        let any = service.selector.as_ref().is_some_and(Labels::is_empty);
        named.chain(any.then(|| self.workloads_in(&service.namespace)).into_iter().flatten())
    }

    /// The static endpoints of a service. Empty if its selector selects pods.
    pub fn written<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a StaticEndpoint> {
        let chosen = !service.endpoints.list().is_empty()
            && service.registry == Registry::Kubernetes
            && self.pods_of(service).next().is_some();
        service.endpoints.list().iter().filter(move |_| !chosen)
    }

    /// Returns the mTLS mode of a workload's port: of the oldest PeerAuthentication that selects the workload, else of
    /// its namespace's, else of the mesh's; permissive by default.
    pub fn mtls_mode(&self, workload: &Workload, port: u16) -> MtlsMode {
        self.peer_mode(&workload.namespace, &workload.labels, Some(port))
    }

    /// Returns the mTLS mode of a workload on ports that no policy names.
    pub fn default_mtls_mode(&self, namespace: &str, labels: &Labels) -> MtlsMode {
        self.peer_mode(namespace, labels, None)
    }

    /// The ports that the PeerAuthentication of workloads with these labels names, with the mode of each, whether or
    /// not a Service names them too.
    pub fn policy_ports(&self, namespace: &str, labels: &Labels) -> Vec<(u16, MtlsMode)> {
        let ports = own_policy(self.mesh(), self.index.all(), (namespace, labels))
            .map(|p| p.ports.keys().copied())
            .into_iter()
            .flatten();
        ports.map(|port| (port, self.peer_mode(namespace, labels, Some(port)))).collect()
    }

    /// Returns the mTLS mode of workloads with these labels, on a port or (`None`) on ports that no policy names.
    pub fn peer_mode(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> MtlsMode {
        peer_mode(self.mesh(), &self.index.all(), (namespace, labels), port)
    }
}

pub(super) fn static_port(port: &ServicePort) -> u16 {
    match &port.target {
        TargetPort::Number(number) => *number,
        TargetPort::Name(_) => port.number,
    }
}

/// Whether a static endpoint is declared to accept mTLS: its label says so, or, without the label, it has a service
/// account.
pub(super) fn static_takes_mtls(endpoint: &StaticEndpoint) -> bool {
    match endpoint.labels.get("security.istio.io/tlsMode") {
        Some(mode) => mode == "istio",
        None => !endpoint.service_account.is_empty(),
    }
}

pub(super) fn static_endpoint(endpoint: &StaticEndpoint, port: &ServicePort) -> Option<ServiceEndpoint> {
    let number = endpoint.serving(port)?;
    let address = match (endpoint.host.strip_prefix("unix://"), endpoint.host.parse::<IpAddr>()) {
        (Some(path), _) => EndpointAddress::Pipe(path.to_owned()),
        (None, Ok(ip)) => EndpointAddress::Socket(SocketAddr::new(ip, number)),
        (None, Err(_)) => EndpointAddress::Dns(endpoint.host.clone(), number),
    };
    (endpoint.ready || endpoint.draining).then(|| ServiceEndpoint {
        address,
        health: if endpoint.ready { Health::Healthy } else { Health::Draining },
        weight: endpoint.weight,
        mtls: static_takes_mtls(endpoint),
        labels: endpoint.labels.clone(),
        workload: None,
        locality: endpoint.locality.clone(),
    })
}
