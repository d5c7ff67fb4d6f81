//! The channel of verdicts: what pilot and the proxies think of users' objects. The pipeline and the review write it;
//! the debug pages, and by them `ostria`, read it.
//!
//! A reader looks at the whole table, or waits until its revision changes and asks what changed since; it can fall behind
//! without holding anybody up. No lock is shared by all proxies: each notes its progress in numbers of its own
//! (`progress`), and readers that wait for proxies are woken by a bell that costs nothing while nobody waits.

pub mod progress;

mod table;

use crate::flow;
use crate::snapshot::Snapshot;
use api::resource::document::Refusal;
use api::resource::verdict::{ObjectVerdict, Verdicts, Wait};
use progress::Proxies;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use table::Table;
use tokio::sync::watch;

/// The verdicts on all objects, and the proxies that acknowledge them.
#[derive(Debug, Clone)]
pub struct Channel {
    table: Arc<Mutex<Table>>,
    revision: watch::Sender<u64>,
    /// Connected proxies and how far they are.
    pub proxies: Proxies,
}

impl Default for Channel {
    fn default() -> Self {
        Self { table: Arc::default(), revision: watch::Sender::new(0), proxies: Proxies::default() }
    }
}

impl Channel {
    /// Takes verdicts over, in their order. `snapshot` is the generation with which accepted objects come into force.
    pub fn note(&self, verdicts: Vec<flow::Verdict>, snapshot: u64) {
        self.change(|table| table.note(verdicts, snapshot));
    }

    /// Takes over what was found about objects beside each other; gives back what is new and what is settled.
    pub fn compare(&self, together: Vec<Refusal>) -> (Vec<Refusal>, Vec<Refusal>) {
        self.change(|table| table.compare(together))
    }

    /// How many objects and files are refused.
    pub fn refused(&self) -> usize {
        self.lock().refusals().count()
    }

    /// Why objects and files are refused.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.lock().refusals().flatten().cloned().collect()
    }

    /// What is odd about objects in force, by object.
    pub fn warnings(&self) -> Vec<Refusal> {
        self.lock().warnings()
    }

    /// The verdicts that changed after a revision, of those that are wanted; and the revision that this is.
    pub fn since(&self, revision: u64, wanted: impl Fn(&ObjectVerdict) -> bool) -> (u64, Vec<ObjectVerdict>) {
        self.lock().since(revision, wanted)
    }

    /// Tells of each new revision.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Answers when the objects are settled, or when the time is over.
    pub async fn wait(&self, mut snapshots: watch::Receiver<Arc<Snapshot>>, question: &Wait) -> Verdicts {
        let time = Duration::from_millis(question.milliseconds).min(LONGEST_WAIT);
        let deadline = tokio::time::Instant::now() + time;
        let mut revisions = self.watch();
        loop {
            // Marked before the look: what changes during it is looked at again.
            let rung = self.proxies.rung();
            revisions.mark_unchanged();
            let mut verdicts = self.answer(question);
            // After the table: what is gone there is gone in this snapshot.
            verdicts.snapshot = snapshots.borrow_and_update().generation;
            verdicts.settled = verdicts.settles(&question.objects);
            if verdicts.settled || tokio::time::Instant::now() >= deadline {
                return verdicts;
            }
            tokio::select! {
                () = rung => {}
                changed = revisions.changed() => if changed.is_err() { return verdicts },
                changed = snapshots.changed() => if changed.is_err() { return verdicts },
                () = tokio::time::sleep_until(deadline) => {}
            }
            // Thousands of proxies answer within moments.
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    fn answer(&self, question: &Wait) -> Verdicts {
        let wanted = |verdict: &ObjectVerdict| question.objects.iter().any(|one| one.names(verdict));
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

/// The longest that a question is held open; who wants to wait longer asks again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Between two looks at the answers of proxies.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
