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
use api::resource::kind::Kind;
use found::Conflicts;

impl Catalog {
    /// Returns a warning for each object, or part of one, that has no effect because another object takes its place.
    /// Sorted by object and field; the place in the file is not set.
    pub fn conflicts(&self) -> Vec<Refusal> {
        let mut found = Conflicts::default();
        self.find_among_rules(&mut found);
        self.find_among_services(&mut found);
        found.sorted()
    }

    /// The same, of objects of one kind. The webhook asks with each review, so services and their pods, of which there
    /// are thousands, are compared only if the kind declares services.
    pub fn conflicts_of(&self, kind: Kind) -> Vec<Refusal> {
        let mut found = Conflicts::default();
        if matches!(kind, Kind::Service | Kind::ServiceEntry) {
            self.find_among_services(&mut found);
        } else {
            self.find_among_rules(&mut found);
        }
        found.0.retain(|refusal| refusal.key.as_ref().is_some_and(|key| key.kind == kind));
        found.sorted()
    }

    fn find_among_rules(&self, found: &mut Conflicts) {
        policy::find(self, found);
        route::find(self, found);
        delegation::find(self, found);
        rule::find(self, found);
        gateway::find(self, found);
    }

    fn find_among_services(&self, found: &mut Conflicts) {
        service::find(self, found);
        address::find(self, found);
        inbound::find(self, found);
    }
}

#[cfg(test)]
mod tests;
