//! Pure. The backing of a service: its pods, its explicitly listed addresses, and the policies that decide whether they
//! accept mTLS. A service's endpoints are computed from its backing alone, so equal backings give equal endpoints.

use super::Catalog;
use super::endpoint::{static_endpoint, static_port, static_takes_mtls};
use super::kind::Listed;
use super::kind::peer_authentication::{PeerAuthentication, peer_mode};
use super::list::List;
use super::policy::Mesh;
use super::same::Same;
use super::service::{Registry, Resolution, Service, ServiceEndpoint, ServicePort, StaticEndpoint};
use super::visibility::Labels;
use super::workload::Workload;
use crate::flow::MtlsMode;
use api::model::endpoint::{EndpointAddress, Health, Locality};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// A service and everything that its endpoints depend on. Equal backings have equal endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Backing {
    service: Same<Service>,
    mesh: Same<Mesh>,
    policies: List<PeerAuthentication>,
    /// The pods that the service's selector selects, sorted by name. Empty if its static endpoints name them.
    pods: Vec<(Same<Workload>, Where)>,
    /// For each of the service's static endpoints, in order, its pod, if it is known, and where it is.
    written: Vec<(Option<Same<Workload>>, Where)>,
}

/// Where an endpoint is, if known.
type Where = Option<Arc<Locality>>;

impl Catalog {
    /// Returns the backing of a service.
    pub fn backing(&self, service: &Arc<Service>) -> Backing {
        let pods = Some(service).filter(|service| !service.endpoints.names_selected_pods());
        Backing {
            service: service.into(),
            mesh: Same(self.shared_mesh()),
            policies: self.list(),
            pods: pods
                .into_iter()
                .flat_map(|service| self.pods_of(service))
                .map(|pod| (pod.into(), self.locality_of(pod)))
                .collect(),
            written: service
                .endpoints
                .list()
                .iter()
                .map(|endpoint| {
                    let pod = self.pod_of(service, endpoint);
                    (pod.map(Into::into), self.locality_of_endpoint(endpoint, pod))
                })
                .collect(),
        }
    }

    /// Returns where a pod is: by its labels, else by those of its node.
    pub fn locality_of(&self, pod: &Workload) -> Option<Arc<Locality>> {
        let of_node = || self.index.nodes.get(&pod.node)?.locality.clone();
        pod.locality.clone().or_else(of_node)
    }

    /// Returns where an endpoint is: as its object says, else where its pod is. Where only its zone is known, any node of
    /// that zone tells the region.
    fn locality_of_endpoint(&self, endpoint: &StaticEndpoint, pod: Option<&Arc<Workload>>) -> Where {
        let written = endpoint.locality.as_ref();
        if let Some(whole) = written.filter(|locality| !locality.region.is_empty()) {
            return Some(whole.clone());
        }
        let by_zone = || {
            let zone = written?;
            let mut all = self.index.nodes.values().filter_map(|node| node.locality.as_ref());
            let region = all.find(|known| known.zone == zone.zone).map(|known| known.region.clone());
            Some(Arc::new(Locality { region: region.unwrap_or_default(), ..Locality::clone(zone) }))
        };
        pod.and_then(|pod| self.locality_of(pod)).or_else(by_zone)
    }

    /// Whether an unchanged service has the same backing in this catalog and in `other`, because every table that
    /// `backing` reads is unchanged.
    pub fn backs_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.index.workloads, &other.index.workloads)
            && Arc::ptr_eq(&self.index.nodes, &other.index.nodes)
            && Arc::ptr_eq(&self.index.mesh, &other.index.mesh)
            && self.index.has_list_of(&other.index, PeerAuthentication::KIND)
    }

    /// Returns the endpoints of a service port.
    pub fn endpoints(&self, service: &Arc<Service>, port: &ServicePort) -> Vec<ServiceEndpoint> {
        self.backing(service).endpoints(port)
    }
}

