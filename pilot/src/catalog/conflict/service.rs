//! Pure. Finds services with the same host. A client sees the one in its own namespace, else the Kubernetes Service,
//! else the oldest ServiceEntry. Entries that merge into one service do not conflict.

use super::found::{Conflicts, in_namespaces, viewers};
use crate::catalog::Catalog;
use crate::catalog::service::{Registry, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    for (host, all) in catalog.index.services.iter().filter(|(_, all)| all.len() > 1) {
        let namespaces = viewers(all.iter().map(|s| (&s.origin, &s.export_to)));
        let seen_by: Vec<(&str, Vec<&Arc<Service>>)> =
            namespaces.iter().map(|viewer| (*viewer, catalog.ranked_services(viewer, all))).collect();
        for later in all {
            compare(host, later, &seen_by, found);
        }
    }
}

fn compare(host: &str, later: &Arc<Service>, seen_by: &[(&str, Vec<&Arc<Service>>)], found: &mut Conflicts) {
    let sees = |order: &[&Arc<Service>]| order.iter().any(|s| Arc::ptr_eq(s, later));
    let seen: BTreeSet<&str> = seen_by.iter().filter(|(_, o)| sees(o)).map(|(viewer, _)| *viewer).collect();
    let mut overridden: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (viewer, order) in seen_by.iter().filter(|(viewer, _)| seen.contains(viewer)) {
        let Some(first) = order.first().filter(|first| !Arc::ptr_eq(first, later)) else { continue };
        overridden.entry(taker(first, later)).or_default().insert(viewer);
    }
    for (taker, viewers) in overridden {
        let place = in_namespaces(&viewers, &seen);
        let reason = format!("{taker} has host {host}; this service has no effect{place}");
        found.add(&later.origin, "spec.hosts", reason, "merge the two, or change exportTo");
    }
}

fn taker(first: &Service, later: &Service) -> String {
    let why = match () {
        () if first.registry == Registry::Kubernetes && later.registry != Registry::Kubernetes => {
            "comes first"
        }
        () if first.origin.created < later.origin.created => "is older",
        () => "comes first by namespace or name",
    };
    format!("{}, which {why},", first.origin.key())
}
