//! Pure. Turns readings of files into facts about objects: added, changed, removed, or unreadable.
//!
//! When a file becomes malformed, the last good version of its objects stays. When an object is in two files, the file
//! that had it first keeps it; the other occurrence is refused, and takes effect when the first is removed.
//!
//! Objects are kept as compact text, since this module only compares them; the catalog holds them in its own form.

mod kept;

use crate::flow::Fact;
use api::resource::document::{Key, Place, Refusal};
use api::resource::object::Document;
use api::resource::parse::Parsed;
use kept::StoredObject;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The contents of all files, and the facts reported about them.
#[derive(Debug, Default)]
pub(in crate::source) struct Files {
    contents: BTreeMap<Arc<str>, FileContent>,
    in_force: BTreeMap<Key, Arc<StoredObject>>,
    refused: BTreeMap<Arc<str>, Vec<Refusal>>,
}

/// The content of one file.
#[derive(Debug, Default)]
struct FileContent {
    /// The objects in force: those in the file or, if the file is malformed, those of its last good version.
    objects: Vec<Arc<StoredObject>>,
    refusals: Vec<Refusal>,
}

/// The result of reading one file.
#[derive(Debug)]
pub(in crate::source) enum Reading {
    /// The parsed content.
    Content(Parsed),
    /// The file cannot be read.
    Unreadable(Refusal),
    /// The file was removed.
    Gone,
}

impl Files {
    /// Takes the new readings of some files and returns the resulting facts.
    pub(in crate::source) fn take(&mut self, readings: Vec<(Arc<str>, Reading)>) -> Vec<Fact> {
        let mut fresh = BTreeMap::new();
        for (file, reading) in readings {
            match reading {
                Reading::Gone => {
                    self.contents.remove(&file);
                }
                Reading::Unreadable(refusal) => {
                    self.contents.entry(file).or_default().refusals = vec![refusal];
                }
                Reading::Content(parsed) => {
                    let content = self.contents.remove(&file).unwrap_or_default();
                    self.contents.insert(file.clone(), content.next(&parsed));
                    let all = parsed.documents.into_iter();
                    fresh.extend(all.map(|document| ((file.clone(), document.index), document)));
                }
            }
        }
        self.compare(fresh)
    }

    /// `fresh` holds the documents that were just parsed, so that they are not parsed again.
    fn compare(&mut self, mut fresh: BTreeMap<(Arc<str>, usize), Document>) -> Vec<Fact> {
        let (owners, refused) = self.owners();
        let mut facts = vec![];
        let refused_keys: BTreeSet<&Key> =
            refused.values().flatten().filter_map(|r| r.key.as_ref()).collect();
        // An object is reported as removed if it was reported before, in force or only as refused.
        let forgotten = self.refused.values().flatten().filter_map(|r| r.key.as_ref());
        let forgotten = forgotten.filter(|key| !refused_keys.contains(key));
        let known: BTreeSet<&Key> = self.in_force.keys().chain(forgotten).collect();
        let gone = known.into_iter().filter(|key| !owners.contains_key(*key));
        facts.extend(gone.cloned().map(Fact::Delete));
        for (key, kept) in &owners {
            let same = self.in_force.get(key).is_some_and(|before| before.is_same(kept));
            if !same || (self.refused_before(key) && !refused_keys.contains(key)) {
                let read = fresh.remove(&(kept.place.source(), kept.index));
                facts.extend(read.or_else(|| kept.document()).map(Fact::Upsert));
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
        self.in_force = owners;
        self.refused = refused;
        facts
    }

    fn refused_before(&self, key: &Key) -> bool {
        self.refused.values().flatten().any(|r| r.key.as_ref() == Some(key))
    }

    /// Returns the file that counts for each object, and the refusals of each file.
    fn owners(&self) -> (Owners, Refusals) {
        let mut owners: Owners = BTreeMap::new();
        let mut refused: Refusals = BTreeMap::new();
        for (file, content) in &self.contents {
            if !content.refusals.is_empty() {
                refused.insert(file.clone(), content.refusals.clone());
            }
            for object in &content.objects {
                let key = &object.key;
                let Some(other) = owners.get(key) else {
                    owners.insert(key.clone(), object.clone());
                    continue;
                };
                let had_it =
                    self.in_force.get(key).is_some_and(|known| known.place.source() == object.place.source());
                let in_one_file = other.place.source() == object.place.source();
                let loser = if had_it && !in_one_file {
                    owners.insert(key.clone(), object.clone()).expect("the other place was there")
                } else {
                    object.clone()
                };
                let winner = owners[key].place.clone();
                refused.entry(loser.place.source()).or_default().push(duplicate(&loser, &winner));
            }
        }
        (owners, refused)
    }
}

impl FileContent {
    /// The file's content after it was read again.
    fn next(self, parsed: &Parsed) -> Self {
        let unnamed = parsed.refusals.iter().any(|r| r.key.is_none());
        let refused: BTreeSet<&Key> = parsed.refusals.iter().filter_map(|r| r.key.as_ref()).collect();
        let there: BTreeSet<&Key> = parsed.documents.iter().map(|d| &d.object.key).collect();
        let kept = self.objects.into_iter().filter(|object| {
            let key = &object.key;
            !there.contains(key) && (unnamed || refused.contains(key))
        });
        let read = parsed.documents.iter().map(|document| Arc::new(StoredObject::of(document)));
        Self { objects: read.chain(kept).collect(), refusals: parsed.refusals.clone() }
    }
}

/// Makes the refusal of a duplicate. The object stays in force as the first place has it; the refusal concerns the
/// second place, not the object.
fn duplicate(loser: &StoredObject, winner: &Place) -> Refusal {
    let key = &loser.key;
    Refusal {
        place: loser.place.clone(),
        key: None,
        object: key.to_string(),
        path: String::new(),
        reason: format!("the object is already defined at {winner}"),
        next: "keep one of the two".into(),
    }
}

/// The version of each object that counts.
type Owners = BTreeMap<Key, Arc<StoredObject>>;
/// The refusals of each file.
type Refusals = BTreeMap<Arc<str>, Vec<Refusal>>;

#[cfg(test)]
mod tests;
