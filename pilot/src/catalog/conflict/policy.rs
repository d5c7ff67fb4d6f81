//! Pure. Finds conflicts between policies of one kind. For each workload, the oldest policy of its namespace that selects
//! it applies; the others do not.

use super::found::{Conflicts, winner};
use crate::catalog::Catalog;
use crate::catalog::kind::policy::Policy;
use crate::catalog::visibility::{Labels, selects};
use crate::catalog::workload::Workload;
use api::resource::kind::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Compares the policies of each kind and namespace, the oldest first.
pub(super) fn find(catalog: &Catalog, found: &mut Conflicts) {
    let mut all: BTreeMap<(Kind, &str), Vec<Policy>> = BTreeMap::new();
    for (_, policy) in catalog.policies().filter(|(_, policy)| policy.exclusive) {
        all.entry((policy.origin.kind, &policy.origin.namespace)).or_default().push(policy);
    }
    for ((_, namespace), policies) in &all {
        for (at, later) in policies.iter().enumerate() {
            let reason = match later.selector {
                None => whole_namespace(policies, at, &catalog.mesh().root_namespace),
                Some(selector) => chosen(&policies[..at], later, selector)
                    .or_else(|| shared(catalog, namespace, &policies[..at], later, selector)),
            };
            if let Some(reason) = reason {
                found.add(later.origin, later.path, reason, "merge the two, or delete one");
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
