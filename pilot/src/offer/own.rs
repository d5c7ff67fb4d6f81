//! Pure. The resources of a single workload: regenerated when their inputs change, and shared by proxies with equal
//! inputs, such as those of one Deployment.

use super::body::Bodies;
use super::cache::{Encoded, encode};
use crate::flow::Scope;
use crate::generate::inbound::Inbound;
use crate::snapshot::Snapshot;
use api::model::Kind;
use api::xds::table::{EMPTY, Table};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// The resources of a single workload.
#[derive(Debug)]
pub(super) struct WorkloadResources {
    cause: Inbound,
    tables: BTreeMap<Kind, Arc<Table>>,
}

impl WorkloadResources {
    pub(super) fn table(&self, kind: Kind) -> &Arc<Table> {
        self.tables.get(&kind).unwrap_or(&EMPTY)
    }
}

/// The own resources of a group's workloads.
#[derive(Debug, Default)]
pub(super) struct WorkloadCache(RwLock<Vec<Weak<WorkloadResources>>>);

impl WorkloadCache {
    /// Returns the own resources of a proxy's workload; `last` are those that the proxy has.
    pub(super) fn of(
        &self,
        snapshot: &Snapshot,
        scope: &Scope,
        last: Option<&Arc<WorkloadResources>>,
        bodies: &Bodies,
    ) -> Arc<WorkloadResources> {
        let cause = Inbound::of(&snapshot.catalog, scope);
        if let Some(last) = last.filter(|last| last.cause == cause) {
            return last.clone();
        }
        let find = |all: &[Weak<WorkloadResources>]| {
            all.iter().filter_map(Weak::upgrade).find(|own| own.cause == cause)
        };
        if let Some(own) = find(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return own;
        }
        let Encoded { resources, .. } = encode(&cause.resources(), scope.istio_extensions, None, bodies);
        let mut kinds: BTreeMap<Kind, Vec<_>> = BTreeMap::new();
        for (kind, name, offered) in resources {
            kinds.entry(kind).or_default().push((name, offered));
        }
        let tables = kinds.into_iter().map(|(kind, entries)| (kind, Table::after(&EMPTY, entries)));
        let own = Arc::new(WorkloadResources { tables: tables.collect(), cause });
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|own| own.strong_count() > 0);
        all.push(Arc::downgrade(&own));
        own
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap().iter().filter(|own| own.strong_count() > 0).count()
    }
}
