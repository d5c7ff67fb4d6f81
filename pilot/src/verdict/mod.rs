//! The channel of verdicts: the results of validation and of the proxies' acknowledgements for users' objects. The
//! pipeline and the review write it; the debug pages, and through them `ostria`, read it.
//!
//! A reader takes the whole table, or waits for a new revision and reads the changes since its own; a slow reader
//! does not delay anything else. Proxies share no lock: each records its progress in its own counters (`progress`).
//! Readers that wait for proxies are woken by a notification, which costs nothing if there are none.

pub mod progress;

mod table;

mod unsupported;

use crate::flow::{self, Unsupported};
use crate::snapshot::Snapshot;
use api::resource::document::Refusal;
use api::resource::verdict::{ObjectVerdict, Verdicts, Version, Wait};
use progress::{BETWEEN_LOOKS, Proxies};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use table::Table;
use tokio::sync::watch;

/// The verdicts on all objects, and the progress of the proxies that acknowledge them.
#[derive(Debug, Clone)]
pub struct Channel {
    table: Arc<Mutex<Table>>,
    revision: watch::Sender<u64>,
    /// Connected proxies and their progress.
    pub proxies: Proxies,
}

impl Default for Channel {
    fn default() -> Self {
        Self { table: Arc::default(), revision: watch::Sender::new(0), proxies: Proxies::default() }
    }
}

impl Channel {
    /// Records verdicts, in order. `snapshot` is the generation that puts accepted objects into force.
    pub fn note(&self, verdicts: Vec<flow::Verdict>, snapshot: u64) {
        self.change(|table| table.note(verdicts, snapshot));
    }

    /// Records which objects of kinds that are not supported exist, in order; those without a version were removed.
    /// Returns those that were not known before.
    pub fn note_unsupported(&self, objects: Vec<(Unsupported, Option<Version>)>) -> Vec<Unsupported> {
        self.change(|table| table.note_unsupported(objects))
    }

    /// The number of objects of each kind that is not supported, of those that the mesh knows.
    pub fn unsupported(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for object in self.lock().unsupported().objects() {
            *counts.entry(object.kind).or_default() += 1;
        }
        counts
    }

    /// Records which namespaces the mesh knows.
    pub fn rescope(&self, knows: impl Fn(&str) -> bool) {
        self.change(|table| table.rescope(knows));
    }

    /// Records the findings about objects in combination: conflicts, and references that do not resolve. Returns those that
    /// are new and those that are resolved.
    pub fn compare(&self, conflicts: Vec<Refusal>, references: Vec<Refusal>) -> (Vec<Refusal>, Vec<Refusal>) {
        self.change(|table| table.compare(conflicts, references))
    }

    /// The number of refused objects and files.
    pub fn refused(&self) -> usize {
        let table = self.lock();
        table.refusals().count() + table.unsupported().objects().count()
    }

    /// The errors of refused objects and files.
    pub fn refusals(&self) -> Vec<Refusal> {
        let table = self.lock();
        table.refusals().flatten().cloned().chain(table.unsupported().refusals()).collect()
    }

    /// The warnings about objects in force, by object.
    pub fn warnings(&self) -> Vec<Refusal> {
        self.lock().warnings()
    }

    /// Returns the wanted verdicts that changed after a revision, and the current revision.
    pub fn since(&self, revision: u64, wanted: impl Fn(&ObjectVerdict) -> bool) -> (u64, Vec<ObjectVerdict>) {
        self.lock().since(revision, wanted)
    }

    /// Subscribes to revisions.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Waits until the objects are settled or the time is over, and returns their verdicts.
    pub async fn wait(&self, mut snapshots: watch::Receiver<Arc<Snapshot>>, wait: &Wait) -> Verdicts {
        let time = Duration::from_millis(wait.milliseconds).min(LONGEST_WAIT);
        let deadline = tokio::time::Instant::now() + time;
        let mut revisions = self.watch();
        loop {
            // Armed before the check, so that a change during the check causes another one.
            let rung = self.proxies.rung();
            revisions.mark_unchanged();
            let mut verdicts = self.verdicts(wait);
            // Read after the table: an object removed there is removed in this snapshot.
            verdicts.snapshot = snapshots.borrow_and_update().generation;
            verdicts.settled = verdicts.settles(&wait.objects);
            if verdicts.settled || tokio::time::Instant::now() >= deadline {
                return verdicts;
            }
            tokio::select! {
                () = rung => {}
                changed = revisions.changed() => if changed.is_err() { return verdicts },
                changed = snapshots.changed() => if changed.is_err() { return verdicts },
                () = tokio::time::sleep_until(deadline) => {}
            }
            // Thousands of proxies acknowledge within moments of each other.
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    fn verdicts(&self, wait: &Wait) -> Verdicts {
        let wanted = |verdict: &ObjectVerdict| wait.objects.iter().any(|one| one.names(verdict));
        let (revision, objects) = self.lock().since(0, wanted);
        Verdicts { revision, objects, proxies: self.proxies.list(), ..Verdicts::default() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.lock();
        let result = change(&mut table);
        let revision = table.revision();
        drop(table);
        self.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest time that a request is held open; clients that want to wait longer repeat the request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
