//! Pure. The resources that a server has for one client: tables that many clients share, and a small one of its own.

use super::table::{EMPTY, Offered, Table};
use crate::model::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The resources that a server has for one client at one moment.
pub trait Offer {
    /// The listed resources of a kind that many clients share. Tables with equal pointers have equal resources.
    fn shared(&self, kind: Kind) -> &Arc<Table>;

    /// The listed resources of a kind for few clients; they take precedence over shared ones of the same name.
    fn own(&self, kind: Kind) -> &Arc<Table>;

    /// A resource that is not listed, by its requested name. Wildcard subscriptions do not include it.
    fn on_demand(&self, kind: Kind, name: &str) -> Option<Offered>;

    /// Whether all resources of a kind are listed and none is found on demand. Then nothing has changed for a client
    /// while the tables are the same.
    fn lists_all(&self, kind: Kind) -> bool;

    /// The version of the whole offer. It is only shown on status pages.
    fn version(&self) -> &str;

    /// One resource by its requested name.
    fn find(&self, kind: Kind, name: &str) -> Option<Offered> {
        self.listed(kind, name).cloned().or_else(|| self.on_demand(kind, name))
    }

    /// One of the listed resources.
    fn listed(&self, kind: Kind, name: &str) -> Option<&Offered> {
        self.own(kind).get(name).or_else(|| self.shared(kind).get(name))
    }

    /// Visits every listed resource of a kind, as a wildcard subscription includes them.
    fn each<'a>(&'a self, kind: Kind, visit: &mut dyn FnMut(&'a Arc<str>, &'a Offered)) {
        let own = self.own(kind);
        for (name, offered) in self.shared(kind).iter().filter(|(name, _)| own.get(name).is_none()) {
            visit(name, offered);
        }
        for (name, offered) in own.iter() {
            visit(name, offered);
        }
    }
}

/// An offer that consists of plain tables.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    version: String,
    kinds: BTreeMap<Kind, Arc<Table>>,
}

impl Resources {
    /// No resources yet.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), kinds: BTreeMap::new() }
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, kind: Kind, name: impl Into<Arc<str>>, offered: Offered) {
        let before = self.shared(kind).clone();
        let all = before.iter().cloned().chain([(name.into(), offered)]);
        self.kinds.insert(kind, Table::after(&before, all.collect()));
    }

    /// Takes a resource out.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        let before = self.shared(kind).clone();
        let others = before.iter().filter(|(other, _)| **other != *name).cloned();
        self.kinds.insert(kind, Table::after(&before, others.collect()));
    }
}

impl Offer for Resources {
    fn shared(&self, kind: Kind) -> &Arc<Table> {
        self.kinds.get(&kind).unwrap_or(&EMPTY)
    }

    fn own(&self, _: Kind) -> &Arc<Table> {
        &EMPTY
    }

    fn on_demand(&self, _: Kind, _: &str) -> Option<Offered> {
        None
    }

    fn lists_all(&self, _: Kind) -> bool {
        true
    }

    fn version(&self) -> &str {
        &self.version
    }
}
