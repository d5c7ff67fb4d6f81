//! What each proxy is offered: generated resources, encoded once and shared by all proxies that get the same.
//!
//! Most resources are the same for every sidecar of a namespace; only the inbound side is a workload's own. Bodies
//! that did not change between snapshots, or are equal in several namespaces, are one allocation.

use crate::flow::Scope;
use crate::generate;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use api::model::{Kind, Resource};
use api::wire::{self, Target, xds::Any};
use api::xds::offer::{Offer, Offered, Resources};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Makes offers, and remembers what they share.
pub struct Offers {
    metrics: Metrics,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    generation: u64,
    shared: HashMap<ShareKey, Arc<Resources>>,
    bodies: HashMap<u64, Weak<Any>>,
}

/// What shared resources depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ShareKey {
    gateway: bool,
    namespace: String,
    istio_extensions: bool,
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
        Self { metrics, cache: Mutex::default() }
    }

    /// What a proxy of this scope is offered under a snapshot.
    pub fn offer(&self, snapshot: &Arc<Snapshot>, scope: &Arc<Scope>) -> ProxyOffer {
        let timer = self.metrics.push_time.start_timer();
        // Held while generating: proxies of one namespace wait for the one generation they share.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.enter(snapshot.generation);
        let key = share_key(snapshot, scope);
        let shared = match cache.shared.get(&key) {
            Some(shared) => shared.clone(),
            None => {
                let shared = Arc::new(cache.encode(snapshot, scope, &generate::shared(snapshot, scope)));
                // An older snapshot may still be asked for by a session that is late; it must not replace newer work.
                if cache.generation == snapshot.generation {
                    cache.shared.insert(key, shared.clone());
                }
                shared
            }
        };
        let own = cache.encode(snapshot, scope, &generate::own(snapshot, scope));
        timer.observe_duration();
        ProxyOffer { shared, own, snapshot: snapshot.clone(), scope: scope.clone() }
    }
}

impl Cache {
    /// Forgets what an older snapshot shared, and bodies that nobody holds.
    fn enter(&mut self, generation: u64) {
        if generation > self.generation {
            self.generation = generation;
            self.shared.clear();
            self.bodies.retain(|_, body| body.strong_count() > 0);
        }
    }

    fn encode(&mut self, snapshot: &Snapshot, scope: &Scope, resources: &[Resource]) -> Resources {
        let mut table = Resources::new(snapshot.version());
        let target = Target { istio_extensions: scope.istio_extensions };
        for resource in resources {
            let offered = self.share(Offered::new(wire::encode(resource, &target)));
            table.insert(resource.kind(), resource.name(), offered);
        }
        table
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

fn share_key(snapshot: &Snapshot, scope: &Scope) -> ShareKey {
    let by_label = scope.gateway || snapshot.routes_look_at_labels;
    ShareKey {
        gateway: scope.gateway,
        namespace: scope.namespace.clone(),
        istio_extensions: scope.istio_extensions,
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

    fn version(&self) -> &str {
        self.shared.version()
    }
}
