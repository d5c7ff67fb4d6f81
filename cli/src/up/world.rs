//! The state of the running mesh: objects and pods. One lock guards it; it is held for single steps and never across an
//! `await`. A counter of changes wakes all tasks that depend on the state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Service;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kubelet::event::{self, Events};
use crate::kubelet::service::{self, Backend};
use crate::kubelet::status;
use crate::kubelet::workload::job::{self, Records};
use crate::kubelet::workload::member::{ExistingPod, Owner};
use crate::manifest::object::Key;
use crate::up::sandbox::Sandbox;
use crate::wire::Revision;

/// Namespace and name of a pod.
pub type PodKey = (String, String);

/// A pod.
#[derive(Debug)]
pub struct Entry {
    /// The pod, as it runs.
    pub object: Value,
    /// The object that the pod belongs to.
    pub owner: Owner,
    /// Hash of its template.
    pub revision: String,
    /// Its state.
    pub status: status::Pod,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Cancelled to end the pod.
    pub stop: CancellationToken,
    /// Its namespaces, once they exist.
    pub sandbox: Option<Sandbox>,
}

/// Objects and pods.
#[derive(Default)]
pub struct World {
    /// All objects, as the users wrote them, with the fields that Kubernetes would allocate.
    pub objects: BTreeMap<Key, Value>,
    /// All pods.
    pub pods: BTreeMap<PodKey, Entry>,
    /// Records of the Jobs' pods.
    pub jobs: Records,
    /// The workloads whose pods cannot be created, with the reason.
    pub forbidden: BTreeMap<Key, String>,
    /// Events of objects.
    pub events: Events,
    /// Revisions of the workloads' templates.
    pub revisions: BTreeMap<Key, Vec<Revision>>,
    /// The address that was allocated last.
    pub last_address: Option<Ipv4Addr>,
}

impl std::fmt::Debug for World {
    /// Only counts, because objects may be Secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (objects, pods) = (self.objects.len(), self.pods.len());
        f.debug_struct("World").field("objects", &objects).field("pods", &pods).finish_non_exhaustive()
    }
}

impl World {
    /// Pods and user-defined endpoints, as Services see them.
    pub fn backends(&self) -> Vec<Backend> {
        let parsed = |kind| self.of_kind(kind).map(|(_, object)| object.clone());
        let slices = parsed("EndpointSlice").filter_map(|object| serde_json::from_value(object).ok());
        let written = slices.flat_map(|slice| service::of_slice(&slice));
        let objects = parsed("Endpoints").filter_map(|object| serde_json::from_value(object).ok());
        let written = written.chain(objects.flat_map(|object| service::of_endpoints(&object)));
        let pods = self.pods.values().filter_map(|entry| {
            Some(Backend {
                pod: serde_json::from_value(entry.object.clone()).ok()?,
                address: entry.address?,
                ready: entry.status.is_ready(),
                written: None,
            })
        });
        pods.chain(written).collect()
    }

    /// All services.
    pub fn services(&self) -> Vec<Service> {
        self.of_kind("Service")
            .filter_map(|(_, object)| serde_json::from_value(object.clone()).ok())
            .collect()
    }

    /// The objects whose kind has this name, for kinds of Kubernetes. The group is not compared.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.objects.iter().filter(move |(key, _)| key.kind == kind)
    }

    /// An object of the core group.
    pub fn core(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let key =
            Key { group: String::new(), kind: kind.into(), namespace: namespace.into(), name: name.into() };
        self.objects.get(&key)
    }

    /// Pods, as workloads see them.
    pub fn existing_pods(&self) -> Vec<ExistingPod> {
        self.pods
            .iter()
            .map(|((namespace, name), entry)| ExistingPod {
                namespace: namespace.clone(),
                name: name.clone(),
                owner: entry.owner.clone(),
                revision: entry.revision.clone(),
                ready: entry.status.is_ready(),
                since: entry.status.since(),
                finished: entry.status.finished,
                leaving: entry.status.leaving,
                restarts: entry.status.restarts(),
                index: job::index(&entry.object),
            })
            .collect()
    }

    /// The addresses of all pods.
    pub fn pod_addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.pods.values().filter_map(|entry| entry.address).collect()
    }
}

/// Services and their backends.
#[derive(Debug)]
pub struct Directory {
    /// All services.
    pub services: Vec<Service>,
    /// Pods and user-defined endpoints, as Services see them.
    pub backends: Vec<Backend>,
}

/// The world with its lock and its counter of changes.
#[derive(Debug)]
pub struct Shared {
    world: Mutex<World>,
    /// The directory, with the count of changes that it contains.
    directory: Mutex<Option<(u64, Arc<Directory>)>>,
    counter: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { world: Mutex::default(), directory: Mutex::default(), counter: watch::Sender::new(0) }
    }
}

impl Shared {
    /// Locks the world.
    pub fn read(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Services and their backends. They are computed from their objects once for each change of the world.
    pub fn directory(&self) -> Arc<Directory> {
        // The count is read first: a change after this line leads to another computation and is never missed.
        let count = self.count();
        let mut held = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, directory)) = held.as_ref()
            && *known == count
        {
            return Arc::clone(directory);
        }
        let world = self.read();
        let directory = Arc::new(Directory { services: world.services(), backends: world.backends() });
        *held = Some((count, Arc::clone(&directory)));
        directory
    }

    /// Changes the world and notifies all watchers.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.read());
        self.counter.send_modify(|counter| *counter += 1);
        result
    }

    /// Changes a pod's state, if the pod exists, and records the events of the change.
    pub fn pod(&self, key: &PodKey, now: &str, change: impl FnOnce(&mut status::Pod)) {
        self.change(|world| {
            if let Some(entry) = world.pods.get_mut(key) {
                let before = entry.status.clone();
                change(&mut entry.status);
                if before.is_ready() != entry.status.is_ready() {
                    entry.status.changed = now.into();
                }
                for details in event::of_pod(&before, &entry.status) {
                    world.events.note(&Key::pod(key), details, now);
                }
            }
        });
    }

    /// The number of changes to the world so far.
    pub fn count(&self) -> u64 {
        *self.counter.borrow()
    }

    /// Notifies of each change from here on.
    pub fn watch(&self) -> watch::Receiver<u64> {
        let mut receiver = self.counter.subscribe();
        receiver.mark_changed();
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_debug_form_of_the_world_omits_the_objects() {
        let key =
            Key { group: String::new(), kind: "Secret".into(), namespace: "shop".into(), name: "key".into() };
        let shared = Shared::default();
        shared.change(|world| {
            world.objects.insert(key, json!({"kind": "Secret", "stringData": {"key": "s3cret-word"}}));
        });
        let text = format!("{shared:?}");
        assert!(text.contains("objects: 1") && !text.contains("s3cret-word"), "{text}");
    }
}
