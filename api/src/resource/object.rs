//! Pure. An object of any kind that is read.

use super::destination_rule::DestinationRule;
use super::document::Key;
use super::gateway::Gateway;
use super::kind::Kind;
use super::peer_authentication::PeerAuthentication;
use super::service_entry::ServiceEntry;
use super::sidecar::Sidecar;
use super::virtual_service::VirtualService;
use k8s_openapi::api::{apps, batch, core, discovery};
use std::collections::BTreeMap;
use std::fmt;

/// One object.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Its `apiVersion` as written.
    pub api_version: String,
    /// Kind, namespace (`default` when absent) and name.
    pub key: Key,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was made, as RFC 3339 text that sorts by time; empty when unknown.
    pub created: String,
    /// What it says.
    pub body: Body,
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Its namespace; empty for kinds without.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.key.name
    }
}

impl fmt::Debug for Object {
    /// Without the content: it may be a secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.key)
    }
}

/// What an object says. Never printed whole: it may be a secret's.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// A Namespace.
    Namespace(Box<core::v1::Namespace>),
    /// A ServiceAccount.
    ServiceAccount(Box<core::v1::ServiceAccount>),
    /// A Service.
    Service(Box<core::v1::Service>),
    /// Endpoints.
    Endpoints(Box<core::v1::Endpoints>),
    /// An EndpointSlice.
    EndpointSlice(Box<discovery::v1::EndpointSlice>),
    /// A Pod.
    Pod(Box<core::v1::Pod>),
    /// A ConfigMap.
    ConfigMap(Box<core::v1::ConfigMap>),
    /// A Secret.
    Secret(Box<core::v1::Secret>),
    /// A Deployment.
    Deployment(Box<apps::v1::Deployment>),
    /// A StatefulSet.
    StatefulSet(Box<apps::v1::StatefulSet>),
    /// A ReplicaSet.
    ReplicaSet(Box<apps::v1::ReplicaSet>),
    /// A Job.
    Job(Box<batch::v1::Job>),
    /// A VirtualService's spec.
    VirtualService(Box<VirtualService>),
    /// A DestinationRule's spec.
    DestinationRule(Box<DestinationRule>),
    /// The spec of a Gateway of Istio.
    IstioGateway(Box<Gateway>),
    /// A ServiceEntry's spec.
    ServiceEntry(Box<ServiceEntry>),
    /// A Sidecar's spec.
    Sidecar(Box<Sidecar>),
    /// A PeerAuthentication's spec.
    PeerAuthentication(Box<PeerAuthentication>),
}
