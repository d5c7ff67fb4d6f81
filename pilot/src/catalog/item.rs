//! Pure. One accepted object in its checked form.

use super::destination_rule::DestinationRule;
use super::gateway::Gateway;
use super::policy::{Mesh, PeerAuthentication, Sidecar, TlsSecret};
use super::route::RouteSet;
use super::service::{Service, StaticEndpoint};
use super::visibility::{Labels, Origin};
use super::workload::Workload;
use std::sync::Arc;

/// One accepted object in its checked form.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A Namespace's labels.
    Namespace(Labels),
    /// A Service.
    Service(Arc<Service>),
    /// A ServiceEntry: one service for each host.
    ServiceEntry(Vec<Arc<Service>>),
    /// Addresses for a Service without a selector.
    Endpoints {
        /// Name of the Service, in the namespace of the object.
        service: String,
        /// The addresses.
        endpoints: Vec<StaticEndpoint>,
    },
    /// A Pod.
    Workload(Arc<Workload>),
    /// A Secret with a certificate.
    Secret(Arc<TlsSecret>),
    /// The routes of a VirtualService.
    Routes(Arc<RouteSet>),
    /// A DestinationRule.
    DestinationRule(Arc<DestinationRule>),
    /// A Gateway.
    Gateway(Arc<Gateway>),
    /// A Sidecar.
    Sidecar(Arc<Sidecar>),
    /// A PeerAuthentication.
    PeerAuthentication(Arc<PeerAuthentication>),
    /// The mesh's settings.
    Mesh(Arc<Mesh>),
    /// An object that does not affect the mesh.
    Other,
}

impl Item {
    /// The origin (name and age) of an object whose kind can conflict with others.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Service(service) => Some(&service.origin),
            Self::ServiceEntry(services) => services.first().map(|s| &s.origin),
            Self::Routes(set) => Some(&set.origin),
            Self::DestinationRule(rule) => Some(&rule.origin),
            Self::Gateway(gateway) => Some(&gateway.origin),
            Self::Sidecar(sidecar) => Some(&sidecar.origin),
            Self::PeerAuthentication(policy) => Some(&policy.origin),
            _ => None,
        }
    }

    pub(super) fn into_workload(self) -> Option<Arc<Workload>> {
        match self {
            Self::Workload(workload) => Some(workload),
            _ => None,
        }
    }
}
