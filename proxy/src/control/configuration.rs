//! Pure. Turns responses of the control plane into the next snapshot: which resources are accepted, which are
//! refused and why, what to request next, and when the result is complete enough to be used.

use super::Version;
use crate::credentials::Store;
use crate::snapshot::{Rejected, Snapshot, Update};
use api::model::workload::{NameTable, Workload};
use api::model::{Kind, Resource};
use api::wire;
use api::wire::xds::{Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, NodeInfo};
use api::xds::client::{Client, Received};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// The configuration received so far.
#[derive(Debug)]
pub(super) struct Configuration {
    client: Client,
    draft: Arc<Snapshot>,
    /// Resources that were requested, and that the control plane reports as non-existent.
    absent: BTreeSet<(Kind, String)>,
    peers: BTreeSet<String>,
    arrived: BTreeSet<Kind>,
    /// Names from the static part of a bootstrap, which the control plane must not remove.
    fixed: BTreeSet<(Kind, String)>,
}

/// The effects of a response.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Requests to send, in order.
    pub(super) requests: Vec<DeltaDiscoveryRequest>,
    /// Resources that were refused.
    pub(super) refused: Vec<Rejected>,
    /// Resources that were accepted, with their version.
    pub(super) accepted: Vec<(Kind, String, String)>,
    /// Resources that were removed.
    pub(super) removed: Vec<(Kind, String)>,
    /// Whether the configuration has changed.
    pub(super) changed: bool,
    /// The workload at each address, if any.
    pub(super) peers: Vec<(IpAddr, Option<Workload>)>,
    /// The table of names for DNS.
    pub(super) names: Option<NameTable>,
}

/// The content of a response, sorted by how it is handled.
#[derive(Default)]
struct Sorted {
    update: Update,
    secrets: Vec<api::model::secret::Secret>,
    outcome: Outcome,
}

impl Configuration {
    /// Starts from the static configuration, which is empty in a mesh.
    pub(super) fn new(node: NodeInfo, start: Arc<Snapshot>, wildcards: &[Kind]) -> Self {
        let fixed = fixed(&start);
        let mut configuration = Self {
            client: Client::new(node, wildcards),
            draft: start,
            absent: BTreeSet::new(),
            peers: BTreeSet::new(),
            arrived: BTreeSet::new(),
            fixed,
        };
        // There is no stream yet to send these requests on. The subscriptions are remembered and are sent by
        // `connected`.
        drop(configuration.follow_references());
        configuration
    }

    /// The requests that open a stream.
    pub(super) fn connected(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.client.connected()
    }

    /// The configuration received so far, complete or not.
    pub(super) fn draft(&self) -> &Arc<Snapshot> {
        &self.draft
    }

