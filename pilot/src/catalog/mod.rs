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
mod delegate;
mod lookup;
mod ingress_route;
mod registry;
mod allocation;
mod rule;
mod target;
mod endpoint;
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

use api::resource::document::Key;
use api::resource::kind::Kind;
use index::Index;
use kind::policy::Policy;
use kind::{Item, Listed};
use list::List;
use policy::Mesh;
use route::RouteSet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The configuration in force.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    items: BTreeMap<Key, Item>,
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
        Self { items: BTreeMap::new(), index: Index::new(Arc::new(mesh)) }
    }

    /// Returns the next catalog and what changed.
    pub fn apply(&self, changes: Vec<Change>) -> (Self, Changes) {
        let mut items = self.items.clone();
        let (mut kinds, mut tables) = (BTreeSet::new(), BTreeSet::new());
        let mut pods = vec![];
        for change in changes {
            let (key, before, after) = match change {
                Change::Upsert(key, item) => {
                    let before = items.insert(key.clone(), item.clone());
                    (key, before, Some(item))
                }
                Change::Delete(key) => {
                    let before = items.remove(&key);
                    (key, before, None)
                }
            };
            if before != after {
                kinds.insert(key.kind);
                for item in [before, after].into_iter().flatten() {
                    tables.insert(index::table_of(key.kind, &item));
                    pods.extend(item.into_workload());
                }
            }
        }
        let next = Self { index: self.index.next(&items, &tables), items };
        let endpoints_of = pods
            .iter()
            .flat_map(|pod| [self.services_of(pod), next.services_of(pod)])
            .flatten()
            .map(|service| service.host.clone())
            .collect();
        (next, Changes { kinds, endpoints_of })
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
