//! Pure. The endpoints behind a service, who they are, and which callers they take.

use super::Catalog;
use super::policy::PeerAuthentication;
use super::service::{
    Registry, Resolution, Service, ServiceEndpoint, ServicePort, StaticEndpoint, TargetPort,
};
use super::visibility::{Labels, selects};
use super::workload::Workload;
use crate::flow::MtlsMode;
use api::model::endpoint::{EndpointAddress, Health};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

impl ServicePort {
    /// The port of a pod that this port leads to; `None` when the pod has no port of that name.
    pub fn on(&self, workload: &Workload) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => workload.named_port(name),
        }
    }
}

impl Catalog {
    /// The addresses behind a port of a service, sorted by pod; for a service that DNS resolves, the names to ask
    /// for. Empty for pass-through services.
    pub fn endpoints(&self, service: &Service, port: &ServicePort) -> Vec<ServiceEndpoint> {
        if service.resolution == Resolution::Passthrough {
            return vec![];
        }
        let mut endpoints: Vec<ServiceEndpoint> =
            self.pods_of(service).filter_map(|pod| self.pod_endpoint(service, port, pod)).collect();
        endpoints.extend(self.written(service).filter_map(|e| self.written_endpoint(e, port)));
        if endpoints.is_empty() && service.resolution != Resolution::Endpoints {
            endpoints.push(ServiceEndpoint {
                address: EndpointAddress::Dns(service.host.clone(), static_port(port)),
                health: Health::Healthy,
                weight: 1,
                mtls: false,
                labels: Labels::new(),
                workload: None,
            });
        }
        endpoints
    }

    /// The pods that a service's selector chooses, sorted by name.
    pub fn pods_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Arc<Workload>> {
        let labels = service.selector.iter().flatten();
        let lists = labels.map(|(n, v)| self.index.labelled(&service.namespace, n, v));
        let fewest = lists.min_by_key(|pods| pods.len()).unwrap_or_default();
        let named = fewest.iter().filter(|w| w.namespace == service.namespace && service.chooses(&w.labels));
        let any = service.selector.as_ref().is_some_and(Labels::is_empty);
        named.chain(any.then(|| self.workloads_in(&service.namespace)).into_iter().flatten())
    }

    /// Addresses that are written down for a service; none where its selector chooses pods.
    pub fn written<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a StaticEndpoint> {
        let chosen = !service.endpoints.is_empty()
            && service.registry == Registry::Kubernetes
            && self.pods_of(service).next().is_some();
        service.endpoints.iter().filter(move |_| !chosen)
    }

    /// Whether every address behind a port of a service takes mTLS, ready or not; `false` where there is none.
    pub fn takes_mtls(&self, service: &Service, port: &ServicePort) -> bool {
        if service.resolution == Resolution::Passthrough {
            return false;
        }
        let pods = self.pods_of(service).filter(|p| !p.finished);
        let pods = pods.filter_map(|p| Some(self.pod_takes_mtls(p, port.on(p)?)));
        let written = self.written(service).filter(|e| e.serving(port).is_some());
        let mut all = pods.chain(written.map(|e| self.written_takes_mtls(e, port))).peekable();
        all.peek().is_some() && all.all(|mtls| mtls)
    }

    pub(super) fn pod_takes_mtls(&self, pod: &Workload, port: u16) -> bool {
        pod.mtls && self.mtls_mode(pod, port) != MtlsMode::Disable
    }

    /// The SPIFFE ids that the endpoints of a service may have, sorted; callers accept no other.
    pub fn identities(&self, service: &Service) -> Vec<String> {
        let id = |namespace: &str, account: &str| {
            format!("spiffe://{}/ns/{namespace}/sa/{account}", self.mesh().trust_domain)
        };
        let mut ids: BTreeSet<String> =
            self.members(service).map(|w| id(&w.namespace, &w.service_account)).collect();
        let accounts = service.endpoints.iter().filter(|e| !e.service_account.is_empty());
        ids.extend(accounts.map(|e| id(&service.namespace, &e.service_account)));
        ids.extend(service.subject_alt_names.iter().cloned());
        ids.into_iter().collect()
    }

    /// Which callers a port of a workload takes: by the oldest PeerAuthentication for the workload, else for its
    /// namespace, else for the mesh; permissive when none says.
    pub fn mtls_mode(&self, workload: &Workload, port: u16) -> MtlsMode {
        self.peer_mode(&workload.namespace, &workload.labels, Some(port))
    }

    /// Which callers a workload takes on ports that no policy names.
    pub fn default_mtls_mode(&self, namespace: &str, labels: &Labels) -> MtlsMode {
        self.peer_mode(namespace, labels, None)
    }

    /// Ports that the policy of a workload with these labels names, with whom each takes; whether a Service names them
    /// or not.
    pub fn policy_ports(&self, namespace: &str, labels: &Labels) -> Vec<(u16, MtlsMode)> {
        let ports = self.own_policy(namespace, labels).map(|p| p.ports.keys().copied()).into_iter().flatten();
        ports.map(|port| (port, self.peer_mode(namespace, labels, Some(port)))).collect()
    }

    /// The oldest policy that chooses workloads with these labels.
    fn own_policy(&self, namespace: &str, labels: &Labels) -> Option<&Arc<PeerAuthentication>> {
        // A selector in the root namespace is ignored, as in Istio: such a policy must not look mesh-wide.
        let near = |p: &&Arc<PeerAuthentication>| {
            p.origin.namespace == namespace && p.selector.as_ref().is_some_and(|s| selects(s, labels))
        };
        self.index.peer_authentications.iter().filter(|_| namespace != self.mesh().root_namespace).find(near)
    }

    /// Which callers a workload with these labels takes, on a port or on those that no policy names.
    pub fn peer_mode(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> MtlsMode {
        let root = &self.mesh().root_namespace;
        let all = &self.index.peer_authentications;
        let own = self.own_policy(namespace, labels);
        let wide = |ns: &str| {
            all.iter().find(|p| p.origin.namespace == ns && p.selector.is_none()).and_then(|p| p.mode)
        };
        let by_port = own.and_then(|p| p.ports.get(&port?).copied().flatten());
        by_port
            .or_else(|| own.and_then(|p| p.mode))
            .or_else(|| wide(namespace))
            .or_else(|| wide(root))
            .unwrap_or_default()
    }

    fn pod_endpoint(
        &self,
        service: &Service,
        port: &ServicePort,
        pod: &Arc<Workload>,
    ) -> Option<ServiceEndpoint> {
        let address = *pod.addresses.first()?;
        let number = port.on(pod)?;
        let usable = !pod.finished && (pod.ready || pod.terminating || service.publish_not_ready);
        usable.then(|| ServiceEndpoint {
            address: EndpointAddress::Socket(SocketAddr::new(address, number)),
            health: if pod.terminating { Health::Draining } else { Health::Healthy },
            weight: 1,
            mtls: self.pod_takes_mtls(pod, number),
            labels: pod.labels.clone(),
            workload: Some(pod.clone()),
        })
    }
}

pub(super) fn static_port(port: &ServicePort) -> u16 {
    match &port.target {
        TargetPort::Number(number) => *number,
        TargetPort::Name(_) => port.number,
    }
}

/// Whether an endpoint that is written down takes mTLS, as far as is written: its label says so, or it has an account.
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
    endpoint.ready.then(|| ServiceEndpoint {
        address,
        health: Health::Healthy,
        weight: endpoint.weight,
        mtls: static_takes_mtls(endpoint),
        labels: endpoint.labels.clone(),
        workload: None,
    })
}