impl Backing {
    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service.0
    }

    /// The mesh settings.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The pods that the service's selector selects, sorted by name. Empty if its static endpoints name them.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.pods.iter().map(|(pod, _)| &pod.0)
    }

    /// The service's static endpoints, each with its pod. Empty if the selector selects pods. An endpoint of a pod that
    /// is not known yet is left out, because clients would call it without mTLS and with any identity.
    pub fn written(&self) -> impl Iterator<Item = (&StaticEndpoint, Option<&Arc<Workload>>)> {
        self.located().map(|(endpoint, pod, _)| (endpoint, pod))
    }

    /// Like `written`, with where each endpoint is.
    fn located(&self) -> impl Iterator<Item = (&StaticEndpoint, Option<&Arc<Workload>>, &Where)> {
        let all = self.service.endpoints.list().iter().zip(&self.written);
        let chosen = self.service.registry == Registry::Kubernetes && !self.pods.is_empty();
        all.map(|(endpoint, (pod, place))| (endpoint, pod.as_ref().map(|pod| &pod.0), place))
            .filter(move |(endpoint, pod, _)| !chosen && (endpoint.pod.is_none() || pod.is_some()))
    }

    /// Returns the endpoints of a port, sorted by pod; for a service resolved by DNS, the names to resolve. Empty for
    /// pass-through services.
    pub fn endpoints(&self, port: &ServicePort) -> Vec<ServiceEndpoint> {
        if self.service.resolution == Resolution::Passthrough {
            return vec![];
        }
        let mut endpoints: Vec<ServiceEndpoint> =
            self.pods.iter().filter_map(|(pod, place)| self.pod_endpoint(port, (&pod.0, place))).collect();
        endpoints.extend(self.located().filter_map(|(endpoint, pod, place)| {
            let made = self.written_endpoint(endpoint, pod, port)?;
            Some(ServiceEndpoint { locality: place.clone(), ..made })
        }));
        if endpoints.is_empty() {
            endpoints = self.cut_off(port);
        }
        if endpoints.is_empty() && self.service.resolution != Resolution::Endpoints {
            endpoints.push(ServiceEndpoint {
                address: EndpointAddress::Dns(self.service.host.clone(), static_port(port)),
                health: Health::Healthy,
                weight: 1,
                mtls: false,
                labels: Labels::new(),
                workload: None,
                locality: None,
            });
        }
        endpoints
    }

    /// Endpoints that are not ready only because Kubernetes has lost contact with their node, for a port without others.
    /// When an API server returns after a minute, no node has been heard from for too long, and Kubernetes takes every pod
    /// for not ready although all of them serve.
    fn cut_off(&self, port: &ServicePort) -> Vec<ServiceEndpoint> {
        let lost = self.located().filter(|(endpoint, pod, _)| {
            endpoint.pod.is_some() && pod.is_some_and(|pod| pod.cut_off && !pod.terminating && !pod.finished)
        });
        let made = lost.filter_map(|(endpoint, pod, place)| {
            let as_ready = StaticEndpoint { ready: true, ..endpoint.clone() };
            let made = self.written_endpoint(&as_ready, pod, port)?;
            Some(ServiceEndpoint { locality: place.clone(), ..made })
        });
        made.collect()
    }

    /// Whether every endpoint of a port accepts mTLS, ready or not. `false` if the port has no endpoints.
    pub fn takes_mtls(&self, port: &ServicePort) -> bool {
        if self.service.resolution == Resolution::Passthrough {
            return false;
        }
        let pods = self.pods().filter(|p| !p.finished);
        let pods = pods.filter_map(|p| Some(self.pod_takes_mtls(p, port.on(p)?)));
        let written = self.written().filter(|(e, _)| e.serving(port).is_some());
        let written = written.map(|(e, pod)| self.written_takes_mtls(e, pod, port));
        let mut all = pods.chain(written).peekable();
        all.peek().is_some() && all.all(|mtls| mtls)
    }

    /// The SPIFFE IDs that the service's endpoints may present, sorted. Clients accept no others.
    pub fn identities(&self) -> Vec<String> {
        let id = |namespace: &str, account: &str| {
            format!("spiffe://{}/ns/{namespace}/sa/{account}", self.mesh.trust_domain)
        };
        let members = self.pods().chain(self.written().filter_map(|(_, pod)| pod));
        let mut ids: BTreeSet<String> = members.map(|w| id(&w.namespace, &w.service_account)).collect();
        let accounts = self.service.endpoints.list().iter().filter(|e| !e.service_account.is_empty());
        ids.extend(accounts.map(|e| id(&self.service.namespace, &e.service_account)));
        ids.extend(self.service.subject_alt_names.iter().cloned());
        ids.into_iter().collect()
    }

    fn pod_endpoint(
        &self,
        port: &ServicePort,
        (pod, place): (&Arc<Workload>, &Where),
    ) -> Option<ServiceEndpoint> {
        let address = *pod.addresses.first()?;
        let number = port.on(pod)?;
        let usable = !pod.finished && (pod.ready || pod.terminating || self.service.publish_not_ready);
        usable.then(|| ServiceEndpoint {
            address: EndpointAddress::Socket(SocketAddr::new(address, number)),
            health: if pod.terminating { Health::Draining } else { Health::Healthy },
            weight: 1,
            mtls: self.pod_takes_mtls(pod, number),
            labels: pod.labels.clone(),
            workload: Some(pod.clone()),
            locality: place.clone(),
        })
    }

    /// Makes an endpoint of a static one, with the labels and mTLS support of the pod that has its address.
    fn written_endpoint(
        &self,
        endpoint: &StaticEndpoint,
        pod: Option<&Arc<Workload>>,
        port: &ServicePort,
    ) -> Option<ServiceEndpoint> {
        let written = static_endpoint(endpoint, port)?;
        let Some(known) = pod else { return Some(written) };
        let labels = if written.labels.is_empty() { known.labels.clone() } else { written.labels };
        let mtls = self.written_takes_mtls(endpoint, pod, port);
        // The pod is known to end before its endpoint is.
        let ends = endpoint.pod.is_some() && known.terminating && !self.service.publish_not_ready;
        let health = if ends { Health::Draining } else { written.health };
        Some(ServiceEndpoint { mtls, labels, health, workload: Some(known.clone()), ..written })
    }

    /// Whether a static endpoint accepts mTLS, by its own labels and account or by those of the pod that has its
    /// address.
    fn written_takes_mtls(
        &self,
        endpoint: &StaticEndpoint,
        pod: Option<&Arc<Workload>>,
        port: &ServicePort,
    ) -> bool {
        let by_pod = |pod: &Arc<Workload>| self.pod_takes_mtls(pod, endpoint.port(port));
        static_takes_mtls(endpoint) || pod.is_some_and(by_pod)
    }

    fn pod_takes_mtls(&self, pod: &Workload, port: u16) -> bool {
        let mode = peer_mode(&self.mesh, &self.policies.iter(), (&pod.namespace, &pod.labels), Some(port));
        pod.mtls && mode != MtlsMode::Disable
    }
}
