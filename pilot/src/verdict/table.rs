//! Pure. The verdict on each object: the last validated version, whether it is in force, and the findings.

use super::unsupported::UnsupportedTable;
use crate::flow::{Unsupported, Verdict};
use api::resource::document::{Key, Place, Problem, Refusal};
use api::resource::kind::Kind;
use api::resource::verdict::{ObjectVerdict, Version};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// All verdicts.
#[derive(Debug, Default)]
pub(super) struct Table {
    revision: u64,
    entries: BTreeMap<Subject, Entry>,
    unsupported: UnsupportedTable,
    /// Findings that arise only from objects in combination: conflicts, then references that do not resolve.
    together: Vec<Refusal>,
    /// The number of conflicts among them.
    conflicts: usize,
}

/// The subject of a verdict: an object, or a file in which no object was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Object(Key),
    /// A file or a cluster.
    Source(Arc<str>),
}

impl Subject {
    /// A verdict with only the names filled in.
    fn named(&self) -> ObjectVerdict {
        match self {
            Self::Object(key) => ObjectVerdict {
                group: key.kind.group().to_owned(),
                kind: key.kind.name().to_owned(),
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                ..ObjectVerdict::default()
            },
            Self::Source(_) => ObjectVerdict::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    version: Version,
    place: Place,
    snapshot: u64,
    revision: u64,
    /// Whether the mesh does not know the object.
    undiscovered: bool,
    /// Absent for most objects.
    findings: Option<Box<Findings>>,
}

#[derive(Debug, Default)]
struct Findings {
    errors: Vec<Refusal>,
    warnings: Vec<Refusal>,
}

impl Table {
    /// The revision; increases with each change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Records verdicts, in order.
    pub(super) fn note(&mut self, verdicts: Vec<Verdict>, snapshot: u64) {
        if !verdicts.is_empty() {
            self.revision += 1;
        }
        for verdict in verdicts {
            let source = Subject::Source(verdict.place.source());
            let accepted = verdict.accepted();
            if accepted {
                // The file, or the object of the cluster, is readable again.
                self.entries.remove(&source);
            }
            match verdict.key {
                Some(key) if verdict.gone || (accepted && passes_by(key.kind, &verdict.warnings)) => {
                    self.entries.remove(&Subject::Object(key));
                }
                None if accepted => {}
                key => {
                    let subject = key.map_or(source, Subject::Object);
                    let entry = self.entries.entry(subject).or_default();
                    entry.judge(verdict.errors, verdict.warnings);
                    (entry.version, entry.place) = (verdict.version, verdict.place);
                    entry.revision = self.revision;
                    if accepted {
                        entry.snapshot = snapshot;
                    }
                }
            }
        }
    }

    /// Records which objects of kinds that are not supported exist, in order. Returns those that were not known before.
    pub(super) fn note_unsupported(
        &mut self,
        objects: Vec<(Unsupported, Option<Version>)>,
    ) -> Vec<Unsupported> {
        self.revision += 1;
        let revision = self.revision;
        let appeared = objects.into_iter().filter_map(|(object, version)| {
            self.unsupported.note(object.clone(), version, revision).then_some(object)
        });
        appeared.collect()
    }

    /// The objects of kinds that are not supported, as far as the mesh knows them.
    pub(super) fn unsupported(&self) -> &UnsupportedTable {
        &self.unsupported
    }

    /// Records which namespaces the mesh knows.
    pub(super) fn rescope(&mut self, knows: impl Fn(&str) -> bool) {
        let next = self.revision + 1;
        for (subject, entry) in &mut self.entries {
            let Subject::Object(key) = subject else { continue };
            let undiscovered = !knows(&key.namespace);
            if entry.undiscovered != undiscovered {
                (entry.undiscovered, entry.revision, self.revision) = (undiscovered, next, next);
            }
        }
        if self.unsupported.rescope(knows, next) {
            self.revision = next;
        }
    }

    /// Records the findings about objects in combination. Returns those that are new and those that are resolved.
    pub(super) fn compare(
        &mut self,
        conflicts: Vec<Refusal>,
        references: Vec<Refusal>,
    ) -> (Vec<Refusal>, Vec<Refusal>) {
        self.conflicts = conflicts.len();
        let together = [conflicts, references].concat();
        let before: HashSet<&Refusal> = self.together.iter().collect();
        let after: HashSet<&Refusal> = together.iter().collect();
        let appeared: Vec<Refusal> = together.iter().filter(|w| !before.contains(w)).cloned().collect();
        let settled: Vec<Refusal> = self.together.iter().filter(|w| !after.contains(w)).cloned().collect();
        let changed: BTreeSet<&Key> =
            appeared.iter().chain(&settled).filter_map(|w| w.key.as_ref()).collect();
        if !changed.is_empty() {
            self.revision += 1;
        }
        for key in changed {
            if let Some(entry) = self.entries.get_mut(&Subject::Object(key.clone())) {
                entry.revision = self.revision;
            }
        }
        self.together = together;
        (appeared, settled)
    }

    /// The errors of each refused object or file.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &Vec<Refusal>> {
        let found = self.entries.values().filter_map(|entry| entry.findings.as_ref());
        found.map(|found| &found.errors).filter(|errors| !errors.is_empty())
    }

    /// All warnings, by object.
    pub(super) fn warnings(&self) -> Vec<Refusal> {
        let alone =
            self.entries.values().filter_map(|entry| entry.findings.as_ref()).flat_map(|f| &f.warnings);
        let mut all: Vec<Refusal> = alone.chain(&self.together).cloned().collect();
        all.sort_by(|a, b| (&a.key, &a.path).cmp(&(&b.key, &b.path)));
        all
    }

    /// Returns the wanted verdicts that changed after a revision, and the current revision.
    pub(super) fn since(
        &self,
        revision: u64,
        wanted: impl Fn(&ObjectVerdict) -> bool,
    ) -> (u64, Vec<ObjectVerdict>) {
        let mut together: BTreeMap<&Key, (Vec<Problem>, usize)> = BTreeMap::new();
        for (at, warning) in self.together.iter().enumerate() {
            let Some(key) = &warning.key else { continue };
            let (beside, unresolved) = together.entry(key).or_default();
            beside.push(Problem::from(warning));
            *unresolved += usize::from(at >= self.conflicts);
        }
        let changed = self.entries.iter().filter(|(_, entry)| entry.revision > revision || revision == 0);
        let named = changed.map(|(subject, entry)| {
            let named = ObjectVerdict { undiscovered: entry.undiscovered, ..subject.named() };
            (subject, entry, named)
        });
        let chosen = named.filter(|(_, _, verdict)| wanted(verdict));
        let full = chosen.map(|(subject, entry, verdict)| {
            let beside = match subject {
                Subject::Object(key) => together.get(key).cloned().unwrap_or_default(),
                Subject::Source(_) => (vec![], 0),
            };
            entry.complete(verdict, beside)
        });
        (self.revision, full.chain(self.unsupported.since(revision, &wanted)).collect())
    }
}

impl Entry {
    /// Records a result. The last good version of a refused object stays in force, with its warnings.
    fn judge(&mut self, errors: Vec<Refusal>, warnings: Vec<Refusal>) {
        let warnings = if errors.is_empty() {
            warnings
        } else {
            self.findings.take().map(|found| found.warnings).unwrap_or_default()
        };
        let found = !errors.is_empty() || !warnings.is_empty();
        self.findings = found.then(|| Box::new(Findings { errors, warnings }));
    }

