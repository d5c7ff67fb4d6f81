//! Pure. The configuration in force: every accepted object in its checked form, and the look-ups that generate the
//! proxies' configuration.
//!
//! A catalog is immutable: `apply` returns the next one. The two share unchanged objects, so keeping an old catalog is
//! cheap. A refused object never reaches the catalog, so its last accepted version stays in force.

mod conflict;

mod gateway_http;
pub mod gateway_port;

pub mod backing;
pub mod gateway_view;

mod index;
mod changed;
mod delegate;
mod lookup;
mod ingress_route;
mod registry;
mod allocation;
mod rule;
mod target;
mod endpoint;
mod shared_map;
#[cfg(test)]
pub(crate) mod tests;

pub mod list;

pub mod kind;

pub mod destination_rule;
pub mod gateway;
pub mod ingress;
pub mod policy;
pub mod service;
pub mod route;

pub mod host;
pub mod same;
pub mod workload;
pub mod node;
pub mod visibility;

use crate::revision::{ISTIOD, in_name};
use api::resource::document::Key;
use api::resource::kind::Kind;
use api::resource::mesh_config;
use changed::Changed;
use index::Index;
use kind::policy::Policy;
use kind::{Item, Listed};
use list::List;
use policy::Mesh;
use registry::Items;
use route::RouteSet;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The configuration in force.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    items: Items,
    /// The accepted objects of namespaces that do not belong to the mesh (`discoverySelectors`), which nothing else knows.
    outside: Items,
    index: Index,
}

/// A change to one object of a catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An object is added or updated.
    Upsert(Key, Item),
    /// An object is removed.
    Delete(Key),
}

/// The difference between a catalog and the previous one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Kinds with added, changed or removed objects.
    pub kinds: BTreeSet<Kind>,
    /// Hosts whose endpoints may have changed.
    pub endpoints_of: BTreeSet<String>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.endpoints_of.is_empty()
    }

    /// Adds the changes of another step.
    pub fn merge(&mut self, other: Self) {
        self.kinds.extend(other.kinds);
        self.endpoints_of.extend(other.endpoints_of);
    }
}

impl Catalog {
    /// Creates an empty catalog of a mesh with these settings.
    pub fn new(mesh: Mesh) -> Self {
        Self { index: Index::new(Arc::new(mesh)), ..Self::default() }
    }

    /// Returns the next catalog and what changed.
    pub fn apply(&self, changes: Vec<Change>) -> (Self, Changes) {
        let mut next = self.clone();
        let mut changed = vec![];
        for change in changes {
            changed.extend(next.change(change));
        }
        next.index.index_settings(&next.items, &changed);
        next.rescope(self, &mut changed);
        next.index.index_objects(&next.items, &changed);
        let pods = changed.iter().flat_map(Changed::items).filter_map(Item::workload);
        let endpoints_of = pods
            .flat_map(|pod| [self.services_of(pod), next.services_of(pod)])
            .flatten()
            .map(|service| service.host.clone())
            .collect();
        let kinds = changed.iter().map(|one| one.key.kind).collect();
        (next, Changes { kinds, endpoints_of })
    }

    /// Adds, replaces or removes an object. Returns what changed for the mesh.
    fn change(&mut self, change: Change) -> Option<Changed> {
        let (key, after) = match change {
            Change::Upsert(key, item) => (key, Some(item)),
            Change::Delete(key) => (key, None),
        };
        let known = self.knows(&key, after.as_ref());
        let (here, there) =
            if known { (&mut self.items, &mut self.outside) } else { (&mut self.outside, &mut self.items) };
        let before = match &after {
            Some(item) => here.insert(key.clone(), item.clone()),
            None => here.remove(&key),
        };
        // What an object contains decides whether its namespace matters.
        let moved = there.remove(&key);
        let (before, after) = if known { (before, after) } else { (moved, None) };
        (before != after).then_some(Changed { key, before, after })
    }

    /// Whether the mesh knows an object: its namespace belongs to the mesh, or it decides which ones do.
    fn knows(&self, key: &Key, item: Option<&Item>) -> bool {
        let decides = matches!(item.or_else(|| self.items.get(key)), Some(Item::Mesh(_)));
        decides || self.discovers(&key.namespace)
    }

    /// Whether a namespace belongs to the mesh. Objects without a namespace (empty) do.
    pub fn discovers(&self, namespace: &str) -> bool {
        namespace.is_empty() || {
            let labels = self.index.namespaces.get(namespace);
            mesh_config::discovers(&self.mesh().discovery, namespace, labels)
        }
    }

    /// Whether the cluster has a control plane of Istio: the Service of an istiod, also outside of the mesh.
    pub fn has_istio(&self) -> bool {
        let mut services =
            [&self.items, &self.outside].into_iter().flat_map(|of| index::of_kind(of, Kind::Service));
        services.any(|item| match item {
            Item::Service(service) => in_name(&service.origin.name, ISTIOD).is_some(),
            _ => false,
        })
    }

    /// Moves the objects of namespaces that now belong to the mesh, or do not any more.
    fn rescope(&mut self, before: &Self, changed: &mut Vec<Changed>) {
        let none = |catalog: &Self| catalog.mesh().discovery.is_empty();
        let same = Arc::ptr_eq(&self.index.namespaces, &before.index.namespaces)
            && self.mesh().discovery == before.mesh().discovery;
        if same || (none(self) && none(before)) {
            return;
        }
        let leaving = self.items.iter().filter(|(key, item)| !self.knows(key, Some(item)));
        let leaving: Vec<Key> = leaving.map(|(key, _)| key.clone()).collect();
        let entering: Vec<Key> =
            self.outside.keys().filter(|key| self.discovers(&key.namespace)).cloned().collect();
        for key in leaving {
            let Some(item) = self.items.remove(&key) else { continue };
            self.outside.insert(key.clone(), item.clone());
            changed.push(Changed { key, before: Some(item), after: None });
        }
        for key in entering {
            let Some(item) = self.outside.remove(&key) else { continue };
            self.items.insert(key.clone(), item.clone());
            changed.push(Changed { key, before: None, after: Some(item) });
        }
    }

    /// Whether this catalog equals another, except for Secrets and namespace labels, which no listed resource depends
    /// on.
    pub fn is_same(&self, other: &Self) -> bool {
        self.index.is_same(&other.index)
    }

    /// All accepted objects.
    pub fn items(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter()
    }

    /// Returns an accepted object.
    pub fn item(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    /// The number of accepted objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        index::of_kind(&self.items, kind).count()
    }

    /// Whether an object selects proxies by this label. Proxies of a namespace that differ in such a label may get different
    /// configuration.
    pub fn selects_by(&self, name: &str, value: &str) -> bool {
        self.index.selects_by(name, value)
    }

    /// The mesh's settings.
    pub fn mesh(&self) -> &Mesh {
        &self.index.mesh
    }

    /// The mesh's settings, shared between catalogs: equal pointers mean that nothing changed.
    pub fn shared_mesh(&self) -> Arc<Mesh> {
        self.index.mesh.clone()
    }

    /// All route sets; equal pointers mean that none changed.
    pub fn shared_route_sets(&self) -> Arc<Vec<Arc<RouteSet>>> {
        self.index.route_sets.clone()
    }

    /// The objects of a kind, the oldest first.
    pub fn list<T: Listed>(&self) -> List<T> {
        self.index.list()
    }

    /// All policies, by kind and then by age.
    pub fn policies(&self) -> impl Iterator<Item = (&Item, Policy<'_>)> {
        self.index.listed().filter_map(|item| Some((item, item.policy()?)))
    }
}
