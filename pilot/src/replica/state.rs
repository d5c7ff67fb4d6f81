//! Pure. The report of a replica of pilot to the replica that writes status: the versions of objects in force there, and
//! the acknowledgements of its proxies. Each replica numbers its snapshots itself, so a generation is only compared with
//! others of the same report.

use crate::revision::Revision;
use crate::verdict::Channel;
use api::resource::kind;
use api::resource::verdict::{ObjectVerdict, ProxyProgress};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The path at which a replica responds with its state to a `POST`.
pub const PATH: &str = "/ostria/replica/state";

/// The request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StateQuestion {
    /// Respond when the refusals of proxies differ from those with this hash; `None`: at once.
    pub refusals: Option<u64>,
    /// How long to wait at most, in milliseconds.
    pub milliseconds: u64,
}

/// The state of a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicaState {
    /// The mesh's objects that it knows.
    pub objects: Vec<Held>,
    /// Its proxies.
    pub proxies: Vec<ProxyProgress>,
    /// Its revision and tags. If there are none, it reads the objects of all revisions.
    pub revisions: Vec<String>,
}

/// The version of an object that a replica has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Held {
    /// `group/kind/namespace/name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether this version is in force.
    pub accepted: bool,
    /// Whether it does not act on the object, by `discoverySelectors`.
    pub undiscovered: bool,
    /// Generation of the first snapshot with it.
    pub snapshot: u64,
}

impl ReplicaState {
    /// The state of the replica that has these verdicts.
    pub fn of(verdicts: &Channel, revision: &Revision) -> Self {
        let (_, objects) = verdicts.since(0, has_status);
        let held = |verdict: ObjectVerdict| Held {
            name: name(&verdict),
            uid: verdict.version.uid,
            generation: verdict.version.generation,
            accepted: verdict.accepted,
            undiscovered: verdict.undiscovered,
            snapshot: verdict.snapshot,
        };
        Self {
            objects: objects.into_iter().map(held).collect(),
            proxies: verdicts.proxies.list(),
            revisions: revision.names().map(str::to_owned).collect(),
        }
    }

    /// The hash of what its proxies refuse.
    pub fn refusals(&self) -> u64 {
        refusals(&self.proxies)
    }

    /// Whether it reads an object with this value of `istio.io/rev`, which is empty if the object has none.
    pub fn reads(&self, label: &str) -> bool {
        label.is_empty() || self.revisions.is_empty() || self.revisions.iter().any(|name| name == label)
    }

    /// The snapshots by object, for look-ups.
    pub fn index(&self) -> HashMap<&str, &Held> {
        self.objects.iter().map(|held| (held.name.as_str(), held)).collect()
    }
}

impl Held {
    /// Whether this is the version that a verdict is about, or a later one, in force.
    pub fn has(&self, verdict: &ObjectVerdict) -> bool {
        self.accepted && self.uid == verdict.version.uid && self.generation >= verdict.version.generation
    }
}

/// A hash of what proxies refuse.
pub fn refusals(proxies: &[ProxyProgress]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for proxy in proxies.iter().filter(|proxy| !proxy.refusals.is_empty()) {
        (&proxy.proxy, &proxy.refusals).hash(&mut hasher);
    }
    hasher.finish()
}

/// The name of an object among all objects.
pub fn name(verdict: &ObjectVerdict) -> String {
    format!("{}/{}/{}/{}", verdict.group, verdict.kind, verdict.namespace, verdict.name)
}

/// Whether the verdict is about an object of the mesh, whose status pilot writes.
pub fn is_of_the_mesh(verdict: &ObjectVerdict) -> bool {
    has_status(verdict) && !verdict.undiscovered
}

fn has_status(verdict: &ObjectVerdict) -> bool {
    let kind = kind::of(&verdict.group, &verdict.kind);
    let served = kind.is_some_and(|kind| kind.is_mesh() && !kind.versions.is_empty());
    !verdict.name.is_empty() && served
}
