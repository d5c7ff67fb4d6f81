//! Pure. The client's side of the delta protocol: subscriptions, received resources, and the next requests.
//!
//! The state outlives a stream: after a reconnection the client lists the versions that it has, and the server sends
//! only what differs.

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
    /// Versions of the accepted resources.
    versions: BTreeMap<String, String>,
}

/// A decoded response. Pass it to `acknowledge` after applying it.
#[derive(Debug)]
pub struct Received {
    /// Type of its resources.
    pub kind: Kind,
    /// Added and changed resources: name and content.
    pub upserts: Vec<(String, Any)>,
    /// Names of removed resources.
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

    /// The requests that open a stream, for the first stream and after a reconnection.
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
        // An empty list of names means all resources, also for servers that know the wildcard's name.
        let wildcard = (subscription.wildcard && !subscription.names.is_empty()).then(|| WILDCARD.to_owned());
        let names = wildcard.into_iter().chain(subscription.names.iter().cloned()).collect();
        let versions = subscription.versions.clone().into_iter().collect();
        Some(DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            initial_resource_versions: versions,
            ..self.request(kind)
        })
    }

    /// Subscribes to exactly these names. Returns the request to send, if the subscription changes.
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

    /// The names of a subscription.
    pub fn names(&self, kind: Kind) -> BTreeSet<String> {
        self.kinds.get(&kind).map(|subscription| subscription.names.clone()).unwrap_or_default()
    }

    /// The accepted version of a resource.
    pub fn version(&self, kind: Kind, name: &str) -> Option<&str> {
        self.kinds.get(&kind)?.versions.get(name).map(String::as_str)
    }

    /// Reads a response. `None`: its type was never requested, and there is nothing to acknowledge.
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
            // The subscription may have changed since the server wrote the response.
            let wanted = asked(&resource.name) || resource.aliases.iter().any(|alias| asked(alias));
            if let Some(body) = resource.resource.filter(|_| wanted) {
                received.versions.insert(resource.name.clone(), resource.version);
                received.upserts.push((resource.name, body));
            }
        }
        Some(received)
    }

    /// Acknowledges a response after it has been applied. Resources in `rejected` (name and reason) keep their last
    /// good version, and make the request a NACK.
    pub fn acknowledge(
        &mut self,
        received: &Received,
        rejected: &[(String, String)],
    ) -> DeltaDiscoveryRequest {
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

    /// A request for a kind; the first request of a stream carries the node.
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
