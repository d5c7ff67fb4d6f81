//! Groups of proxies that share most of their configuration. One task per group generates it when the configuration
//! changes, and distributes it. The task ends when the last proxy has left.

use super::body::Bodies;
use super::cache::{PartCache, Shared};
use super::own::WorkloadCache;
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
    /// Locked for writing when the first proxy of a group joins and after the last one has left.
    pub(super) table: RwLock<HashMap<Arc<Audience>, Arc<Group>>>,
    pub(super) bodies: Bodies,
    /// Limits how many groups generate at the same time.
    permits: Semaphore,
}

/// The proxies of one audience.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) audience: Arc<Audience>,
    /// What they share; `None` until it is generated for the first time.
    shared: watch::Sender<Option<Arc<Shared>>>,
    pub(super) workloads: WorkloadCache,
}

/// The shared configuration of a group, as it changes. The group exists as long as a receiver does.
pub(super) type Changes = watch::Receiver<Option<Arc<Shared>>>;

impl Groups {
    pub(super) fn new(snapshots: watch::Receiver<Arc<Snapshot>>, metrics: Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (table, bodies) = (RwLock::default(), Bodies::default());
        Self { metrics, snapshots, table, bodies, permits: Semaphore::new(cores) }
    }

    /// Returns the group of an audience and its shared configuration; creates the group if necessary.
    pub(super) fn join_group(self: &Arc<Self>, audience: Audience) -> (Arc<Group>, Changes) {
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
        let (audience, workloads) = (Arc::new(audience), WorkloadCache::default());
        let group =
            Arc::new(Group { audience: audience.clone(), shared: watch::Sender::new(None), workloads });
        let changes = group.shared.subscribe();
        table.insert(audience, group.clone());
        tokio::spawn(self.clone().serve(group.clone()));
        (group, changes)
    }

    /// Generates the shared configuration for each snapshot, as long as the group has members.
    async fn serve(self: Arc<Self>, group: Arc<Group>) {
        let (mut cache, mut snapshots) = (PartCache::default(), self.snapshots.clone());
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            let snapshot = snapshots.borrow_and_update().clone();
            let (groups, audience) = (self.clone(), group.audience.clone());
            // Runs on a blocking thread, so that generating does not delay streams that are sending.
            let work = tokio::task::spawn_blocking(move || {
                let timer = groups.metrics.push_time.start_timer();
                let shared = cache.next(&snapshot, &audience, &groups.bodies);
                timer.observe_duration();
                (cache, shared)
            });
            let (last, shared) =
                work.await.expect("generating does not panic, and the runtime outlives its groups");
            drop(permit);
            cache = last;
            group.shared.send_replace(Some(Arc::new(shared)));
            if !self.wait_for_next(&group, &mut snapshots).await {
                break;
            }
        }
        drop((cache, group));
        self.bodies.tidy();
    }

    /// Waits for the next snapshot. Returns false when the group has no members, or pilot ends.
    async fn wait_for_next(&self, group: &Group, snapshots: &mut watch::Receiver<Arc<Snapshot>>) -> bool {
        loop {
            tokio::select! {
                changed = snapshots.changed() => return changed.is_ok(),
                () = group.shared.closed() => {
                    let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
                    // No proxy can join while the table is locked, but one may have joined before.
                    if group.shared.receiver_count() == 0 {
                        table.remove(&group.audience);
                        return false;
                    }
                }
            }
        }
    }
}
