//! Pure. The verdicts on objects of kinds that this version does not support: each is refused.

use crate::flow::Unsupported;
use api::resource::document::{Problem, Refusal};
use api::resource::verdict::{ObjectVerdict, Version};
use std::collections::BTreeMap;

/// The objects that exist.
#[derive(Debug, Default)]
pub(super) struct UnsupportedTable {
    entries: BTreeMap<Unsupported, Entry>,
}

#[derive(Debug)]
struct Entry {
    version: Version,
    /// The revision of all verdicts at which it changed last.
    revision: u64,
    /// Whether the mesh does not know the object, because its namespace does not belong to it.
    undiscovered: bool,
}

impl UnsupportedTable {
    /// Records that an object exists in this version, or was removed (`None`). Returns whether it was not known before.
    pub(super) fn note(&mut self, object: Unsupported, version: Option<Version>, revision: u64) -> bool {
        match version {
            Some(version) => {
                let undiscovered = self.entries.get(&object).is_some_and(|before| before.undiscovered);
                self.entries.insert(object, Entry { version, revision, undiscovered }).is_none()
            }
            None => {
                self.entries.remove(&object);
                false
            }
        }
    }

    /// Records which namespaces the mesh knows. Returns whether an entry changed, which then has this revision.
    pub(super) fn rescope(&mut self, knows: impl Fn(&str) -> bool, revision: u64) -> bool {
        let mut changed = false;
        for (object, entry) in &mut self.entries {
            let undiscovered = !knows(&object.namespace);
            if entry.undiscovered != undiscovered {
                (entry.undiscovered, entry.revision, changed) = (undiscovered, revision, true);
            }
        }
        changed
    }

    /// The objects that the mesh knows.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Unsupported> {
        self.entries.iter().filter(|(_, entry)| !entry.undiscovered).map(|(object, _)| object)
    }

    /// Why each object that the mesh knows is refused.
    pub(super) fn refusals(&self) -> impl Iterator<Item = Refusal> {
        self.objects().map(Unsupported::refusal)
    }

    /// The wanted verdicts that changed after a revision.
    pub(super) fn since(
        &self,
        revision: u64,
        wanted: impl Fn(&ObjectVerdict) -> bool,
    ) -> impl Iterator<Item = ObjectVerdict> {
        let changed =
            self.entries.iter().filter(move |(_, entry)| entry.revision > revision || revision == 0);
        let named = changed.map(|(object, entry)| {
            let named = ObjectVerdict {
                group: object.group.to_owned(),
                kind: object.kind.to_owned(),
                namespace: object.namespace.clone(),
                name: object.name.clone(),
                version: entry.version.clone(),
                revision: entry.revision,
                undiscovered: entry.undiscovered,
                ..ObjectVerdict::default()
            };
            (object, named)
        });
        let wanted = named.filter(move |(_, verdict)| wanted(verdict));
        wanted.map(|(object, verdict)| ObjectVerdict {
            errors: vec![Problem::from(&object.refusal())],
            ..verdict
        })
    }
}
