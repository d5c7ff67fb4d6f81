//! Proxies that have most of their configuration in common are a group: one task makes it for all of them when the
//! configuration changes, and hands it out. It ends when the last of them has left.

use super::body::Bodies;
use super::made::{Made, Shared};
use super::own::Owns;
use crate::generate::audience::Audience;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    metrics: Metrics,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Written when the first proxy of a group comes and after the last one has left.
    pub(super) table: RwLock<HashMap<Arc<Audience>, Arc<Group>>>,
    pub(super) bodies: Bodies,
    /// Groups that are worked for at a time.
    turns: Semaphore,
}

/// The proxies of one audience.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) audience: Arc<Audience>,
    /// What they share; `None` before it was made the first time.
    shared: watch::Sender<Option<Arc<Shared>>>,
    pub(super) owns: Owns,
}

/// What a group shares, as it changes. The group lasts as long as somebody has one.
pub(super) type Changes = watch::Receiver<Option<Arc<Shared>>>;

impl Groups {
    pub(super) fn new(snapshots: watch::Receiver<Arc<Snapshot>>, metrics: Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (table, bodies) = (RwLock::default(), Bodies::default());
        Self { metrics, snapshots, table, bodies, turns: Semaphore::new(cores) }
    }

    /// The group of an audience, with what it shares.
    pub(super) fn enter(self: &Arc<Self>, audience: Audience) -> (Arc<Group>, Changes) {
        let known = |table: &HashMap<Arc<Audience>, Arc<Group>>, audience: &Audience| {
            table.get(audience).map(|group| (group.clone(), group.shared.subscribe()))
        };
        if let Some(found) = known(&self.table.read().unwrap_or_else(PoisonError::into_inner), &audience) {
            return found;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known(&table, &audience) {
            return found;
        }
        let (audience, owns) = (Arc::new(audience), Owns::default());
        let group = Arc::new(Group { audience: audience.clone(), shared: watch::Sender::new(None), owns });
        let changes = group.shared.subscribe();
        table.insert(audience, group.clone());
        tokio::spawn(self.clone().serve(group.clone()));
        (group, changes)
    }

    /// Makes what a group shares under each snapshot, as long as it has members.
    async fn serve(self: Arc<Self>, group: Arc<Group>) {
        let (mut made, mut snapshots) = (Made::default(), self.snapshots.clone());
        loop {
            let turn = self.turns.acquire().await.expect("the semaphore is never closed");
            let snapshot = snapshots.borrow_and_update().clone();
            let (groups, audience) = (self.clone(), group.audience.clone());
            // Off the threads that serve streams: what has been sent must not wait there for what is made next.
            let work = tokio::task::spawn_blocking(move || {
                let timer = groups.metrics.push_time.start_timer();
                let shared = made.next(&snapshot, &audience, &groups.bodies);
                timer.observe_duration();
                (made, shared)
            });
            let (last, shared) =
                work.await.expect("generating does not panic, and the runtime outlives its groups");
            drop(turn);
            made = last;
            group.shared.send_replace(Some(Arc::new(shared)));
            if !self.lasts(&group, &mut snapshots).await {
                break;
            }
        }
        drop((made, group));
        self.bodies.tidy();
    }

    /// Waits for the next snapshot; false when the group has no members any more, or pilot ends.
    async fn lasts(&self, group: &Group, snapshots: &mut watch::Receiver<Arc<Snapshot>>) -> bool {
        loop {
            tokio::select! {
                changed = snapshots.changed() => return changed.is_ok(),
                () = group.shared.closed() => {
                    let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
                    // Nobody enters while the table is held; one may have before.
                    if group.shared.receiver_count() == 0 {
                        table.remove(&group.audience);
                        return false;
                    }
                }
            }
        }
    }
}
