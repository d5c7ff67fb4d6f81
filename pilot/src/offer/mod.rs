//! What each proxy is offered: generated resources, encoded once and shared by all proxies that get the same.
//!
//! Most resources are the same for every sidecar of a namespace; only the inbound side is a workload's own. What did
//! not change since the last snapshot is neither generated nor encoded again, and equal bodies are one allocation.

use crate::flow::Scope;
use crate::generate;
use crate::generate::part::{Parts, RestCause, ServiceCause};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use api::model::{Kind, Resource};
use api::wire::{self, Target, xds::Any};
use api::xds::offer::{Offer, Offered, Resources};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use tokio::sync::{Mutex, watch};

/// Makes offers, and remembers what they share.
pub struct Offers {
    metrics: Metrics,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Default)]
struct Cache {
    generation: u64,
    shared: HashMap<ShareKey, Arc<Resources>>,
    /// What `shared` was made of the last time.
    made: HashMap<ShareKey, Made>,
    bodies: HashMap<u64, Weak<Any>>,
}

/// The parts of shared resources.
#[derive(Default)]
struct Made {
    generation: u64,
    services: HashMap<String, Part<ServiceCause>>,
    rest: Option<Part<RestCause>>,
}

/// Encoded resources, and what they were made from.
struct Part<C> {
    cause: C,
    resources: Vec<(Kind, Arc<str>, Offered)>,
}

/// What shared resources depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ShareKey {
    gateway: bool,
    namespace: String,
    istio_extensions: bool,
    ipv6: bool,
    /// Only where labels decide: at gateways, and where routes look at the caller's labels.
    labels: BTreeMap<String, String>,
}

/// Everything one proxy is offered at one moment.
pub struct ProxyOffer {
    shared: Arc<Resources>,
    own: Resources,
    snapshot: Arc<Snapshot>,
    scope: Arc<Scope>,
}

impl Offers {
    /// Nothing remembered yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, cache: Arc::default() }
    }

    /// What a proxy of this scope is offered under the newest snapshot.
    ///
    /// Proxies take turns: those of one namespace wait for the one generation that they share. The work is done off
    /// the threads that serve streams: what has been sent must not wait there for what is made next.
    pub async fn offer(
        &self,
        snapshots: &mut watch::Receiver<Arc<Snapshot>>,
        scope: &Arc<Scope>,
    ) -> ProxyOffer {
        let mut cache = self.cache.clone().lock_owned().await;
        let snapshot = snapshots.borrow_and_update().clone();
        let (scope, push_time) = (scope.clone(), self.metrics.push_time.clone());
        let work = tokio::task::spawn_blocking(move || {
            let timer = push_time.start_timer();
            let offer = cache.offer(&snapshot, &scope);
            timer.observe_duration();
            offer
        });
        work.await.expect("generating does not panic, and the runtime outlives its sessions")
    }
}

impl Cache {
    fn offer(&mut self, snapshot: &Arc<Snapshot>, scope: &Arc<Scope>) -> ProxyOffer {
        self.enter(snapshot.generation);
        let key = share_key(snapshot, scope);
        let shared = match self.shared.get(&key) {
            Some(shared) => shared.clone(),
            None => {
                let shared = Arc::new(self.make(snapshot, scope, &key));
                self.shared.insert(key, shared.clone());
                shared
            }
        };
        let mut own = Resources::new(snapshot.version());
        for (kind, name, offered) in self.encode(scope, &generate::own(snapshot, scope)) {
            own.insert(kind, name, offered);
        }
        ProxyOffer { shared, own, snapshot: snapshot.clone(), scope: scope.clone() }
    }

    /// Forgets what an older snapshot shared, what no proxy has asked for lately, and bodies that nobody holds.
    fn enter(&mut self, generation: u64) {
        if generation > self.generation {
            self.generation = generation;
            self.shared.clear();
            self.made.retain(|_, made| made.generation + REMEMBERED >= generation);
            self.bodies.retain(|_, body| body.strong_count() > 0);
        }
    }