    /// Whether a response for this kind has arrived, even an empty one.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.arrived.contains(&kind)
    }

    /// Whether all resources that the draft refers to have arrived, or are known not to exist.
    pub(super) fn is_complete(&self) -> bool {
        self.draft.is_complete(|kind, name| self.absent.contains(&(kind, name.to_owned())))
    }

    /// Requests the workload at an address.
    pub(super) fn request_workload(&mut self, address: IpAddr) -> Option<DeltaDiscoveryRequest> {
        self.peers.insert(format!("/{address}"));
        self.client.subscribe(Kind::Workload, &self.peers)
    }

    /// Applies a response. `None`: it was not requested.
    pub(super) fn receive(
        &mut self,
        response: DeltaDiscoveryResponse,
        store: &Arc<Store>,
    ) -> Option<Outcome> {
        let received = self.client.receive(response)?;
        let kind = received.kind;
        let Sorted { update, secrets, mut outcome } = self.sort(&received);
        for secret in secrets {
            if let Err(error) = store.set(&secret.name, &secret.content) {
                outcome.refused.push(Rejected { kind, name: secret.name, reason: chain(&error) });
            }
        }
        if kind == Kind::Secret {
            received.removed.iter().for_each(|name| store.remove(name));
        }
        outcome.changed = !update.upsert.is_empty() || !update.remove.is_empty();
        if outcome.changed {
            let (next, refused) = self.draft.apply(update, store);
            self.draft = Arc::new(next);
            outcome.refused.extend(refused);
        }
        self.arrived.insert(kind);
        // Requests for referenced resources precede the acknowledgement, so that the server knows what still has to
        // warm.
        if matches!(kind, Kind::Cluster | Kind::Listener) {
            outcome.requests = self.follow_references();
        }
        let rejected: Vec<(String, String)> =
            outcome.refused.iter().map(|refused| (refused.name.clone(), refused.reason.clone())).collect();
        outcome.requests.push(self.client.acknowledge(&received, &rejected));
        outcome.accepted = received
            .upserts
            .iter()
            .filter(|(name, _)| !rejected.iter().any(|(bad, _)| bad == name))
            .map(|(name, _)| {
                (kind, name.clone(), self.client.version(kind, name).unwrap_or_default().to_owned())
            })
            .collect();
        outcome.removed = received.removed.iter().map(|name| (kind, name.clone())).collect();
        Some(outcome)
    }

    fn sort(&mut self, received: &Received) -> Sorted {
        let mut sorted = Sorted::default();
        for (name, body) in &received.upserts {
            self.absent.remove(&(received.kind, name.clone()));
            match self.decode(received.kind, name, body) {
                Ok(resource) => sorted.take(name, resource),
                Err(reason) => {
                    sorted.outcome.refused.push(Rejected { kind: received.kind, name: name.clone(), reason });
                }
            }
        }
        for name in &received.removed {
            let key = (received.kind, name.clone());
            self.absent.insert(key.clone());
            match received.kind {
                Kind::Workload => {
                    sorted.outcome.peers.extend(address_of(name).map(|address| (address, None)));
                }
                Kind::Names => sorted.outcome.names = Some(NameTable::default()),
                Kind::Secret => {}
                _ if self.fixed.contains(&key) => {}
                _ => sorted.update.remove.push(key),
            }
        }
        sorted
    }

    fn decode(&self, kind: Kind, name: &str, body: &Any) -> Result<Resource, String> {
        let resource = wire::decode(body).map_err(|error| chain(&error))?;
        if resource.kind() != kind {
            return Err(format!("it is a {:?}, but a {kind:?} was requested", resource.kind()));
        }
        if self.fixed.contains(&(kind, name.to_owned())) {
            return Err("the bootstrap has a static resource of this name".to_owned());
        }
        Ok(resource)
    }

    /// Subscribes to the resources that the draft refers to.
    fn follow_references(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = vec![];
        for kind in [Kind::Endpoints, Kind::Route, Kind::Secret] {
            let names = self.draft.references(kind);
            self.absent.retain(|(other, name)| *other != kind || names.contains(name));
            requests.extend(self.client.subscribe(kind, &names));
        }
        requests
    }
}

impl Sorted {
    fn take(&mut self, name: &str, resource: Resource) {
        match resource {
            Resource::Secret(secret) => self.secrets.push(secret),
            Resource::Names(names) => self.outcome.names = Some(names),
            Resource::Workload(workload) => {
                let requested = address_of(name).into_iter();
                let addresses: BTreeSet<IpAddr> =
                    requested.chain(workload.addresses.iter().copied()).collect();
                let workloads = addresses.into_iter().map(|address| (address, Some(workload.clone())));
                self.outcome.peers.extend(workloads);
            }
            other => self.update.upsert.push(other),
        }
    }
}

/// The address in a workload's resource name `<network>/<address>`.
fn address_of(name: &str) -> Option<IpAddr> {
    name.rsplit('/').next()?.parse().ok()
}

fn fixed(start: &Snapshot) -> BTreeSet<(Kind, String)> {
    let listeners = start.listeners().into_iter().map(|listener| (Kind::Listener, listener.name.clone()));
    let clusters = start.clusters().into_iter().map(|cluster| (Kind::Cluster, cluster.name.clone()));
    listeners.chain(clusters).collect()
}

/// Formats an error with the chain of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Updates versions by kind and name from an outcome.
pub(super) fn note_versions(
    versions: &mut BTreeMap<Kind, BTreeMap<String, Version>>,
    outcome: &Outcome,
    now: SystemTime,
) {
    for (kind, name, text) in &outcome.accepted {
        let version = Version { text: text.clone(), updated: now };
        versions.entry(*kind).or_default().insert(name.clone(), version);
    }
    for (kind, name) in &outcome.removed {
        if let Some(table) = versions.get_mut(kind) {
            table.remove(name);
        }
    }
}
