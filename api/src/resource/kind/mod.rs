//! Pure. The tables of kinds: the supported ones, and the known ones that are refused.
//!
//! A kind is identified by its group and name: Istio and the Gateway API both have a Gateway. Each kind has a file in
//! this folder with its descriptor; this file has its variant, its body and its row.

pub mod destination_rule;
pub mod gateway;
pub mod kubernetes;
pub mod peer_authentication;
pub mod refused;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;

use super::descriptor::Descriptor;
use super::envelope::spec;
use super::strict::{self, Fault};
use k8s_openapi::api::{apps, batch, core, discovery, networking};
use kubernetes::{ingress, job, node, pod, service, workload};
use refused::{REFUSED, Refused, find};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A supported kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `v1`
    Namespace,
    /// `v1`
    ServiceAccount,
    /// `v1`
    Service,
    /// `v1`
    Endpoints,
    /// `discovery.k8s.io/v1`
    EndpointSlice,
    /// `v1`
    Pod,
    /// `v1`
    ConfigMap,
    /// `v1`
    Secret,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    ReplicaSet,
    /// `batch/v1`
    Job,
    /// `v1`
    Node,
    /// `networking.k8s.io/v1`
    Ingress,
    /// `networking.k8s.io/v1`
    IngressClass,
    /// `networking.istio.io`
    VirtualService,
    /// `networking.istio.io`
    DestinationRule,
    /// `networking.istio.io`
    IstioGateway,
    /// `networking.istio.io`
    ServiceEntry,
    /// `networking.istio.io`
    Sidecar,
    /// `security.istio.io`
    PeerAuthentication,
}

/// The content of an object. It is never printed, because it may be a secret.
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
    /// A Node.
    Node(Box<core::v1::Node>),
    /// An Ingress.
    Ingress(Box<networking::v1::Ingress>),
    /// An IngressClass.
    IngressClass(Box<networking::v1::IngressClass>),
    /// A VirtualService's spec.
    VirtualService(Box<virtual_service::VirtualService>),
    /// A DestinationRule's spec.
    DestinationRule(Box<destination_rule::DestinationRule>),
    /// The spec of a Gateway of Istio.
    IstioGateway(Box<gateway::Gateway>),
    /// A ServiceEntry's spec.
    ServiceEntry(Box<service_entry::ServiceEntry>),
    /// A Sidecar's spec.
    Sidecar(Box<sidecar::Sidecar>),
    /// A PeerAuthentication's spec.
    PeerAuthentication(Box<peer_authentication::PeerAuthentication>),
}

/// A row of the table: a kind, its descriptor, and the parser of its objects.
type Row = (Kind, &'static Descriptor, fn(&Value) -> Result<Body, Vec<Fault>>);

/// All supported kinds, in the order of `Kind`.
const TABLE: &[Row] = &[
    (Kind::Namespace, &kubernetes::NAMESPACE, |v| strict::read(v).map(Body::Namespace)),
    (Kind::ServiceAccount, &kubernetes::SERVICE_ACCOUNT, |v| strict::read(v).map(Body::ServiceAccount)),
    (Kind::Service, &service::SERVICE, |v| strict::read(v).map(Body::Service)),
    (Kind::Endpoints, &service::ENDPOINTS, |v| strict::read(v).map(Body::Endpoints)),
    (Kind::EndpointSlice, &service::ENDPOINT_SLICE, |v| strict::read(v).map(Body::EndpointSlice)),
    (Kind::Pod, &pod::POD, |v| strict::read(v).map(Body::Pod)),
    (Kind::ConfigMap, &kubernetes::CONFIG_MAP, |v| strict::read(v).map(Body::ConfigMap)),
    (Kind::Secret, &kubernetes::SECRET, |v| strict::read(v).map(Body::Secret).map_err(without_values)),
    (Kind::Deployment, &workload::DEPLOYMENT, |v| strict::read(v).map(Body::Deployment)),
    (Kind::StatefulSet, &workload::STATEFUL_SET, |v| strict::read(v).map(Body::StatefulSet)),
    (Kind::ReplicaSet, &workload::REPLICA_SET, |v| strict::read(v).map(Body::ReplicaSet)),
    (Kind::Job, &job::JOB, |v| strict::read(v).map(Body::Job)),
    (Kind::Node, &node::NODE, |v| strict::read(v).map(Body::Node)),
    (Kind::Ingress, &ingress::INGRESS, |v| strict::read(v).map(Body::Ingress)),
    (Kind::IngressClass, &ingress::INGRESS_CLASS, |v| strict::read(v).map(Body::IngressClass)),
    (Kind::VirtualService, &virtual_service::KIND, |v| spec(v).map(Body::VirtualService)),
    (Kind::DestinationRule, &destination_rule::KIND, |v| spec(v).map(Body::DestinationRule)),
    (Kind::IstioGateway, &gateway::KIND, |v| spec(v).map(Body::IstioGateway)),
    (Kind::ServiceEntry, &service_entry::KIND, |v| spec(v).map(Body::ServiceEntry)),
    (Kind::Sidecar, &sidecar::KIND, |v| spec(v).map(Body::Sidecar)),
    (Kind::PeerAuthentication, &peer_authentication::KIND, |v| spec(v).map(Body::PeerAuthentication)),
];

/// A kind's number is the index of its row.
const _: () = {
    let mut at = 0;
    while at < TABLE.len() {
        assert!(TABLE[at].0 as usize == at, "a row of the table is not in the order of `Kind`");
        at += 1;
    }
};

impl Kind {
    /// All supported kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(kind, ..)| *kind)
    }

    /// The kind's descriptor.
    pub fn descriptor(self) -> &'static Descriptor {
        TABLE[self as usize].1
    }

    /// Parses an object of this kind. The error lists all refused fields with the reasons.
    pub fn read(self, value: &Value) -> Result<Body, Vec<Fault>> {
        TABLE[self as usize].2(value)
    }

    /// Its name in YAML.
    pub fn name(self) -> &'static str {
        self.descriptor().kind
    }

    /// Its API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.descriptor().group
    }

    /// The supported versions, the preferred one first.
    pub fn versions(self) -> &'static [&'static str] {
        self.descriptor().versions
    }

    /// Whether its objects are in a namespace.
    pub fn namespaced(self) -> bool {
        self.descriptor().namespaced
    }

    /// Whether it is a kind of the mesh, not one of Kubernetes.
    pub fn is_mesh(self) -> bool {
        self.descriptor().is_mesh()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.descriptor()))
    }
}