    /// Shared resources: those parts anew whose cause differs from the last time.
    fn make(&mut self, snapshot: &Snapshot, scope: &Scope, key: &ShareKey) -> Resources {
        let mut last = self.made.remove(key).unwrap_or_default();
        let parts = Parts::new(snapshot, scope);
        let mut made = Made { generation: snapshot.generation, ..Made::default() };
        for service in parts.services() {
            let cause = parts.cause(service);
            let kept = last.services.remove_entry(&service.host);
            let (host, part) = kept.filter(|(_, part)| part.cause == cause).unwrap_or_else(|| {
                let resources = self.encode(scope, &parts.of_service(service));
                (service.host.clone(), Part { cause, resources })
            });
            made.services.insert(host, part);
        }
        let cause = parts.rest_cause();
        let kept = last.rest.take().filter(|part| part.cause == cause);
        let rest = kept.unwrap_or_else(|| Part { cause, resources: self.encode(scope, &parts.rest()) });
        made.rest = Some(rest);
        let table = made.table(snapshot.version());
        self.made.insert(key.clone(), made);
        table
    }

    fn encode(&mut self, scope: &Scope, resources: &[Resource]) -> Vec<(Kind, Arc<str>, Offered)> {
        let target = Target { istio_extensions: scope.istio_extensions };
        let encoded = resources.iter().map(|resource| {
            let offered = self.share(Offered::new(wire::encode(resource, &target)));
            (resource.kind(), Arc::from(resource.name()), offered)
        });
        encoded.collect()
    }

    fn share(&mut self, offered: Offered) -> Offered {
        match self.bodies.get(&offered.version).and_then(Weak::upgrade) {
            Some(body) if *body == *offered.body => Offered { version: offered.version, body },
            _ => {
                self.bodies.insert(offered.version, Arc::downgrade(&offered.body));
                offered
            }
        }
    }
}

impl Made {
    fn table(&self, version: String) -> Resources {
        let services = self.services.values().flat_map(|part| &part.resources);
        let rest = self.rest.iter().flat_map(|part| &part.resources);
        Resources::of(version, services.chain(rest).cloned())
    }
}

fn share_key(snapshot: &Snapshot, scope: &Scope) -> ShareKey {
    let by_label = scope.gateway || snapshot.routes_look_at_labels;
    ShareKey {
        gateway: scope.gateway,
        namespace: scope.namespace.clone(),
        istio_extensions: scope.istio_extensions,
        ipv6: scope.ipv6(),
        labels: if by_label { scope.labels.clone() } else { BTreeMap::new() },
    }
}

impl Offer for ProxyOffer {
    fn each(&self, kind: Kind, visit: &mut dyn FnMut(&Arc<str>, &Offered)) {
        self.shared.each(kind, visit);
        self.own.each(kind, visit);
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Offered> {
        let on_demand = || {
            let resource = match kind {
                Kind::Workload => generate::workload(&self.snapshot, name)?,
                Kind::Secret => generate::secret(&self.snapshot, &self.scope, name)?,
                _ => return None,
            };
            Some(Offered::new(wire::encode(
                &resource,
                &Target { istio_extensions: self.scope.istio_extensions },
            )))
        };
        self.own.find(kind, name).or_else(|| self.shared.find(kind, name)).or_else(on_demand)
    }

    fn stamp(&self, kind: Kind) -> Option<u64> {
        // What is found on demand shows no stamp: nobody has listed it.
        let listed = !matches!(kind, Kind::Workload | Kind::Secret);
        let stamps = self.shared.stamp(kind).zip(self.own.stamp(kind)).filter(|_| listed);
        stamps.map(|(shared, own)| shared.rotate_left(1) ^ own)
    }

    fn version(&self) -> &str {
        self.shared.version()
    }
}

impl ProxyOffer {
    /// The generation of the snapshot that it was made from.
    pub fn generation(&self) -> u64 {
        self.snapshot.generation
    }
}

/// For how many snapshots the parts are kept of what no proxy asks for.
const REMEMBERED: u64 = 64;

#[cfg(test)]
mod tests;
