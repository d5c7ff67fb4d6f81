//! Pure. A client's side of the protocol (delta): what is subscribed to, what has arrived, what to say next.
//!
//! The state outlives a stream: after a reconnection the server is told what is here, and sends only what differs.

use crate::model::Kind;
use crate::wire::xds::{Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, NodeInfo, nack};
use std::collections::{BTreeMap, BTreeSet};

/// The state of one client.
#[derive(Debug)]
pub struct Client {
    node: NodeInfo,
    announced: bool,
    kinds: BTreeMap<Kind, Subscription>,
}

#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// Versions of what was accepted.
    versions: BTreeMap<String, String>,
}

/// A response, read. Give it back to `answer` once it has been applied.
#[derive(Debug)]
pub struct Received {
    /// Its type.
    pub kind: Kind,
    /// Resources that are new or changed: name and content.
    pub upserts: Vec<(String, Any)>,
    /// Names that are gone.
    pub removed: Vec<String>,
    nonce: String,
    versions: BTreeMap<String, String>,
}

impl Client {
    /// A client that subscribes to everything of the given types.
    pub fn new(node: NodeInfo, wildcards: &[Kind]) -> Self {
        let all = |kind: &Kind| (*kind, Subscription { wildcard: true, ..Subscription::default() });
        Self { node, announced: false, kinds: wildcards.iter().map(all).collect() }
    }

    /// The requests that open a stream, also after an earlier one was lost.
    pub fn connected(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.announced = false;
        let kinds: Vec<Kind> = self.kinds.keys().copied().collect();
        kinds.into_iter().filter_map(|kind| self.open(kind)).collect()
    }

    fn open(&mut self, kind: Kind) -> Option<DeltaDiscoveryRequest> {
        let subscription = self.kinds.get(&kind)?;
        if !subscription.wildcard && subscription.names.is_empty() {
            return None;
        }
        // Naming nothing means everything; servers that know the wildcard's name know this too.
        let wildcard = (subscription.wildcard && !subscription.names.is_empty()).then(|| WILDCARD.to_owned());
        let names = wildcard.into_iter().chain(subscription.names.iter().cloned()).collect();
        let versions = subscription.versions.clone().into_iter().collect();
        Some(DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            initial_resource_versions: versions,
            ..self.request(kind)
        })
    }

    /// Subscribes to exactly these names; gives back what to say, if anything changes.
    pub fn subscribe(&mut self, kind: Kind, wanted: &BTreeSet<String>) -> Option<DeltaDiscoveryRequest> {
        let subscription = self.kinds.entry(kind).or_default();
        let subscribe: Vec<String> = wanted.difference(&subscription.names).cloned().collect();
        let unsubscribe: Vec<String> = subscription.names.difference(wanted).cloned().collect();
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return None;
        }
        for name in &unsubscribe {
            subscription.versions.remove(name);
        }
        subscription.names.clone_from(wanted);
        Some(DeltaDiscoveryRequest {
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            ..self.request(kind)
        })
    }

    /// The names subscribed to.
    pub fn names(&self, kind: Kind) -> BTreeSet<String> {
        self.kinds.get(&kind).map(|subscription| subscription.names.clone()).unwrap_or_default()
    }

    /// The version of a resource that is here.
    pub fn version(&self, kind: Kind, name: &str) -> Option<&str> {
        self.kinds.get(&kind)?.versions.get(name).map(String::as_str)
    }

    /// Reads a response. `None`: its type was never asked for, and there is nothing to answer.
    pub fn receive(&self, response: DeltaDiscoveryResponse) -> Option<Received> {
        let kind = Kind::from_type_url(&response.type_url)?;
        let subscription = self.kinds.get(&kind)?;
        let asked = |name: &str| subscription.wildcard || subscription.names.contains(name);
        let mut received = Received {
            kind,
            upserts: vec![],
            removed: response.removed_resources,
            nonce: response.nonce,
            versions: BTreeMap::new(),
        };
        for resource in response.resources {
            // What was asked for when the response was written may be unwanted by now.
            let wanted = asked(&resource.name) || resource.aliases.iter().any(|alias| asked(alias));
            if let Some(body) = resource.resource.filter(|_| wanted) {
                received.versions.insert(resource.name.clone(), resource.version);
                received.upserts.push((resource.name, body));
            }
        }
        Some(received)
    }

    /// Answers a response after it has been applied: what was `rejected` (name and reason) keeps its last good version
    /// here, and makes the answer a NACK.
    pub fn answer(&mut self, received: &Received, rejected: &[(String, String)]) -> DeltaDiscoveryRequest {
        if let Some(subscription) = self.kinds.get_mut(&received.kind) {
            for (name, version) in &received.versions {
                if !rejected.iter().any(|(bad, _)| bad == name) {
                    subscription.versions.insert(name.clone(), version.clone());
                }
            }
            for name in &received.removed {
                subscription.versions.remove(name);
            }
            let Subscription { wildcard, names, versions } = subscription;
            versions.retain(|name, _| *wildcard || names.contains(name));
        }
        let reasons: Vec<String> =
            rejected.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        DeltaDiscoveryRequest {
            response_nonce: received.nonce.clone(),
            error_detail: (!reasons.is_empty()).then(|| nack(reasons.join("; "))),
            ..self.request(received.kind)
        }
    }

    /// A request of a kind; the first of a stream says who asks.
    fn request(&mut self, kind: Kind) -> DeltaDiscoveryRequest {
        let node = (!std::mem::replace(&mut self.announced, true)).then(|| Node::from(&self.node));
        DeltaDiscoveryRequest {
            node,
            type_url: kind.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        }
    }
}

const WILDCARD: &str = "*";