/// All known kinds: the supported ones, then the refused ones. Without a group, a name stands for the first kind with
/// this name.
pub fn descriptors() -> impl Iterator<Item = &'static Descriptor> {
    TABLE.iter().map(|(_, descriptor, _)| *descriptor).chain(REFUSED.iter().map(|kind| &kind.descriptor))
}

/// Finds the kind of an object by the group of its `apiVersion` and its `kind`.
pub fn of(group: &str, kind: &str) -> Option<&'static Descriptor> {
    descriptors().find(|known| known.group == group && known.kind == kind)
}

/// A kind's name in messages, with its group if the name alone stands for another kind.
pub fn shown(kind: &Descriptor) -> String {
    let first = descriptors().find(|other| other.kind == kind.kind);
    let is_first = first.is_none_or(|first| first.group == kind.group);
    if is_first { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) }
}

/// Finds a kind by a name on the command line; see `Descriptor::is_named`. A complete group takes precedence over a
/// prefix of one.
pub fn named(word: &str) -> Option<&'static Descriptor> {
    let whole = |kind: &&Descriptor| {
        word.split_once('.').is_none_or(|(_, group)| group.eq_ignore_ascii_case(kind.group))
    };
    let all = || descriptors().filter(|kind| kind.is_named(word));
    all().find(whole).or_else(|| all().next())
}

/// The kinds of a category, such as `all` or `istio-io`; empty if there is no such category.
pub fn in_category(word: &str) -> impl Iterator<Item = &'static Descriptor> {
    descriptors().filter(move |kind| kind.categories.contains(&word))
}

/// The result of looking up an `apiVersion` and a `kind`.
#[derive(Debug, Clone, Copy)]
pub enum KindLookup {
    /// A supported kind.
    Served(Kind),
    /// A supported kind in an unknown version.
    WrongVersion(Kind),
    /// The name of a supported kind in a wrong group.
    WrongGroup(Kind),
    /// A known kind that this version does not support.
    Unserved(&'static Refused),
    /// An unknown kind.
    Unknown,
}

/// Looks up a kind.
pub fn known(api_version: &str, kind: &str) -> KindLookup {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(served) = Kind::all().find(|k| k.name() == kind && k.group() == group) {
        let exists = served.versions().contains(&version);
        return if exists { KindLookup::Served(served) } else { KindLookup::WrongVersion(served) };
    }
    if let Some(refused) = find(group, kind) {
        return KindLookup::Unserved(refused);
    }
    Kind::all().find(|k| k.name() == kind).map_or(KindLookup::Unknown, KindLookup::WrongGroup)
}

/// Removes the parser's message, which may quote the value: a secret's value must not reach a log.
fn without_values(faults: Vec<Fault>) -> Vec<Fault> {
    let quiet = |fault: Fault| {
        let unknown = fault.reason.starts_with("unknown field");
        if unknown { fault } else { Fault { reason: "has the wrong type or is not base64".into(), ..fault } }
    };
    faults.into_iter().map(quiet).collect()
}

#[cfg(test)]
mod tests;
