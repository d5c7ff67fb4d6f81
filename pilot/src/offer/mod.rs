//! What each proxy is offered: generated resources, encoded once and shared by all proxies that get the same.
//!
//! Most resources are the same for every sidecar of a namespace; only the inbound side belongs to a single workload.
//! Each group of proxies with the same resources has a task that generates them (`group`), so that no proxy waits for
//! another group. What is unchanged since the last snapshot is neither generated nor encoded again, and equal bodies
//! share one allocation.

mod group;

mod own;

mod cache;

mod body;

use crate::flow::Scope;
use crate::generate;
use crate::generate::audience::Audience;
use crate::generate::secret;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use api::model::Kind;
use api::wire::{self, Target};
use api::xds::offer::Offer;
use api::xds::table::{Offered, Table};
use cache::Shared;
use group::{Changes, Group, Groups};
use own::WorkloadResources;
use std::sync::Arc;
use tokio::sync::watch;

/// Makes offers, and keeps what they share.
#[derive(Debug, Clone)]
pub struct Offers(Arc<Groups>);

/// A proxy's membership in a group, with its current offer.
#[derive(Debug)]
pub struct Member {
    groups: Arc<Groups>,
    group: Arc<Group>,
    changes: Changes,
    offer: ProxyOffer,
}

/// Everything that one proxy is offered at one moment.
#[derive(Debug)]
pub struct ProxyOffer {
    shared: Arc<Shared>,
    own: Arc<WorkloadResources>,
    scope: Arc<Scope>,
}

impl Offers {
    /// Creates empty groups.
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, metrics: Metrics) -> Self {
        Self(Arc::new(Groups::new(snapshots, metrics)))
    }

    /// Joins a proxy to its group and returns its first offer. `choose` returns the proxy's scope under a snapshot, or
    /// the reason why it gets nothing.
    pub async fn join<E>(&self, choose: impl Fn(&Snapshot) -> Result<Arc<Scope>, E>) -> Result<Member, E> {
        let groups = self.0.clone();
        let snapshot = groups.snapshots.borrow().clone();
        let audience = Audience::of(&snapshot, &*choose(&snapshot)?);
        let (group, mut changes) = groups.join_group(audience);
        let shared = current(&mut changes, snapshot.generation).await;
        let scope = choose(&shared.snapshot)?;
        let own = group.workloads.of(&shared.snapshot, &scope, None, &groups.bodies);
        let offer = ProxyOffer { shared, own, scope };
        let mut member = Member { groups, group, changes, offer };
        // The proxy's audience may have changed while it waited.
        member.settle(&choose).await?;
        Ok(member)
    }
}

/// Waits for a group's shared configuration under a snapshot at least as new as `generation`.
async fn current(changes: &mut Changes, generation: u64) -> Arc<Shared> {
    let is_new_enough =
        |shared: &Option<Arc<Shared>>| shared.as_ref().is_some_and(|m| m.snapshot.generation >= generation);
    let found = changes.wait_for(is_new_enough).await.map(|shared| shared.clone()).ok().flatten();
    match found {
        Some(shared) => shared,
        // The group's task ended with pilot, which also ends all streams.
        None => std::future::pending().await,
    }
}

impl Member {
    /// The proxy's current offer.
    pub fn offer(&self) -> &ProxyOffer {
        &self.offer
    }

    /// Waits for a configuration that the proxy has not been offered. Returns false if there will be no other.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Switches to the newest configuration, in which the proxy's Pod may have changed or been deleted.
    pub async fn renew<E>(&mut self, choose: impl Fn(&Snapshot) -> Result<Arc<Scope>, E>) -> Result<(), E> {
        let newest = self.changes.borrow_and_update().clone();
        if let Some(shared) = newest {
            self.offer.shared = shared;
            self.settle(&choose).await?;
        }
        Ok(())
    }

    /// Updates the group and the proxy's own resources until both match the snapshot.
    async fn settle<E>(&mut self, choose: &impl Fn(&Snapshot) -> Result<Arc<Scope>, E>) -> Result<(), E> {
        loop {
            let snapshot = self.offer.shared.snapshot.clone();
            let scope = choose(&snapshot)?;
            let audience = Audience::of(&snapshot, &scope);
            if audience == *self.group.audience {
                let workloads = &self.group.workloads;
                self.offer.own = workloads.of(&snapshot, &scope, Some(&self.offer.own), &self.groups.bodies);
                self.offer.scope = scope;
                return Ok(());
            }
            (self.group, self.changes) = self.groups.join_group(audience);
            self.offer.shared = current(&mut self.changes, snapshot.generation).await;
        }
    }
}

impl Offer for ProxyOffer {
    fn shared(&self, kind: Kind) -> &Arc<Table> {
        self.shared.table(kind)
    }

    fn own(&self, kind: Kind) -> &Arc<Table> {
        self.own.table(kind)
    }

    fn on_demand(&self, kind: Kind, name: &str) -> Option<Offered> {
        let snapshot = &self.shared.snapshot;
        let resource = match kind {
            Kind::Workload => generate::workload(snapshot, name)?,
            Kind::Secret => secret::find(snapshot, &self.scope, &self.shared.secrets, name)?,
            _ => return None,
        };
        let target = Target { istio_extensions: self.scope.istio_extensions };
        Some(Offered::new(&wire::encode(&resource, &target)))
    }

    fn lists_all(&self, kind: Kind) -> bool {
        !matches!(kind, Kind::Workload | Kind::Secret)
    }

    fn version(&self) -> &str {
        &self.shared.version
    }
}

impl ProxyOffer {
    /// The generation of its snapshot.
    pub fn generation(&self) -> u64 {
        self.shared.snapshot.generation
    }

    /// When the change behind its snapshot was observed.
    pub fn observed(&self) -> std::time::Instant {
        self.shared.snapshot.observed
    }

    /// The scope of the proxy.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }
}

#[cfg(test)]
mod tests;
