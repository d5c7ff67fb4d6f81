//! Pure. What policies have in common: a selector chooses the workloads that they apply to. Whatever holds for all of
//! them (conflicts, related objects, warnings of a selector that selects nothing) needs no more than this.

use crate::catalog::visibility::{Labels, Origin, selects};

/// The common part of a policy.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The object.
    pub origin: &'a Origin,
    /// Labels of the workloads that it selects; absent: the whole namespace, or in the root namespace the whole mesh.
    pub selector: Option<&'a Labels>,
    /// The field that holds the selector.
    pub path: &'static str,
    /// Whether only the oldest of the policies that select a workload applies to it.
    pub exclusive: bool,
    /// Whether it changes resources that the proxies of a namespace share. Proxies whose labels differ in what it
    /// selects then get resources of their own.
    pub shared: bool,
}

impl Policy<'_> {
    /// Whether it selects workloads of a namespace with these labels; `root` is the namespace whose policies apply to
    /// the whole mesh.
    pub fn selects(&self, namespace: &str, labels: &Labels, root: &str) -> bool {
        let own = self.origin.namespace == namespace;
        match self.selector {
            Some(selector) => own && selects(selector, labels),
            None => own || self.origin.namespace == root,
        }
    }
}
