//! Pure. Objects that are accepted and yet lose to others: two policies for the same workloads, two routes for the same
//! host, two protocols on the same port. Look-ups find one of them; its author must learn why the other has no effect.
//!
//! One file for each kind of conflict. A conflict is a warning on the object that loses, and it names the one that wins,
//! so that it is gone as soon as the winner is. `Catalog::conflicts` is a function of the catalog alone: `ostria apply`
//! asks it of the catalog that would be, the control plane of the one that is.

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
    /// A warning for each object, or part of one, that has no effect because another object takes its place. Sorted by
    /// object and field; their place is unknown.
    pub fn conflicts(&self) -> Vec<Refusal> {
        let mut losses = Losses::default();
        policy::find(self, &mut losses);
        route::find(self, &mut losses);
        delegation::find(self, &mut losses);
        rule::find(self, &mut losses);
        gateway::find(self, &mut losses);
        service::find(self, &mut losses);
        address::find(self, &mut losses);
        inbound::find(self, &mut losses);
        losses.0.sort_by(|a, b| (&a.key, &a.path, &a.reason).cmp(&(&b.key, &b.path, &b.reason)));
        losses.0
    }
}

/// The conflicts that have been found.
#[derive(Debug, Default)]
struct Losses(Vec<Refusal>);

impl Losses {
    /// The part at `path` of an object loses to another: `reason` names the winner.
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

/// The winner with the reason why it wins, as the subject of a sentence: `Sidecar shop/a, which is older,`.
fn winner(winner: &Origin, loser: &Origin) -> String {
    let why = match winner.created.cmp(&loser.created) {
        Ordering::Less => "is older",
        Ordering::Equal => "comes first by name",
        // Only where visibility goes before age.
        Ordering::Greater => "is exported to fewer namespaces",
    };
    format!("{}, which {why},", winner.key())
}

/// Namespaces that stand for all others where visibility decides: those that objects live in or are exported to by
/// name, and the empty one for the rest.
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

/// For which callers an object loses: ` for callers in namespace a, b`; nothing when those are all that see it.
fn in_namespaces(lost: &BTreeSet<&str>, seen: &BTreeSet<&str>) -> String {
    if lost == seen {
        return String::new();
    }
    let listed = |names: &mut dyn Iterator<Item = &&str>| names.copied().collect::<Vec<_>>().join(", ");
    if lost.contains("") {
        format!(" for callers outside of namespace {}", listed(&mut seen.difference(lost)))
    } else {
        format!(" for callers in namespace {}", listed(&mut lost.iter()))
    }
}

#[cfg(test)]
mod tests;
