//! Pure. Conflicts between accepted objects: two policies for the same workloads, two routes for the same host, two
//! protocols on the same port. Only one of the two takes effect; the author of the other must learn why it has none.
//!
//! One file for each kind of conflict. A conflict is a warning on the losing object and names the winning one, so the
//! warning disappears with the winner. `Catalog::conflicts` is a function of the catalog alone: `ostria apply` calls it
//! for the proposed catalog, the control plane for the one in force.

mod address;
mod delegation;
mod gateway;
mod inbound;
mod policy;
mod route;
mod rule;
mod service;

mod found;

use super::Catalog;
use api::resource::document::Refusal;
use found::Conflicts;

impl Catalog {
    /// Returns a warning for each object, or part of one, that has no effect because another object takes its place.
    /// Sorted by object and field; the place in the file is not set.
    pub fn conflicts(&self) -> Vec<Refusal> {
        let mut found = Conflicts::default();
        policy::find(self, &mut found);
        route::find(self, &mut found);
        delegation::find(self, &mut found);
        rule::find(self, &mut found);
        gateway::find(self, &mut found);
        service::find(self, &mut found);
        address::find(self, &mut found);
        inbound::find(self, &mut found);
        found.0.sort_by(|a, b| (&a.key, &a.path, &a.reason).cmp(&(&b.key, &b.path, &b.reason)));
        found.0
    }
}

#[cfg(test)]
mod tests;
