//! Pure. From what files hold to facts about objects: what is there, what is gone, what cannot be read.
//!
//! A file that becomes malformed keeps the last good version of its objects. An object that stands in two files
//! belongs to the one that had it first; the other place is refused, and takes over when the first gives it up.

use crate::flow::Fact;
use api::resource::document::{Document, Key, Place, Refusal};
use api::resource::parse::Parsed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What all files hold, and what was told of it.
#[derive(Debug, Default)]
pub(in crate::source) struct Files {
    held: BTreeMap<Arc<str>, Held>,
    told: BTreeMap<Key, Document>,
    refused: BTreeMap<Arc<str>, Vec<Refusal>>,
}

/// What one file holds.
#[derive(Debug, Default)]
struct Held {
    /// Objects that are in force: as the file has them, or as it had them last.
    documents: Vec<Document>,
    refusals: Vec<Refusal>,
}

/// What was found of one file.
#[derive(Debug)]
pub(in crate::source) enum Reading {
    /// Its content.
    Content(Parsed),
    /// It cannot be read.
    Unreadable(Refusal),
    /// It is gone.
    Gone,
}

impl Files {
    /// Takes new readings of some files and tells what they change.
    pub(in crate::source) fn take(&mut self, readings: Vec<(Arc<str>, Reading)>) -> Vec<Fact> {
        for (file, reading) in readings {
            match reading {
                Reading::Gone => {
                    self.held.remove(&file);
                }
                Reading::Unreadable(refusal) => {
                    self.held.entry(file).or_default().refusals = vec![refusal];
                }
                Reading::Content(parsed) => {
                    let held = self.held.remove(&file).unwrap_or_default();
                    self.held.insert(file, held.next(parsed));
                }
            }
        }
        self.tell()
    }

    fn tell(&mut self) -> Vec<Fact> {
        let (owners, refused) = self.owners();
        let mut facts = vec![];
        let refused_keys: BTreeSet<&Key> =
            refused.values().flatten().filter_map(|r| r.key.as_ref()).collect();
        // An object is told to be gone when it was told to be there, or when only its refusal was told of.
        let forgotten = self.refused.values().flatten().filter_map(|r| r.key.as_ref());
        let forgotten = forgotten.filter(|key| !refused_keys.contains(key));
        let known: BTreeSet<&Key> = self.told.keys().chain(forgotten).collect();
        let gone = known.into_iter().filter(|key| !owners.contains_key(*key));
        facts.extend(gone.cloned().map(Fact::Delete));
        for (key, document) in &owners {
            let same = self.told.get(key).is_some_and(|before| same(before, document));
            if !same || (self.refused_before(key) && !refused_keys.contains(key)) {
                facts.push(Fact::Upsert(document.clone()));
            }
        }
        for (file, before) in &self.refused {
            let cleared = before.iter().any(|r| r.key.is_none());
            if cleared && !refused.get(file).is_some_and(|now| now.iter().any(|r| r.key.is_none())) {
                facts.push(Fact::Readable(Place::new(file, 0)));
            }
        }
        for (file, refusals) in &refused {
            if self.refused.get(file) != Some(refusals) {
                facts.extend(refusals.iter().cloned().map(Fact::Refused));
            }
        }
        self.told = owners;
        self.refused = refused;
        facts
    }

    fn refused_before(&self, key: &Key) -> bool {
        self.refused.values().flatten().any(|r| r.key.as_ref() == Some(key))
    }

    /// The document that counts for each object, and what is refused in each file.
    fn owners(&self) -> (BTreeMap<Key, Document>, BTreeMap<Arc<str>, Vec<Refusal>>) {
        let mut owners: BTreeMap<Key, Document> = BTreeMap::new();
        let mut refused: BTreeMap<Arc<str>, Vec<Refusal>> = BTreeMap::new();
        for (file, held) in &self.held {
            if !held.refusals.is_empty() {
                refused.insert(file.clone(), held.refusals.clone());
            }
            for document in &held.documents {
                let key = &document.object.key;
                let Some(other) = owners.get(key) else {
                    owners.insert(key.clone(), document.clone());
                    continue;
                };
                let had_it = self.told.get(key).is_some_and(|told| told.place.file == document.place.file);
                let in_one_file = other.place.file == document.place.file;
                let loser = if had_it && !in_one_file {
                    owners.insert(key.clone(), document.clone()).expect("the other place was there")
                } else {
                    document.clone()
                };
                let winner = owners[key].place.clone();
                refused.entry(loser.place.file.clone()).or_default().push(duplicate(&loser, &winner));
            }
        }
        (owners, refused)
    }
}

impl Held {
    /// What the file holds after it was read again.
    fn next(self, parsed: Parsed) -> Self {
        let unnamed = parsed.refusals.iter().any(|r| r.key.is_none());
        let refused: BTreeSet<&Key> = parsed.refusals.iter().filter_map(|r| r.key.as_ref()).collect();
        let there: BTreeSet<&Key> = parsed.documents.iter().map(|d| &d.object.key).collect();
        let kept = self.documents.into_iter().filter(|document| {
            let key = &document.object.key;
            !there.contains(key) && (unnamed || refused.contains(key))
        });
        let kept: Vec<Document> = kept.collect();
        Self { documents: parsed.documents.into_iter().chain(kept).collect(), refusals: parsed.refusals }
    }
}

/// Whether an object needs not be told of again.
fn same(before: &Document, now: &Document) -> bool {
    before.place.file == now.place.file && (Arc::ptr_eq(&before.object, &now.object) || before.raw == now.raw)
}

/// The object stays in force as it stands in the first place: the refusal is about the second, not the object.
fn duplicate(loser: &Document, winner: &Place) -> Refusal {
    let key = &loser.object.key;
    Refusal {
        place: loser.place.clone(),
        key: None,
        object: key.to_string(),
        path: String::new(),
        reason: format!("the object is already defined at {winner}"),
        next: "keep one of the two".into(),
    }
}

#[cfg(test)]
mod tests;
