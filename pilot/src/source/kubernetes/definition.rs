//! Watches CustomResourceDefinitions, and the objects of each kind of the mesh while its definition is installed.
//!
//! Only the metadata of definitions is requested, since their schemas are large. Which version of a kind is served is
//! asked when its definition appears or changes.

use super::observed::Event;
use super::watched::{self, WatchId};
use super::{unsupported, watch};
use crate::revision::Revision;
use api::resource::kind::Kind;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client};
use kubernetes::client::reason;
use kubernetes::follower::{Follower, Step};
use kubernetes::served;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio_util::task::AbortOnDropHandle;

/// Watches all kinds of the mesh, until the receiver is dropped. `revision` reads them.
pub(super) async fn follow(client: Client, revision: Revision, events: Sender<Event>) {
    let names = ("CustomResourceDefinition", "customresourcedefinitions");
    let resource = served::resource(("apiextensions.k8s.io", "v1"), names);
    let unsupported = unsupported::Kinds::new(client.clone(), revision, events.clone());
    let mut kinds = Kinds { client: client.clone(), events, running: BTreeMap::new(), unsupported };
    while !kinds.events.is_closed() {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
        let mut follower = Follower::new(api, None, resource.kind.clone());
        let mut listed = BTreeSet::new();
        while let Some(step) = follower.next().await {
            match step {
                Step::Event(event) => kinds.heed(event, &mut listed).await,
                Step::Failed(reason) => kinds.fail(&reason).await,
            }
        }
        tracing::error!("the API server does not serve CustomResourceDefinitions; trying again");
        kinds.fail("the API server does not serve CustomResourceDefinitions").await;
        tokio::time::sleep(RETRY).await;
    }
}

/// The kinds of the mesh whose definitions are installed.
struct Kinds {
    client: Client,
    events: Sender<Event>,
    running: BTreeMap<Kind, Running>,
    unsupported: unsupported::Kinds,
}

/// The task that watches a kind.
struct Running {
    task: AbortOnDropHandle<()>,
    /// Tells the task that the definition has changed.
    changed: Arc<Notify>,
}

impl Kinds {
    async fn heed(
        &mut self,
        event: watcher::Event<PartialObjectMeta<DynamicObject>>,
        listed: &mut BTreeSet<String>,
    ) {
        let name = |object: PartialObjectMeta<DynamicObject>| object.metadata.name.unwrap_or_default();
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) => {
                let name = name(object);
                self.start(&name);
                listed.insert(name);
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(listed);
                self.unsupported.retain(&listed).await;
                let listed: BTreeSet<Kind> =
                    listed.iter().filter_map(|name| watched::defined_by(name)).collect();
                for WatchId { kind, .. } in watched::mesh().filter(|id| !listed.contains(&id.kind)) {
                    self.stop(kind).await;
                }
            }
            watcher::Event::Apply(object) => self.start(&name(object)),
            watcher::Event::Delete(object) => {
                let name = name(object);
                self.unsupported.stop(&name).await;
                if let Some(kind) = watched::defined_by(&name) {
                    tracing::info!(%kind, "the definition was removed");
                    self.stop(kind).await;
                }
            }
        }
    }

    /// Reports why it is not known which kinds have definitions.
    async fn fail(&mut self, reason: &str) {
        for id in watched::mesh().filter(|id| !self.running.contains_key(&id.kind)) {
            // Fails only when nobody listens any more, which `follow` notices.
            let _ = self.events.send(Event::Failed(id, reason.to_owned())).await;
        }
    }

    /// A definition is installed, or has changed.
    fn start(&mut self, definition: &str) {
        self.unsupported.start(definition);
        let Some(kind) = watched::defined_by(definition) else { return };
        if let Some(running) = self.running.get(&kind) {
            return running.changed.notify_one();
        }
        let changed = Arc::new(Notify::new());
        let task = objects(self.client.clone(), kind, changed.clone(), self.events.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        self.running.insert(kind, Running { task, changed });
    }

    async fn stop(&mut self, kind: Kind) {
        if let Some(running) = self.running.remove(&kind) {
            running.task.abort();
            // Its last report must precede the one below. The result says only that it was aborted.
            let _ = running.task.await;
        }
        // Fails only when nobody listens any more, which `follow` notices.
        let _ = self.events.send(Event::Unserved(WatchId { kind, part: 0 })).await;
    }
}

/// Watches the objects of a kind whose definition is installed.
async fn objects(client: Client, kind: Kind, changed: Arc<Notify>, events: Sender<Event>) {
    let mut attempts = 0;
    while !events.is_closed() {
        match version(&client, kind).await {
            Ok(Some(version)) => {
                tracing::debug!(%kind, version, "watching");
                watch::mesh(client.clone(), kind, version, &events).await;
                attempts = 0;
            }
            Ok(None) => {
                let unserved = Event::Unserved(WatchId { kind, part: 0 });
                if events.send(unserved).await.is_err() {
                    return;
                }
                attempts += 1;
            }
            Err(error) => {
                let error = reason(&error);
                tracing::warn!(%kind, error, "the versions of the kind cannot be read; trying again");
                if events.send(Event::Failed(WatchId { kind, part: 0 }, error)).await.is_err() {
                    return;
                }
            }
        }
        // A definition is served some seconds after it was installed. After that, only a change of it helps.
        if attempts == ATTEMPTS {
            tracing::warn!(%kind, supported = kind.versions().join(", "), "the definition serves no supported version");
        }
        let pause = if attempts < ATTEMPTS { RETRY } else { Duration::MAX };
        if tokio::time::timeout(pause, changed.notified()).await.is_ok() {
            attempts = 0;
        }
    }
}

/// The first of the supported versions in which the API server serves a kind.
async fn version(client: &Client, kind: Kind) -> Result<Option<&'static str>, kube::Error> {
    served::version(client, (kind.group(), kind.descriptor().plural), kind.versions()).await
}

const RETRY: Duration = Duration::from_secs(1);
/// How often to look for a supported version after a definition has changed.
const ATTEMPTS: u32 = 60;
