//! Pure. The configuration in force, compiled into an immutable value that workers share (clusters only once they are
//! used). `apply` makes the next snapshot from an update. A bad resource is rejected alone, and its last good version
//! stays. Unchanged parts are shared, so that their holders can recognise by pointer that they are the same.

mod apply;

mod slot;

pub mod listener;

pub mod cluster;
pub mod reply;
pub mod table;

pub mod health;

mod secrets;

use api::model::Kind;
use api::model::endpoint::LoadAssignment;
use api::model::route::RouteConfiguration;
use cluster::{Cluster, Endpoints};
use foldhash::HashMap;
use listener::Listener;
use secrets::collect_secrets;
use slot::{Slot, Written};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use table::RouteTable;

/// The configuration in force. Immutable; `apply` returns the next one.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    listeners: BTreeMap<String, Arc<Listener>>,
    routes: HashMap<Box<str>, Routes>,
    clusters: HashMap<Arc<str>, Arc<Slot>>,
    endpoints: HashMap<Arc<str>, Written>,
    filters: listener::SharedFilters,
}

/// A route table and the resource that it was compiled from.
#[derive(Debug, Clone)]
struct Routes {
    written: Written,
    table: Arc<RouteTable>,
}

/// Resources that were added, changed or removed.
#[derive(Debug, Default)]
pub struct Update {
    /// Added or changed.
    pub upsert: Vec<api::model::Resource>,
    /// Removed, by kind and name.
    pub remove: Vec<(Kind, String)>,
}

/// A resource that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its type.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The reason, with the field's path where there is one.
    pub reason: String,
}

impl Snapshot {
    /// A snapshot without any resources.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Compiled listeners, by name.
    pub fn compiled_listeners(&self) -> &BTreeMap<String, Arc<Listener>> {
        &self.listeners
    }

    /// A compiled cluster. Compiles it on its first use.
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.get(name)?.cluster()
    }

    /// The endpoints of a cluster that outlier detection has ejected at `now` (time since the process began). Clusters
    /// that were never used have none.
    pub fn ejected(&self, cluster: &str, now: Duration) -> BTreeSet<SocketAddr> {
        let used = self.clusters.get(cluster).and_then(|slot| slot.awake());
        let Some(cluster) = used.filter(|cluster| cluster.model.outlier.is_some()) else {
            return BTreeSet::new();
        };
        let endpoints = cluster.endpoints.clone().or_else(|| cluster.resolved.endpoints());
        let targets = endpoints.iter().flat_map(|endpoints| &endpoints.list);
        targets.filter(|target| target.health.ejected(now)).map(|target| target.address).collect()
    }

    /// The endpoints that the names of a DNS cluster were resolved to; `None`: they were not resolved yet.
    pub fn resolved(&self, cluster: &str) -> Option<Arc<Endpoints>> {
        self.clusters.get(cluster)?.awake()?.resolved.endpoints()
    }

    /// Whether there is a cluster of this name.
    pub fn has_cluster(&self, name: &str) -> bool {
        self.clusters.contains_key(name)
    }

    /// Names of clusters whose endpoints are DNS names, in no order.
    pub fn resolved_clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.clusters.values().filter(|slot| slot.is_resolved()).map(|slot| slot.name())
    }

    /// A compiled route table.
    pub fn table(&self, name: &str) -> Option<&Arc<RouteTable>> {
        self.routes.get(name).map(|routes| &routes.table)
    }

    /// Listeners as received, by name.
    pub fn listeners(&self) -> Vec<Arc<api::model::listener::Listener>> {
        self.listeners.values().map(|l| l.model.clone()).collect()
    }

    /// Route configurations as received, by name.
    pub fn routes(&self) -> Vec<Arc<RouteConfiguration>> {
        let all = self.routes.values().filter_map(|routes| routes.written.routes().map(Arc::new));
        let mut all: Vec<Arc<RouteConfiguration>> = all.collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Clusters as received, by name.
    pub fn clusters(&self) -> Vec<Arc<api::model::cluster::Cluster>> {
        let mut all: Vec<_> = self.clusters.values().filter_map(|slot| slot.model()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Endpoints as received, by name.
    pub fn endpoints(&self) -> Vec<Arc<LoadAssignment>> {
        let all = self.endpoints.values().filter_map(|written| written.assignment().map(Arc::new));
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a: &Arc<LoadAssignment>, b| a.cluster.cmp(&b.cluster));
        all
    }

    /// Names of a kind that other resources refer to: the endpoints of clusters, the routes of listeners, and the
    /// secrets of TLS contexts other than the workload's own certificate and roots.
    pub fn references(&self, kind: Kind) -> BTreeSet<String> {
        match kind {
            Kind::Endpoints => {
                self.clusters.values().filter_map(|c| c.discovery_name()).map(str::to_owned).collect()
            }
            Kind::Route => self
                .listeners
                .values()
                .flat_map(|l| {
                    l.chains().filter_map(|c| c.wanted_routes()).map(str::to_owned).collect::<Vec<_>>()
                })
                .collect(),
            Kind::Secret => self.secret_references(),
            Kind::Listener | Kind::Cluster | Kind::Workload | Kind::Names => BTreeSet::new(),
        }
    }

    /// Resources that others refer to but that have not arrived. Secrets are not included: they live in the store.
    pub fn missing(&self) -> Vec<(Kind, String)> {
        let endpoints =
            self.references(Kind::Endpoints).into_iter().filter(|n| !self.endpoints.contains_key(&**n));
        let routes = self.references(Kind::Route).into_iter().filter(|n| !self.routes.contains_key(&**n));
        endpoints.map(|n| (Kind::Endpoints, n)).chain(routes.map(|n| (Kind::Route, n))).collect()
    }

    /// Whether every resource that others refer to has arrived, or is known not to exist.
    pub fn is_complete(&self, absent: impl Fn(Kind, &str) -> bool) -> bool {
        let mut endpoints = self.clusters.values().filter_map(|slot| slot.discovery_name());
        let mut chains = self.listeners.values().flat_map(|listener| listener.chains());
        endpoints.all(|n| self.endpoints.contains_key(n) || absent(Kind::Endpoints, n))
            && chains.all(|chain| {
                chain.wanted_routes().is_none_or(|n| self.routes.contains_key(n) || absent(Kind::Route, n))
            })
    }

    fn secret_references(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for chain in self.listeners.values().flat_map(|l| l.chains()) {
            if let Some(tls) = &chain.model.tls {
                collect_secrets(&tls.common, &mut names);
            }
        }
        names.extend(self.clusters.values().flat_map(|slot| slot.secrets()).map(str::to_owned));
        names
    }
}

#[cfg(test)]
mod tests;
