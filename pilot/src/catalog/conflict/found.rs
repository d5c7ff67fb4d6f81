//! Pure. The conflicts found so far, and how warnings name the winner and the clients for which an object loses.

use crate::catalog::visibility::{ExportTo, Origin};
use api::resource::document::{Place, Refusal};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Display;

/// The conflicts found so far.
#[derive(Debug, Default)]
pub(super) struct Conflicts(pub(super) Vec<Refusal>);

impl Conflicts {
    /// Adds a warning that the part at `path` of `loser` has no effect. `reason` names the winner.
    pub(super) fn add(&mut self, loser: &Origin, path: impl Display, reason: String, next: &str) {
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

    /// The warnings, by object and field.
    pub(super) fn sorted(mut self) -> Vec<Refusal> {
        self.0.sort_by(|a, b| (&a.key, &a.path, &a.reason).cmp(&(&b.key, &b.path, &b.reason)));
        self.0
    }
}

/// The winner and why it wins, as the subject of a sentence: `Sidecar shop/a, which is older,`.
pub(super) fn winner(winner: &Origin, loser: &Origin) -> String {
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
pub(super) fn viewers<'a>(objects: impl Iterator<Item = (&'a Origin, &'a ExportTo)>) -> BTreeSet<&'a str> {
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
pub(super) fn in_namespaces(overridden: &BTreeSet<&str>, seen: &BTreeSet<&str>) -> String {
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
