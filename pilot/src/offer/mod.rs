//! What each proxy is offered: generated resources, encoded once and shared by all proxies that get the same.
//!
//! Most resources are the same for every sidecar of a namespace; only the inbound side is a workload's own. What did
//! not change since the last snapshot is neither generated nor encoded again, and equal bodies are one allocation.

use crate::flow::Scope;
use crate::generate;
use crate::generate::part::{Parts, RestCause, ServiceCause};
use crate::generate::secret::{self, SecretUse};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use api::model::{Kind, Resource};
use api::wire::{self, Target, xds::Any};
use api::xds::offer::{Offer, Offered, Resources};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    shared: HashMap<ShareKey, Arc<Shared>>,
    /// What `shared` was made of the last time.
    made: HashMap<ShareKey, Made>,
    bodies: HashMap<u64, Weak<Any>>,
}

/// What all proxies of a key are offered.
struct Shared {
    resources: Resources,
    /// The Secrets that the resources refer to.
    secrets: BTreeSet<SecretUse>,
    _lease: Arc<Lease>,
}

/// Shows that proxies of a key are connected: they hold it by what they are offered.
struct Lease;

/// The parts of shared resources.
#[derive(Default)]
struct Made {
    lease: Weak<Lease>,
    services: HashMap<String, Part<ServiceCause>>,
    rest: Option<Part<RestCause>>,
}

/// Encoded resources, and what they were made from.
struct Part<C> {
    cause: C,
    encoded: Encoded,
}

/// Resources as they are sent, and the Secrets that they refer to.
struct Encoded {
    resources: Vec<(Kind, Arc<str>, Offered)>,
    secrets: BTreeSet<SecretUse>,
}

/// What shared resources depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ShareKey {
    gateway: bool,
    namespace: String,
    istio_extensions: bool,
    ipv6: bool,
    http_10: bool,
    /// Only where labels decide: at gateways, and where routes look at the caller's labels.
    labels: BTreeMap<String, String>,
}

/// Everything one proxy is offered at one moment.
pub struct ProxyOffer {
    shared: Arc<Shared>,
    own: Resources,
    snapshot: Arc<Snapshot>,
    scope: Arc<Scope>,
}