    /// The warning that the object has no effect because the mesh does not know it.
    fn scope(&self) -> Option<Problem> {
        self.undiscovered.then(|| Problem {
            path: "metadata.namespace".into(),
            reason: "is not selected by discoverySelectors of MeshConfig: the object has no effect".into(),
            next: "label the namespace as a selector requires".into(),
            ..Problem::default()
        })
    }

    /// The whole verdict. `beside` are the findings in combination with other objects, and how many of them, at their end,
    /// are about references.
    fn complete(&self, named: ObjectVerdict, (beside, unresolved): (Vec<Problem>, usize)) -> ObjectVerdict {
        let found = self.findings.as_deref();
        let errors = found.map(|f| f.errors.iter().map(Problem::from).collect()).unwrap_or_default();
        let alone: Vec<Problem> =
            found.map(|f| f.warnings.iter().map(Problem::from).collect()).unwrap_or_default();
        ObjectVerdict {
            version: self.version.clone(),
            place: self.place.to_string(),
            accepted: found.is_none_or(|f| f.errors.is_empty()),
            snapshot: self.snapshot,
            revision: self.revision,
            errors,
            unresolved: beside[beside.len() - unresolved..].to_vec(),
            warnings: self.scope().into_iter().chain(alone).chain(beside).collect(),
            ..named
        }
    }
}

/// Whether no verdict is kept: pods come and go by the thousand, and their verdicts matter only if something is wrong.
fn passes_by(kind: Kind, warnings: &[Refusal]) -> bool {
    kind == Kind::Pod && warnings.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(kind: Kind, generation: i64, errors: usize, warnings: usize) -> Verdict {
        let many = |word: &str, count| vec![Refusal { reason: word.into(), ..Refusal::default() }; count];
        Verdict {
            key: Some(Key::new(kind, "shop", "a")),
            place: Place::new("a.yaml", 3),
            version: Version { generation, ..Version::default() },
            errors: many("wrong", errors),
            warnings: many("odd", warnings),
            gone: false,
        }
    }

    fn all(table: &Table) -> Vec<ObjectVerdict> {
        table.since(0, |_| true).1
    }

    #[test]
    fn a_rejected_version_leaves_the_last_valid_one_and_its_warnings_in_force() {
        let mut table = Table::default();
        table.note(vec![verdict(Kind::Service, 1, 0, 1)], 4);
        table.note(vec![verdict(Kind::Service, 2, 1, 0)], 5);
        let found = all(&table).remove(0);
        assert_eq!((found.accepted, found.version.generation, found.snapshot), (false, 2, 4));
        assert_eq!((found.errors.len(), found.warnings.len(), found.place.as_str()), (1, 1, "a.yaml:3"));
        table.note(vec![verdict(Kind::Service, 3, 0, 0)], 6);
        let found = all(&table).remove(0);
        assert_eq!((found.accepted, found.snapshot, found.warnings.len()), (true, 6, 0));
        assert_eq!(table.refusals().count(), 0);
    }

    #[test]
    fn readers_get_the_changes_since_their_last_read() {
        let mut table = Table::default();
        table.note(vec![verdict(Kind::Service, 1, 0, 0)], 1);
        let known = table.revision();
        table.note(vec![verdict(Kind::VirtualService, 1, 0, 0)], 2);
        let (revision, changed) = table.since(known, |_| true);
        assert_eq!((revision, changed.len(), changed[0].kind.as_str()), (known + 1, 1, "VirtualService"));
        let lost = Refusal { key: Some(Key::new(Kind::Service, "shop", "a")), ..Refusal::default() };
        let known = table.revision();
        assert_eq!(table.compare(vec![lost.clone()], vec![]), (vec![lost.clone()], vec![]));
        assert_eq!(table.since(known, |_| true).1[0].warnings.len(), 1, "it changed for its warning");
        let known = table.revision();
        assert_eq!(table.compare(vec![lost.clone()], vec![]), (vec![], vec![]));
        assert_eq!(table.revision(), known, "nothing changed");
        assert_eq!(table.compare(vec![], vec![]), (vec![], vec![lost]));
    }

    #[test]
    fn an_object_of_an_unsupported_kind_is_refused_as_long_as_the_mesh_knows_it() {
        let kind = api::resource::kind::refused::find("security.istio.io", "AuthorizationPolicy").unwrap();
        let object = || Unsupported::new(kind, "shop", "deny");
        let version = |generation| Some(Version { generation, ..Version::default() });
        let mut table = Table::default();
        assert_eq!(table.note_unsupported(vec![(object(), version(1))]), [object()]);
        let known = table.revision();
        let found = all(&table).remove(0);
        assert_eq!((found.accepted, found.snapshot, found.version.generation), (false, 0, 1));
        assert_eq!((found.kind.as_str(), found.name.as_str()), ("AuthorizationPolicy", "deny"));
        assert!(found.errors[0].reason.contains("no proxy of Ostria enforces"), "{:?}", found.errors);
        assert_eq!(table.note_unsupported(vec![(object(), version(2))]), [], "it was known");
        assert_eq!(table.since(known, |_| true).1.len(), 1, "a later version is a change");
        table.rescope(|namespace| namespace != "shop");
        assert!(all(&table)[0].undiscovered);
        assert_eq!(table.unsupported().refusals().count(), 0);
        table.rescope(|_| true);
        assert_eq!(table.unsupported().refusals().count(), 1);
        table.note_unsupported(vec![(object(), None)]);
        assert_eq!(all(&table), []);
    }

    #[test]
    fn deletions_are_applied_in_the_order_of_the_facts() {
        let gone = || Verdict { gone: true, ..verdict(Kind::Service, 0, 0, 0) };
        let mut table = Table::default();
        table.note(vec![verdict(Kind::Service, 1, 1, 0), gone()], 1);
        assert_eq!(all(&table), []);
        table.note(vec![gone(), verdict(Kind::Service, 1, 0, 0)], 2);
        assert_eq!(all(&table).len(), 1);
    }

    #[test]
    fn a_readable_file_and_a_healthy_pod_are_not_kept() {
        let mut table = Table::default();
        let unread = Verdict { key: None, ..verdict(Kind::Service, 0, 1, 0) };
        table.note(vec![unread, verdict(Kind::Pod, 0, 1, 0)], 1);
        assert_eq!(all(&table).len(), 2);
        table.note(vec![verdict(Kind::Pod, 0, 0, 0)], 1);
        assert_eq!(all(&table), []);
        table.note(vec![verdict(Kind::Pod, 0, 0, 1)], 1);
        assert_eq!(all(&table).len(), 1);
    }
}
