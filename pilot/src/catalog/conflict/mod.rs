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

use super::Catalog;
use super::visibility::{ExportTo, Origin};
use api::resource::document::{Place, Refusal};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Display;

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

/// The conflicts found so far.
#[derive(Debug, Default)]
struct Conflicts(Vec<Refusal>);

impl Conflicts {
    /// Adds a warning that the part at `path` of `loser` has no effect. `reason` names the winner.
    fn add(&mut self, loser: &Origin, path: impl Display, reason: String, next: &str) {
        let key = loser.key();
        self.0.push(Refusal {
            place: Place::default(),
            object: key.to_string(),
            key: Some(key),
            path: path.to_string(),
            reason,
            next: next.to_owned(),
        });
    }
}

/// The winner and why it wins, as the subject of a sentence: `Sidecar shop/a, which is older,`.
fn winner(winner: &Origin, loser: &Origin) -> String {
    let why = match winner.created.cmp(&loser.created) {
        Ordering::Less => "is older",
        Ordering::Equal => "comes first by name",
        // Happens only where visibility takes precedence over age.
        Ordering::Greater => "is exported to fewer namespaces",
    };
    format!("{}, which {why},", winner.key())
}

/// Namespaces that represent all others in decisions about visibility: those that contain the objects or that the
/// objects are exported to by name, and the empty name for all the rest.
fn viewers<'a>(objects: impl Iterator<Item = (&'a Origin, &'a ExportTo)>) -> BTreeSet<&'a str> {
    let mut namespaces = BTreeSet::from([""]);
    for (origin, export_to) in objects {
        namespaces.insert(&origin.namespace);
        if let ExportTo::Namespaces(names) = export_to {
            namespaces.extend(names.iter().map(String::as_str));
        }
    }
    namespaces
}

/// Names the clients for which an object loses: ` for clients in namespace a, b`. Empty if it loses for every client
/// that sees it.
fn in_namespaces(overridden: &BTreeSet<&str>, seen: &BTreeSet<&str>) -> String {
    if overridden == seen {
        return String::new();
    }
    let listed = |names: &mut dyn Iterator<Item = &&str>| names.copied().collect::<Vec<_>>().join(", ");
    if overridden.contains("") {
        format!(" for clients outside of namespace {}", listed(&mut seen.difference(overridden)))
    } else {
        format!(" for clients in namespace {}", listed(&mut overridden.iter()))
    }
}

#[cfg(test)]
mod tests;
