//! Pure. Keeps a cluster in encoded form until it is used, which takes a tenth of the memory of a compiled one. A
//! workload receives every service of the mesh and calls few.

use super::cluster::Cluster;
use super::secrets::collect_secrets;
use crate::credentials::Store;
use crate::matcher::InvalidConfig;
use api::model::cluster::{self as model, ClusterTls, Discovery};
use api::model::endpoint::LoadAssignment;
use api::model::route::RouteConfiguration;
use api::model::tls::{CertificateSource, RootSource, TlsParameters};
use api::model::{Kind, Resource};
use api::wire::xds::Any;
use api::wire::{self, Target};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// A resource in its encoded form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written(Arc<[u8]>);

impl Written {
    pub(super) fn of(resource: &Resource) -> Self {
        // Istio's own filters do not occur in the resources that are kept this way.
        Self(wire::encode(resource, &Target { istio_extensions: false }).value.into())
    }

    /// Decodes the resource. Never `None`, because whatever was encoded can be decoded.
    fn read(&self, kind: Kind) -> Option<Resource> {
        let any = Any { type_url: kind.type_url().to_owned(), value: self.0.to_vec() };
        wire::decode(&any).ok()
    }

    pub(super) fn routes(&self) -> Option<RouteConfiguration> {
        match self.read(Kind::Route) {
            Some(Resource::Route(routes)) => Some(routes),
            _ => None,
        }
    }

    pub(super) fn assignment(&self) -> Option<LoadAssignment> {
        match self.read(Kind::Endpoints) {
            Some(Resource::Endpoints(assignment)) => Some(assignment),
            _ => None,
        }
    }
}

/// A cluster, compiled or not.
#[derive(Debug)]
pub(super) struct Slot {
    name: Arc<str>,
    written: Written,
    /// The name of its endpoints in EDS.
    discovery: Option<Arc<str>>,
    /// The endpoints received by EDS.
    assigned: Option<Written>,
    /// Whether its endpoints are DNS names.
    resolved: bool,
    secrets: Box<[Box<str>]>,
    store: Arc<Store>,
    ready: OnceLock<Option<Arc<Cluster>>>,
}

impl Slot {
    /// Compiles the cluster to check it. Keeps the result if the last version was in use, or if the cluster names
    /// files, whose content may change later.
    pub(super) fn new(
        (model, written): (Box<model::Cluster>, Written),
        last: Option<&Self>,
        assigned: impl FnOnce(&str) -> Option<Written>,
        store: &Arc<Store>,
    ) -> Result<Self, InvalidConfig> {
        let in_use = last.and_then(Self::awake);
        let keep = in_use.is_some() || names_files(&model.tls);
        let discovery: Option<Arc<str>> = discovery_name(&model).map(Arc::from);
        let assigned = discovery.as_deref().and_then(assigned);
        let known = assigned.as_ref().filter(|_| keep).and_then(Written::assignment).map(Arc::new);
        let model = Arc::from(model);
        let cluster = Cluster::compile(model, in_use.map(AsRef::as_ref), known.as_ref(), store)?;
        let mut secrets = BTreeSet::new();
        if let Some(tls) = &cluster.tls {
            collect_secrets(&tls.model.common, &mut secrets);
        }
        let slot = Self {
            name: last.map_or_else(|| cluster.name.clone(), |last| last.name.clone()),
            written,
            discovery,
            assigned,
            resolved: matches!(cluster.model.discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_)),
            secrets: secrets.into_iter().map(String::into_boxed_str).collect(),
            store: store.clone(),
            ready: OnceLock::new(),
        };
        if keep {
            // The cell is local to this function and empty.
            let _ = slot.ready.set(Some(Arc::new(cluster)));
        }
        Ok(slot)
    }

    /// The same cluster with different endpoints.
    pub(super) fn with_endpoints(&self, assigned: Option<Written>) -> Self {
        let ready = OnceLock::new();
        if let Some(cluster) = self.awake() {
            let known = assigned.as_ref().and_then(Written::assignment).map(Arc::new);
            let _ = ready.set(Some(Arc::new(cluster.with_endpoints(known.as_ref()))));
        }
        Self {
            name: self.name.clone(),
            written: self.written.clone(),
            discovery: self.discovery.clone(),
            assigned,
            resolved: self.resolved,
            secrets: self.secrets.clone(),
            store: self.store.clone(),
            ready,
        }
    }

    /// The compiled cluster. Compiles it on first use.
    pub(super) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.ready.get_or_init(|| self.wake()).as_ref()
    }

    /// The compiled cluster, if it has been used.
    pub(super) fn awake(&self) -> Option<&Arc<Cluster>> {
        self.ready.get()?.as_ref()
    }

    /// The cluster as received.
    pub(super) fn model(&self) -> Option<Arc<model::Cluster>> {
        if let Some(cluster) = self.awake() {
            return Some(cluster.model.clone());
        }
        match self.written.read(Kind::Cluster)? {
            Resource::Cluster(model) => Some(Arc::from(model)),
            _ => None,
        }
    }

    /// Whether it was compiled from this resource.
    pub(super) fn is(&self, written: &Written) -> bool {
        self.written == *written
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn discovery_name(&self) -> Option<&str> {
        self.discovery.as_deref()
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.resolved
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(AsRef::as_ref)
    }

    fn wake(&self) -> Option<Arc<Cluster>> {
        let model = self.model()?;
        let assigned = self.assigned.as_ref().and_then(Written::assignment).map(Arc::new);
        Cluster::compile(model, None, assigned.as_ref(), &self.store).ok().map(Arc::new)
    }
}

fn discovery_name(model: &model::Cluster) -> Option<&str> {
    match &model.discovery {
        Discovery::Eds(name) if name.is_empty() => Some(&model.name),
        Discovery::Eds(name) => Some(name),
        _ => None,
    }
}

fn names_files(tls: &ClusterTls) -> bool {
    let of = |tls: &TlsParameters| {
        tls.certificates.iter().any(|source| !matches!(source, CertificateSource::Sds(_)))
            || tls.validation.iter().any(|v| matches!(v.roots, RootSource::File(_)))
    };
    match tls {
        ClusterTls::Never => false,
        ClusterTls::Always(tls) | ClusterTls::WhenOffered(tls) => of(&tls.common),
    }
}
