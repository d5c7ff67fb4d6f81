//! Pure. Finds conflicts between PeerAuthentications and between Sidecars. For each workload, the oldest policy of its
//! namespace that selects it applies; the others do not.

use super::found::{Conflicts, winner};
use crate::catalog::Catalog;
use crate::catalog::visibility::{Labels, Origin, selects};
use crate::catalog::workload::Workload;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A policy and the workloads that it applies to.
struct Policy<'a> {
    origin: &'a Origin,
    selector: Option<&'a Labels>,
}

pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let index = &catalog.index;
    let peers = index.peer_authentications.iter();
    let peers = peers.map(|p| Policy { origin: &p.origin, selector: p.selector.as_ref() });
    compare(catalog, "spec.selector", peers, found);
    let sidecars = index.sidecars.iter();
    let sidecars = sidecars.map(|s| Policy { origin: &s.origin, selector: s.selector.as_ref() });
    compare(catalog, "spec.workloadSelector", sidecars, found);
}

/// Compares the policies of each namespace, oldest first.
fn compare<'a>(
    catalog: &Catalog,
    path: &str,
    policies: impl Iterator<Item = Policy<'a>>,
    found: &mut Conflicts,
) {
    let mut by_namespace: BTreeMap<&str, Vec<Policy>> = BTreeMap::new();
    for policy in policies {
        by_namespace.entry(&policy.origin.namespace).or_default().push(policy);
    }
    for (namespace, policies) in &by_namespace {
        for (at, later) in policies.iter().enumerate() {
            let reason = match later.selector {
                None => whole_namespace(policies, at, &catalog.mesh().root_namespace),
                Some(selector) => chosen(&policies[..at], later, selector)
                    .or_else(|| shared(catalog, namespace, &policies[..at], later, selector)),
            };
            if let Some(reason) = reason {
                found.add(later.origin, path, reason, "merge the two, or delete one");
            }
        }
    }
}

/// Whether another policy applies to all workloads of the namespace: an older one, or one of any age whose selector has
/// no labels. In the `root` namespace a selector without labels selects the workloads of that namespace only, and a
/// policy without a selector applies to the whole mesh.
fn whole_namespace(all: &[Policy], at: usize, root: &str) -> Option<String> {
    let later = &all[at];
    let of_its_own = later.origin.namespace == root;
    let any = all.iter().filter(|_| !of_its_own).find(|p| p.selector.is_some_and(Labels::is_empty));
    let older = || all[..at].iter().find(|p| p.selector.is_none());
    let first = match any {
        Some(any) => {
            format!("{}, which has a selector,", any.origin.key())
        }
        None => winner(older()?.origin, later.origin),
    };
    Some(format!("{first} applies to the same workloads; this object has no effect"))
}

/// Whether an older policy selects every workload that this one could select.
fn chosen(older: &[Policy], later: &Policy, selector: &Labels) -> Option<String> {
    let first = older.iter().find(|p| p.selector.is_some_and(|labels| selects(labels, selector)))?;
    let first = winner(first.origin, later.origin);
    Some(format!("{first} selects all of these workloads; this object has no effect"))
}

/// Whether an older policy selects some of the pods that this one selects.
fn shared(
    catalog: &Catalog,
    namespace: &str,
    older: &[Policy],
    later: &Policy,
    selector: &Labels,
) -> Option<String> {
    let pods: Vec<&Arc<Workload>> =
        catalog.workloads_in(namespace).filter(|pod| selects(selector, &pod.labels)).collect();
    let both = |policy: &Policy| {
        let labels = policy.selector?;
        pods.iter().find(|pod| selects(labels, &pod.labels))
    };
    let (first, pod) = older.iter().find_map(|policy| Some((policy, both(policy)?)))?;
    let first = winner(first.origin, later.origin);
    Some(format!("{first} selects pod {} too; this object does not apply to that pod", pod.name))
}
