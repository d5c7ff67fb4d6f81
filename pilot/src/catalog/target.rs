//! Pure. Which pods a port of a service leads to, and which services lead to a pod: by the service's selector, or by a
//! pod's address that is written down in a ServiceEntry or an EndpointSlice of the same namespace.

use super::Catalog;
use super::endpoint::static_port;
use super::service::{Service, ServicePort, StaticEndpoint};
use super::workload::Workload;
use std::net::IpAddr;
use std::sync::Arc;

/// A port of a workload that a service leads to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service.
    pub service: Arc<Service>,
    /// Its port, by its place among the service's ports.
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
    /// The pods that a port of a service leads to, with their ports: those that its selector chooses, then those whose
    /// address is written down for it.
    pub fn targets<'a>(
        &'a self,
        service: &'a Service,
        port: &'a ServicePort,
    ) -> impl Iterator<Item = (&'a Arc<Workload>, u16)> {
        let chosen = self.pods_of(service).filter_map(|pod| Some((pod, port.on(pod)?)));
        let written = service.endpoints.iter();
        let written = written.filter_map(|e| Some((self.pod_at(service, e)?, e.port(port))));
        chosen.chain(written)
    }

    /// All pods behind a service: those that its selector chooses, then those whose address is written down for it.
    pub fn members<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Arc<Workload>> {
        let written = service.endpoints.iter().filter_map(|e| self.pod_at(service, e));
        self.pods_of(service).chain(written)
    }

    /// The pod that an endpoint of a service is: one of the service's own namespace with the endpoint's address.
    pub fn pod_at(&self, service: &Service, endpoint: &StaticEndpoint) -> Option<&Arc<Workload>> {
        let pod = self.workload_by_ip(endpoint.host.parse().ok()?)?;
        (pod.namespace == service.namespace).then_some(pod)
    }

    /// The ports of a workload that services of its namespace lead to, the oldest service first. `workload` is absent
    /// where only the addresses are known.
    pub fn targets_at(
        &self,
        namespace: &str,
        addresses: &[IpAddr],
        workload: Option<&Workload>,
    ) -> Vec<Target> {
        let chosen = workload.map(|w| self.services_of(w)).unwrap_or_default();
        let chosen = chosen.into_iter().flat_map(|service| {
            let ports = service.ports.iter().enumerate();
            let on = ports.filter_map(|(index, port)| Some((index, port.on(workload?)?)));
            on.map(|(index, number)| Target { service: service.clone(), index, number }).collect::<Vec<_>>()
        });
        let written = addresses.iter().flat_map(|address| {
            let services = self.index.services_by_address.get(address).into_iter().flatten();
            services.filter(|s| s.namespace == namespace).flat_map(|s| written_at(s, *address))
        });
        let mut targets: Vec<Target> = chosen.chain(written).collect();
        targets
            .sort_by(|a, b| (&a.service.origin, &a.service.host).cmp(&(&b.service.origin, &b.service.host)));
        targets
    }
}

impl StaticEndpoint {
    /// The port of the endpoint that a port of its service leads to.
    pub fn port(&self, port: &ServicePort) -> u16 {
        self.ports.get(&port.name).copied().unwrap_or_else(|| static_port(port))
    }
}

fn written_at(service: &Arc<Service>, address: IpAddr) -> Vec<Target> {
    let here = service.endpoints.iter().filter(|e| e.host.parse() == Ok(address));
    let ports = |e: &StaticEndpoint| {
        let ports = service.ports.iter().enumerate();
        ports.map(|(index, port)| (index, e.port(port))).collect::<Vec<_>>()
    };
    let all = here.flat_map(ports);
    all.map(|(index, number)| Target { service: service.clone(), index, number }).collect()
}
