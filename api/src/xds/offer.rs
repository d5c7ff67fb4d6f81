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
    kinds: BTreeMap<Kind, BTreeMap<Arc<str>, Offered>>,
}

impl Resources {
    /// No resources yet.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), kinds: BTreeMap::new() }
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, kind: Kind, name: impl Into<Arc<str>>, offered: Offered) {
        self.kinds.entry(kind).or_default().insert(name.into(), offered);
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
        for (name, offered) in self.kinds.get(&kind).into_iter().flatten() {
            visit(name, offered);
        }
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Offered> {
        self.kinds.get(&kind)?.get(name).cloned()
    }

    fn version(&self) -> &str {
        &self.version
    }
}
