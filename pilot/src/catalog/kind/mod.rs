//! Pure. The accepted objects in checked form. A kind whose objects are policies, which a selector binds to workloads,
//! has a file here with its checked form and its check; the checks of other kinds are in `validate`.

pub mod peer_authentication;
pub mod sidecar;

pub mod policy;

use super::destination_rule::DestinationRule;
use super::gateway::Gateway;
use super::ingress::{Ingress, IngressClass};
use super::node::Node;
use super::policy::{Mesh, TlsSecret};
use super::route::RouteSet;
use super::service::{Service, StaticEndpoint};
use super::visibility::{Labels, Origin};
use super::workload::Workload;
use crate::check::finding::Findings;
use api::resource::kind::{Body, Kind};
use api::resource::object::Object;
use peer_authentication::PeerAuthentication;
use policy::Policy;
use sidecar::Sidecar;
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
    /// Addresses for a Service.
    Endpoints {
        /// Name of the Service, in the namespace of the object.
        service: String,
        /// Whether a cluster's controller lists the pods here that the Service selects.
        selected: bool,
        /// The addresses.
        endpoints: Arc<Vec<StaticEndpoint>>,
    },
    /// A Pod.
    Workload(Arc<Workload>),
    /// A Node.
    Node(Arc<Node>),
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
    /// An Ingress.
    Ingress(Arc<Ingress>),
    /// An IngressClass.
    IngressClass(Arc<IngressClass>),
    /// The mesh's settings.
    Mesh(Arc<Mesh>),
    /// An object that does not affect the mesh.
    Other,
}

/// A kind with a list of its objects, the oldest first: `Catalog::list`.
pub trait Listed: Sized {
    /// The kind.
    const KIND: Kind;

    /// Returns the item's object if it is of this kind.
    fn of(item: &Item) -> Option<&Arc<Self>>;
}

impl Listed for Gateway {
    const KIND: Kind = Kind::IstioGateway;

    fn of(item: &Item) -> Option<&Arc<Self>> {
        if let Item::Gateway(gateway) = item { Some(gateway) } else { None }
    }
}

impl Listed for Ingress {
    const KIND: Kind = Kind::Ingress;

    fn of(item: &Item) -> Option<&Arc<Self>> {
        if let Item::Ingress(ingress) = item { Some(ingress) } else { None }
    }
}

impl Listed for IngressClass {
    const KIND: Kind = Kind::IngressClass;

    fn of(item: &Item) -> Option<&Arc<Self>> {
        if let Item::IngressClass(class) = item { Some(class) } else { None }
    }
}

impl Listed for Sidecar {
    const KIND: Kind = Kind::Sidecar;

    fn of(item: &Item) -> Option<&Arc<Self>> {
        if let Item::Sidecar(sidecar) = item { Some(sidecar) } else { None }
    }
}

impl Listed for PeerAuthentication {
    const KIND: Kind = Kind::PeerAuthentication;

    fn of(item: &Item) -> Option<&Arc<Self>> {
        if let Item::PeerAuthentication(policy) = item { Some(policy) } else { None }
    }
}

/// Checks an object of a kind that has a file here. `None` for the kinds that `validate` checks.
pub(crate) fn check(f: &mut Findings, object: &Object, mesh: &Mesh) -> Option<Item> {
    Some(match &object.body {
        Body::Sidecar(spec) => Item::Sidecar(Arc::new(sidecar::check(f, object, spec, mesh))),
        Body::PeerAuthentication(spec) => {
            Item::PeerAuthentication(Arc::new(peer_authentication::check(f, object, spec, mesh)))
        }
        Body::Namespace(_)
        | Body::ServiceAccount(_)
        | Body::Service(_)
        | Body::Endpoints(_)
        | Body::EndpointSlice(_)
        | Body::Pod(_)
        | Body::ConfigMap(_)
        | Body::Secret(_)
        | Body::Deployment(_)
        | Body::StatefulSet(_)
        | Body::ReplicaSet(_)
        | Body::Job(_)
        | Body::Node(_)
        | Body::Ingress(_)
        | Body::IngressClass(_)
        | Body::VirtualService(_)
        | Body::DestinationRule(_)
        | Body::IstioGateway(_)
        | Body::ServiceEntry(_) => return None,
    })
}

impl Item {
    /// Returns the common part of a policy; `None` for other objects.
    pub fn policy(&self) -> Option<Policy<'_>> {
        match self {
            Self::Sidecar(sidecar) => Some(sidecar.policy()),
            Self::PeerAuthentication(policy) => Some(policy.policy()),
            Self::Namespace(_)
            | Self::Service(_)
            | Self::ServiceEntry(_)
            | Self::Endpoints { .. }
            | Self::Workload(_)
            | Self::Node(_)
            | Self::Secret(_)
            | Self::Routes(_)
            | Self::DestinationRule(_)
            | Self::Gateway(_)
            | Self::Ingress(_)
            | Self::IngressClass(_)
            | Self::Mesh(_)
            | Self::Other => None,
        }
    }

    /// The origin (name and age) of an object whose kind can conflict with others.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Service(service) => Some(&service.origin),
            Self::ServiceEntry(services) => services.first().map(|s| &s.origin),
            Self::Routes(set) => Some(&set.origin),
            Self::DestinationRule(rule) => Some(&rule.origin),
            Self::Gateway(gateway) => Some(&gateway.origin),
            Self::Ingress(ingress) => Some(&ingress.origin),
            _ => self.policy().map(|policy| policy.origin),
        }
    }

    /// The labels by which the object selects proxies, where these get shared resources of their own.
    pub fn selectors(&self) -> Vec<&Labels> {
        match self {
            Self::Routes(set) => {
                let http = set.http.iter().flat_map(|r| &r.matches).map(|m| &m.source.labels);
                let tls = set.tls.iter().flat_map(|r| &r.matches).map(|m| &m.source.labels);
                let tcp = set.tcp.iter().flat_map(|r| &r.matches).map(|m| &m.source.labels);
                http.chain(tls).chain(tcp).collect()
            }
            Self::Gateway(gateway) => vec![&gateway.selector],
            _ => self.policy().filter(|policy| policy.shared).and_then(|p| p.selector).into_iter().collect(),
        }
    }

    pub(super) fn workload(&self) -> Option<&Arc<Workload>> {
        match self {
            Self::Workload(workload) => Some(workload),
            _ => None,
        }
    }
}
