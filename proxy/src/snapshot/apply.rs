//! Pure. Applies an update to a snapshot.

use super::listener::Listener;
use super::slot::{Slot, Written};
use super::table::RouteTable;
use super::{Rejected, Routes, Snapshot, Update};
use crate::credentials::Store;
use crate::filter::merge::Filters;
use crate::matcher::InvalidConfig;
use api::model::{Kind, Resource};
use foldhash::{HashMap, HashMapExt};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Snapshot {
    /// Applies an update: returns the next snapshot and the rejected resources.
    pub fn apply(&self, update: Update, store: &Arc<Store>) -> (Self, Vec<Rejected>) {
        let mut next = self.clone();
        let mut rejected = vec![];
        let mut reassigned = BTreeSet::new();
        for (kind, name) in update.remove {
            next.remove(kind, &name, &mut reassigned);
        }
        // Endpoints come first, so that a cluster of the same update is compiled with them.
        let (endpoints, others): (Vec<_>, Vec<_>) =
            update.upsert.into_iter().partition(|r| matches!(r, Resource::Endpoints(_)));
        for resource in endpoints.into_iter().chain(others) {
            let (kind, name) = (resource.kind(), resource.name().to_owned());
            if let Err(error) = next.upsert(resource, store, &mut reassigned) {
                rejected.push(Rejected { kind, name, reason: error.to_string() });
            }
        }
        next.reassign(&reassigned);
        next.merge_filters();
        (next, rejected)
    }

    fn remove(&mut self, kind: Kind, name: &str, reassigned: &mut BTreeSet<String>) {
        match kind {
            Kind::Listener => {
                self.listeners.remove(name);
            }
            Kind::Route => {
                self.routes.remove(name);
            }
            Kind::Cluster => {
                self.clusters.remove(name);
            }
            Kind::Endpoints => {
                self.endpoints.remove(name);
                reassigned.insert(name.to_owned());
            }
            Kind::Secret | Kind::Workload | Kind::Names => {}
        }
    }

    fn upsert(
        &mut self,
        resource: Resource,
        store: &Arc<Store>,
        reassigned: &mut BTreeSet<String>,
    ) -> Result<(), InvalidConfig> {
        match resource {
            Resource::Listener(model) => {
                let last = self.listeners.get(&model.name).map(AsRef::as_ref);
                if last.is_some_and(|last| *last.model == model) {
                    return Ok(());
                }
                let listener = Listener::compile(Arc::new(model), last, store, &mut self.filters)?;
                self.listeners.insert(listener.model.name.clone(), Arc::new(listener));
            }
            Resource::Route(ref model) => {
                let written = Written::of(&resource);
                if self.routes.get(&*model.name).is_some_and(|last| last.written == written) {
                    return Ok(());
                }
                let table = Arc::new(RouteTable::compile(model)?);
                self.routes.insert(model.name.as_str().into(), Routes { written, table });
            }
            Resource::Cluster(_) => {
                let written = Written::of(&resource);
                if let Resource::Cluster(model) = resource {
                    self.upsert_cluster(model, written, store)?;
                }
            }
            Resource::Endpoints(_) => {
                let name = resource.name();
                let written = Written::of(&resource);
                if self.endpoints.get(name) != Some(&written) {
                    reassigned.insert(name.to_owned());
                    self.endpoints.insert(name.into(), written);
                }
            }
            // These are kept elsewhere: in the secret store, in the peers, in the DNS server.
            Resource::Secret(_) | Resource::Workload(_) | Resource::Names(_) => {}
        }
        Ok(())
    }

    fn upsert_cluster(
        &mut self,
        model: Box<api::model::cluster::Cluster>,
        written: Written,
        store: &Arc<Store>,
    ) -> Result<(), InvalidConfig> {
        let last = self.clusters.get(&*model.name);
        if last.is_some_and(|last| last.is(&written)) {
            return Ok(());
        }
        let slot = Slot::new(
            (model, written),
            last.map(AsRef::as_ref),
            |name| self.endpoints.get(name).cloned(),
            store,
        )?;
        self.clusters.insert(slot.name().clone(), Arc::new(slot));
        Ok(())
    }

    /// Merges the routes' filter settings with the filters of the listeners that use their tables.
    fn merge_filters(&mut self) {
        if !self.routes.values().any(|routes| routes.table.has_settings()) {
            return;
        }
        let mut users: HashMap<&str, Vec<Arc<Filters>>> = HashMap::new();
        for (name, filters) in
            self.listeners.values().flat_map(|l| l.chains()).filter_map(|c| c.named_routes())
        {
            let known = users.entry(name).or_default();
            if !known.iter().any(|other| Arc::ptr_eq(other, filters)) {
                known.push(filters.clone());
            }
        }
        for (name, routes) in &mut self.routes {
            let listeners = users.get(&**name).map_or(&[][..], Vec::as_slice);
            if routes.table.is_merged_with(listeners) {
                continue;
            }
            if let Some(table) = Arc::get_mut(&mut routes.table) {
                table.merge(listeners);
            } else if let Some(Ok(mut table)) = routes.written.routes().map(|from| RouteTable::compile(&from))
            {
                // Merge a copy, because an earlier snapshot shares the table.
                table.merge(listeners);
                routes.table = Arc::new(table);
            }
        }
    }

    /// Updates the clusters whose endpoints changed.
    fn reassign(&mut self, names: &BTreeSet<String>) {
        if names.is_empty() {
            return;
        }
        for slot in self.clusters.values_mut() {
            let Some(name) = slot.discovery_name().filter(|name| names.contains(*name)) else { continue };
            *slot = Arc::new(slot.with_endpoints(self.endpoints.get(name).cloned()));
        }
    }
}