impl Offers {
    /// Nothing remembered yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, cache: Arc::default() }
    }

    /// What a proxy is offered under the newest snapshot; `choose` tells the scope that it has under that snapshot, or
    /// why it gets nothing.
    ///
    /// Proxies take turns: those of one namespace wait for the one generation that they share. The work is done off
    /// the threads that serve streams: what has been sent must not wait there for what is made next.
    pub async fn offer<E>(
        &self,
        snapshots: &mut watch::Receiver<Arc<Snapshot>>,
        choose: impl FnOnce(&Snapshot) -> Result<Arc<Scope>, E>,
    ) -> Result<ProxyOffer, E> {
        let mut cache = self.cache.clone().lock_owned().await;
        let snapshot = snapshots.borrow_and_update().clone();
        let (scope, push_time) = (choose(&snapshot)?, self.metrics.push_time.clone());
        let work = tokio::task::spawn_blocking(move || {
            let timer = push_time.start_timer();
            let offer = cache.offer(&snapshot, &scope);
            timer.observe_duration();
            offer
        });
        Ok(work.await.expect("generating does not panic, and the runtime outlives its sessions"))
    }

    /// Forgets what was kept only for proxies that have left.
    pub async fn tidy(&self) {
        self.cache.lock().await.tidy();
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
        for (kind, name, offered) in self.encode(scope, &generate::own(snapshot, scope)).resources {
            own.insert(kind, name, offered);
        }
        ProxyOffer { shared, own, snapshot: snapshot.clone(), scope: scope.clone() }
    }

    /// Forgets what an older snapshot shared, and what belonged to proxies that have left since.
    fn enter(&mut self, generation: u64) {
        if generation > self.generation {
            self.generation = generation;
            self.shared.clear();
            self.made.retain(|_, made| made.lease.strong_count() > 0);
            self.bodies.retain(|_, body| body.strong_count() > 0);
        }
    }

    /// Forgets what no connected proxy shares, and the bodies that nobody holds any more.
    fn tidy(&mut self) {
        let before = self.made.len();
        self.shared.retain(|_, shared| Arc::strong_count(shared) > 1);
        self.made.retain(|_, made| made.lease.strong_count() > 0);
        if self.made.len() < before {
            self.bodies.retain(|_, body| body.strong_count() > 0);
            self.bodies.shrink_to_fit();
        }
    }

    /// Shared resources: those parts anew whose cause differs from the last time.
    fn make(&mut self, snapshot: &Snapshot, scope: &Scope, key: &ShareKey) -> Shared {
        let mut last = self.made.remove(key).unwrap_or_default();
        let lease = last.lease.upgrade().unwrap_or_else(|| Arc::new(Lease));
        let parts = Parts::new(snapshot, scope);
        let mut made = Made { lease: Arc::downgrade(&lease), ..Made::default() };
        for service in parts.services() {
            let cause = parts.cause(service);
            let kept = last.services.remove_entry(&service.host);
            let (host, part) = kept.filter(|(_, part)| part.cause == cause).unwrap_or_else(|| {
                let encoded = self.encode(scope, &parts.of_service(service));
                (service.host.clone(), Part { cause, encoded })
            });
            made.services.insert(host, part);
        }
        let cause = parts.rest_cause();
        let kept = last.rest.take().filter(|part| part.cause == cause);
        let rest = kept.unwrap_or_else(|| Part { cause, encoded: self.encode(scope, &parts.rest()) });
        made.rest = Some(rest);
        let shared = Shared {
            resources: made.table(snapshot.version()),
            secrets: made.encoded().flat_map(|encoded| &encoded.secrets).cloned().collect(),
            _lease: lease,
        };
        self.made.insert(key.clone(), made);
        shared
    }

    fn encode(&mut self, scope: &Scope, resources: &[Resource]) -> Encoded {
        let target = Target { istio_extensions: scope.istio_extensions };
        let secrets = if scope.gateway { secret::uses(scope, resources) } else { BTreeSet::new() };
        let resources = resources.iter().map(|resource| {
            let offered = self.share(Offered::new(wire::encode(resource, &target)));
            (resource.kind(), Arc::from(resource.name()), offered)
        });
        Encoded { resources: resources.collect(), secrets }
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
    fn encoded(&self) -> impl Iterator<Item = &Encoded> {
        let services = self.services.values().map(|part| &part.encoded);
        services.chain(self.rest.iter().map(|part| &part.encoded))
    }

    fn table(&self, version: String) -> Resources {
        Resources::of(version, self.encoded().flat_map(|encoded| &encoded.resources).cloned())
    }
}

fn share_key(snapshot: &Snapshot, scope: &Scope) -> ShareKey {
    let by_label = scope.gateway || snapshot.routes_look_at_labels;
    ShareKey {
        gateway: scope.gateway,
        namespace: scope.namespace.clone(),
        istio_extensions: scope.istio_extensions,
        ipv6: scope.ipv6(),
        http_10: scope.http_10,
        labels: if by_label { scope.labels.clone() } else { BTreeMap::new() },
    }
}

impl Offer for ProxyOffer {
    fn each(&self, kind: Kind, visit: &mut dyn FnMut(&Arc<str>, &Offered)) {
        self.shared.resources.each(kind, visit);
        self.own.each(kind, visit);
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Offered> {
        let on_demand = || {
            let resource = match kind {
                Kind::Workload => generate::workload(&self.snapshot, name)?,
                Kind::Secret => secret::find(&self.snapshot, &self.scope, &self.shared.secrets, name)?,
                _ => return None,
            };
            Some(Offered::new(wire::encode(
                &resource,
                &Target { istio_extensions: self.scope.istio_extensions },
            )))
        };
        self.own.find(kind, name).or_else(|| self.shared.resources.find(kind, name)).or_else(on_demand)
    }

    fn stamp(&self, kind: Kind) -> Option<u64> {
        // What is found on demand shows no stamp: nobody has listed it.
        let listed = !matches!(kind, Kind::Workload | Kind::Secret);
        let stamps = self.shared.resources.stamp(kind).zip(self.own.stamp(kind)).filter(|_| listed);
        stamps.map(|(shared, own)| shared.rotate_left(1) ^ own)
    }

    fn version(&self) -> &str {
        self.shared.resources.version()
    }
}

impl ProxyOffer {
    /// The generation of the snapshot that it was made from.
    pub fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    /// Whom it is for.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }
}

#[cfg(test)]
mod tests;
