//! What is odd about the objects in force: what a check of each alone has found, and what shows only when all are seen
//! together: conflicts that one of them loses, and references that lead nowhere.
//!
//! The second is looked for in the background after each change, because it takes longer than a change may wait, and at
//! most once a second. What appears and what is settled is logged once; `/debug/configz` shows what holds now.

use crate::catalog::Catalog;
use crate::flow::Verdict;
use crate::snapshot::Snapshot;
use crate::validate::reference;
use api::resource::document::{Key, Refusal};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The warnings about objects in force.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// About objects by themselves.
    alone: BTreeMap<Key, Vec<Refusal>>,
    /// About objects beside each other.
    together: Vec<Refusal>,
}

impl Warnings {
    /// All warnings, by object.
    pub fn list(&self) -> Vec<Refusal> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Refusal> = table.alone.values().flatten().chain(&table.together).cloned().collect();
        all.sort_by(|a, b| (&a.key, &a.path).cmp(&(&b.key, &b.path)));
        all
    }

    /// Takes over what was found about objects by themselves.
    pub fn note(&self, verdicts: &[Verdict], deleted: &[Key]) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in deleted {
            table.alone.remove(key);
        }
        for verdict in verdicts.iter().filter(|v| v.accepted()) {
            let Some(key) = &verdict.key else { continue };
            if verdict.warnings.is_empty() {
                table.alone.remove(key);
            } else {
                table.alone.insert(key.clone(), verdict.warnings.clone());
            }
        }
    }

    /// Takes over what was found about objects beside each other; gives back what is new and what is settled.
    fn replace(&self, together: Vec<Refusal>) -> (Vec<Refusal>, Vec<Refusal>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before: HashSet<&Refusal> = table.together.iter().collect();
        let after: HashSet<&Refusal> = together.iter().collect();
        let appeared = together.iter().filter(|w| !before.contains(w)).cloned().collect();
        let settled = table.together.iter().filter(|w| !after.contains(w)).cloned().collect();
        table.together = together;
        (appeared, settled)
    }
}

/// Looks at each new configuration until pilot ends.
pub async fn run(mut snapshots: watch::Receiver<Arc<Snapshot>>, warnings: Warnings) {
    while snapshots.changed().await.is_ok() {
        // Objects that are applied together may come in several snapshots.
        tokio::time::sleep(QUIET).await;
        let catalog = snapshots.borrow_and_update().catalog.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || look(&catalog)).await else { return };
        let (conflicts, references) = found;
        let lost: HashSet<Refusal> = conflicts.iter().cloned().collect();
        let (appeared, settled) = warnings.replace([conflicts, references].concat());
        for warning in appeared {
            if lost.contains(&warning) {
                tracing::warn!(%warning, "an object has no effect, or not all of it");
            } else {
                // What it names may be on its way.
                tracing::info!(%warning, "an object names what is not there");
            }
        }
        for warning in settled {
            tracing::info!(%warning, "settled");
        }
        tokio::time::sleep(DISTANCE).await;
    }
}

/// The conflicts that objects lose, and references that lead nowhere.
fn look(catalog: &Catalog) -> (Vec<Refusal>, Vec<Refusal>) {
    (catalog.conflicts(), reference::references(catalog))
}

/// Between a change and the look at it.
const QUIET: Duration = Duration::from_millis(100);
/// Between two looks.
const DISTANCE: Duration = Duration::from_millis(900);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Fact;
    use crate::validate;
    use api::resource::parse;
    use std::time::Instant;

    fn policy(name: &str) -> String {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{mtls: {{mode: STRICT}}}}\n"
        )
    }

    fn catalog(text: &str) -> Arc<Catalog> {
        let facts = parse::parse("a.yaml", text).documents.into_iter().map(Fact::Upsert).collect();
        let empty = Catalog::default();
        Arc::new(empty.apply(validate::judge(facts, empty.mesh()).0).0)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn snapshot(text: &str, generation: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(catalog(text), generation, Instant::now()))
    }

    #[tokio::test]
    async fn a_warning_comes_with_the_winner_and_goes_with_it() {
        let (publish, snapshots) = watch::channel(snapshot("", 0));
        let warnings = Warnings::default();
        tokio::spawn(run(snapshots, warnings.clone()));
        let wait = async |count: usize| {
            while warnings.list().len() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        publish.send_replace(snapshot(&[policy("a"), policy("b")].concat(), 1));
        wait(1).await;
        assert_eq!(warnings.list()[0].object, "PeerAuthentication shop/b");
        publish.send_replace(snapshot(&policy("b"), 2));
        wait(0).await;
    }

    #[test]
    fn warnings_of_an_object_alone_hold_until_it_changes_or_goes() {
        let warnings = Warnings::default();
        let key = Key::new(api::resource::kind::Kind::Service, "shop", "a");
        let verdict = |errors: Vec<Refusal>, found: Vec<Refusal>| Verdict {
            key: Some(key.clone()),
            place: api::resource::document::Place::default(),
            errors,
            warnings: found,
        };
        let odd = || vec![Refusal { reason: "odd".into(), ..Refusal::default() }];
        warnings.note(&[verdict(vec![], odd())], &[]);
        assert_eq!(warnings.list(), odd());
        warnings.note(&[verdict(odd(), vec![])], &[]);
        assert_eq!(warnings.list(), odd(), "the last good version is still in force");
        warnings.note(&[verdict(vec![], vec![])], &[]);
        assert_eq!(warnings.list(), []);
        warnings.note(&[verdict(vec![], odd())], &[]);
        warnings.note(&[], std::slice::from_ref(&key));
        assert_eq!(warnings.list(), []);
    }
}
