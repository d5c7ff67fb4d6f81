//! Pure. What a server has for one client.

use crate::model::Kind;
use crate::wire::xds::Any;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a server has for one client at one moment.
pub trait Offer {
    /// Every resource of a kind, as a wildcard subscription gets them. Kinds that are found on demand only, such as
    /// workloads, show none.
    fn each(&self, kind: Kind, visit: &mut dyn FnMut(&Arc<str>, &Offered));

    /// One resource by the name it is asked for with.
    fn find(&self, kind: Kind, name: &str) -> Option<Offered>;

    /// A number that changes whenever a resource of a kind does, where everything of the kind is listed: while it stays,
    /// a client that has everything still has everything. `None` promises nothing.
    fn stamp(&self, kind: Kind) -> Option<u64>;

    /// The version of the whole, for people: it is shown in status pages and decides nothing.
    fn version(&self) -> &str;
}

/// A resource, encoded once and shared by all clients that get it.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Hash of the content.
    pub version: u64,
    /// The encoded resource.
    pub body: Arc<Any>,
}

impl Offered {
    /// A resource with the version of its content.
    pub fn new(body: Any) -> Self {
        let mut hasher = DefaultHasher::new();
        body.type_url.hash(&mut hasher);
        body.value.hash(&mut hasher);
        Self { version: hasher.finish(), body: Arc::new(body) }
    }
}

/// An offer that is a plain table.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    version: String,
    kinds: BTreeMap<Kind, Table>,
}

/// Resources of a kind.
#[derive(Debug, Clone, Default)]
struct Table {
    resources: BTreeMap<Arc<str>, Offered>,
    /// Combines names and versions without regard to their order.
    stamp: u64,
}

impl Table {
    fn mark(&mut self, name: &str, version: u64) {
        let mut hasher = DefaultHasher::new();
        (name, version).hash(&mut hasher);
        // Marked twice is not marked: so a resource is taken out again.
        self.stamp ^= hasher.finish();
    }

    fn remove(&mut self, name: &str) {
        if let Some(gone) = self.resources.remove(name) {
            self.mark(name, gone.version);
        }
    }
}

impl Resources {
    /// No resources yet.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), kinds: BTreeMap::new() }
    }

    /// All of these.
    pub fn of(version: impl Into<String>, all: impl Iterator<Item = (Kind, Arc<str>, Offered)>) -> Self {
        let mut table = Self::new(version);
        all.for_each(|(kind, name, offered)| table.insert(kind, name, offered));
        table
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, kind: Kind, name: impl Into<Arc<str>>, offered: Offered) {
        let (table, name) = (self.kinds.entry(kind).or_default(), name.into());
        table.remove(&name);
        table.mark(&name, offered.version);
        table.resources.insert(name, offered);
    }

    /// Takes a resource out.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(table) = self.kinds.get_mut(&kind) {
            table.remove(name);
        }
    }
}

impl Offer for Resources {
    fn each(&self, kind: Kind, visit: &mut dyn FnMut(&Arc<str>, &Offered)) {
        for (name, offered) in self.kinds.get(&kind).into_iter().flat_map(|table| &table.resources) {
            visit(name, offered);
        }
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Offered> {
        self.kinds.get(&kind)?.resources.get(name).cloned()
    }

    fn stamp(&self, kind: Kind) -> Option<u64> {
        Some(self.kinds.get(&kind).map_or(0, |table| table.stamp))
    }

    fn version(&self) -> &str {
        &self.version
    }
}
