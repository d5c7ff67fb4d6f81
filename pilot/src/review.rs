//! Finds problems that arise only from objects in combination: conflicts between objects in force, and references that
//! do not resolve.
//!
//! Runs in the background after each change, at most once a second, because it takes longer than a change may wait. New
//! and resolved problems are logged once; the verdicts show the current ones.

use crate::catalog::Catalog;
use crate::snapshot::Snapshot;
use crate::validate::reference;
use crate::verdict::Channel;
use api::resource::document::Refusal;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Reviews each new configuration until pilot ends.
pub async fn run(mut snapshots: watch::Receiver<Arc<Snapshot>>, verdicts: Channel) {
    while snapshots.changed().await.is_ok() {
        // Objects that are applied together may arrive in several snapshots.
        tokio::time::sleep(QUIET).await;
        let catalog = snapshots.borrow_and_update().catalog.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || look(&catalog)).await else { return };
        let (conflicts, references) = found;
        let lost: HashSet<Refusal> = conflicts.iter().cloned().collect();
        let (appeared, settled) = verdicts.compare(conflicts, references);
        for warning in appeared {
            if lost.contains(&warning) {
                tracing::warn!(%warning, "an object has no effect, or only part of it has");
            } else {
                // The referenced object may still arrive.
                tracing::info!(%warning, "an object refers to something that is not there");
            }
        }
        for warning in settled {
            tracing::info!(%warning, "settled");
        }
        tokio::time::sleep(DISTANCE).await;
    }
}

/// Returns the conflicts and the unresolved references.
fn look(catalog: &Catalog) -> (Vec<Refusal>, Vec<Refusal>) {
    (catalog.conflicts(), reference::references(catalog))
}

/// The wait between a change and its review.
const QUIET: Duration = Duration::from_millis(100);
/// The minimum interval between two reviews.
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
    async fn a_conflict_warning_appears_and_disappears_with_the_winner() {
        let (publish, snapshots) = watch::channel(snapshot("", 0));
        let verdicts = Channel::default();
        tokio::spawn(run(snapshots, verdicts.clone()));
        let wait = async |count: usize| {
            while verdicts.warnings().len() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        publish.send_replace(snapshot(&[policy("a"), policy("b")].concat(), 1));
        wait(1).await;
        assert_eq!(verdicts.warnings()[0].object, "PeerAuthentication shop/b");
        publish.send_replace(snapshot(&policy("b"), 2));
        wait(0).await;
    }
}
