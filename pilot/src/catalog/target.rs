//! Pure. The pods that a service port targets, and the services that target a pod: by the service's selector, or
//! because a ServiceEntry or an EndpointSlice lists the pod's address.

use super::Catalog;
use super::endpoint::static_port;
use super::service::{Service, ServicePort, StaticEndpoint};
use super::workload::Workload;
use std::net::IpAddr;
use std::sync::Arc;

/// A workload's port that a service targets.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service.
    pub service: Arc<Service>,
    /// The index of the service's port.
    pub index: usize,
    /// The workload's port.
    pub number: u16,
}

impl Target {
    /// The service's port.
    pub fn port(&self) -> &ServicePort {
        &self.service.ports[self.index]
    }
}

impl Catalog {
    /// The pods of its own namespace that a service port targets, with the targeted port: those that its selector
    /// selects, then those whose address is one of its static endpoints.
    pub fn targets<'a>(
        &'a self,
        service: &'a Service,
        port: &'a ServicePort,
    ) -> impl Iterator<Item = (&'a Arc<Workload>, u16)> {
        let chosen = self.pods_of(service).filter_map(|pod| Some((pod, port.on(pod)?)));
        let written = self.written(service).filter_map(|e| Some((self.pod_at(e)?, e.serving(port)?)));
        chosen.chain(written.filter(|(pod, _)| pod.namespace == service.namespace))
    }

    /// All pods behind a service: those that its selector selects, then those whose address is one of its static
    /// endpoints.
    pub fn members<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Arc<Workload>> {
        let written = self.written(service).filter_map(|e| self.pod_at(e));
        self.pods_of(service).chain(written)
    }

    /// The ports of a workload that services of its namespace target, the oldest service first. Services of other
    /// namespaces do not affect what the workload's sidecar accepts.
    pub fn targets_of(&self, workload: &Workload) -> Vec<Target> {
        let chosen = self.services_of(workload).into_iter().flat_map(|service| {
            let ports = service.ports.iter().enumerate();
            let on = ports.filter_map(|(index, port)| Some((index, port.on(workload)?)));
            on.map(|(index, number)| Target { service: service.clone(), index, number }).collect::<Vec<_>>()
        });
        let written = workload.addresses.iter().flat_map(|address| {
            let services = self.index.services_by_address.list(address).iter();
            let near = services.filter(|s| s.namespace == workload.namespace);
            near.flat_map(|s| self.written_at(s, *address))
        });
        let mut targets: Vec<Target> = chosen.chain(written).collect();
        targets
            .sort_by(|a, b| (&a.service.origin, &a.service.host).cmp(&(&b.service.origin, &b.service.host)));
        targets
    }

    fn written_at(&self, service: &Arc<Service>, address: IpAddr) -> Vec<Target> {
        let here = self.written(service).filter(|e| e.host.parse() == Ok(address));
        let ports = |e: &StaticEndpoint| {
            let ports = service.ports.iter().enumerate();
            ports.filter_map(|(index, port)| Some((index, e.serving(port)?))).collect::<Vec<_>>()
        };
        let all = here.flat_map(ports);
        all.map(|(index, number)| Target { service: service.clone(), index, number }).collect()
    }

    /// Returns the pod of a service's endpoint: the one that it names, if that has the endpoint's address, else the one
    /// that has its address.
    pub(super) fn pod_of(&self, service: &Service, endpoint: &StaticEndpoint) -> Option<&Arc<Workload>> {
        let Some(name) = &endpoint.pod else { return self.pod_at(endpoint) };
        let pod = self.index.workloads.get(&(service.namespace.clone(), name.to_string()))?;
        let address: IpAddr = endpoint.host.parse().ok()?;
        pod.addresses.contains(&address).then_some(pod)
    }

    /// Returns the pod that has the address of an endpoint.
    pub(super) fn pod_at(&self, endpoint: &StaticEndpoint) -> Option<&Arc<Workload>> {
        self.workload_by_ip(endpoint.host.parse().ok()?)
    }
}

impl StaticEndpoint {
    /// The endpoint's port that a service port targets.
    pub fn port(&self, port: &ServicePort) -> u16 {
        self.ports.get(&port.name).copied().unwrap_or_else(|| static_port(port))
    }

    /// The endpoint's port that a service port targets, if the endpoint serves that port.
    pub(super) fn serving(&self, port: &ServicePort) -> Option<u16> {
        (self.serves.is_empty() || self.serves.contains(&port.number)).then(|| self.port(port))
    }
}
