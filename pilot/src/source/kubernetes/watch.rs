//! Watches the objects of one kind and reports them.

use super::kept::kept;
use super::observed::Event;
use super::watched::{WatchId, Watched};
use api::resource::document::Key;
use api::resource::kind::Kind;
use kube::api::ApiResource;
use kube::core::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, Client};
use kubernetes::follower::{Follower, Step};
use kubernetes::served;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Watches a kind that every API server serves, until the receiver is dropped.
pub(super) async fn core(client: Client, watched: Watched, events: Sender<Event>) {
    let resource = resource(watched.id.kind, watched.id.kind.descriptor().storage());
    let api = || match &watched.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    while !events.is_closed() {
        objects(api(), watched.fields.as_deref(), (watched.id, &resource.api_version), &events).await;
        tracing::error!(kind = %watched.id.kind, "the API server does not serve this kind; trying again");
        let reason = "the API server does not serve this kind".to_owned();
        // Fails only when nobody listens, which ends the loop.
        let _ = events.send(Event::Failed(watched.id, reason)).await;
        tokio::time::sleep(RETRY).await;
    }
}

/// Watches a kind of the mesh in one version, until the API server does not serve it any more.
pub(super) async fn mesh(client: Client, kind: Kind, version: &str, events: &Sender<Event>) {
    let resource = resource(kind, version);
    let id = WatchId { kind, part: 0 };
    objects(Api::all_with(client, &resource), None, (id, &resource.api_version), events).await;
}

/// Reports the objects of a resource until it is not served or nobody listens.
async fn objects(
    api: Api<DynamicObject>,
    fields: Option<&str>,
    (id, api_version): (WatchId, &str),
    events: &Sender<Event>,
) {
    let mut follower = Follower::new(api, fields, id.kind.to_string());
    while let Some(step) = follower.next().await {
        let event = match step {
            Step::Event(event) => report(id, api_version, event),
            Step::Failed(reason) => Event::Failed(id, reason),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

fn report(id: WatchId, api_version: &str, event: watcher::Event<DynamicObject>) -> Event {
    match event {
        watcher::Event::Init => Event::Began(id),
        watcher::Event::InitDone => Event::Listed(id),
        watcher::Event::Delete(object) => Event::Gone(id, key(id.kind, &object)),
        watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
            let key = key(id.kind, &object);
            let version = object.metadata.resource_version.as_deref().unwrap_or_default().into();
            match kept(id.kind, api_version, object) {
                Some(kept) => Event::Seen(id, kept, version),
                None => Event::Gone(id, key),
            }
        }
    }
}

fn key(kind: Kind, object: &DynamicObject) -> Key {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Key { kind, namespace: text(&object.metadata.namespace), name: text(&object.metadata.name) }
}

fn resource(kind: Kind, version: &str) -> ApiResource {
    let descriptor = kind.descriptor();
    served::resource((descriptor.group, version), (descriptor.kind, descriptor.plural))
}

/// How long to wait before a kind is asked for again that every API server should serve.
const RETRY: Duration = Duration::from_secs(5);
