//! Reads and watches objects of a cluster.

use std::collections::BTreeMap;

use api::resource::descriptor::Descriptor;
use api::resource::kind;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Error};
use serde_json::Value;

use crate::client::cluster::Cluster;
use crate::client::cluster::failure::is_unknown_kind;
use crate::failure::Failure;
use crate::manifest::object::text;
use crate::wire::{Query, Watched};

/// Access to the objects of a kind; in all namespaces if none is given.
pub fn api(cluster: &Cluster, kind: &Descriptor, namespace: Option<&str>) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group, kind.storage(), kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => Api::namespaced_with(cluster.client().clone(), namespace, &resource),
        None => Api::all_with(cluster.client().clone(), &resource),
    }
}

/// The objects that a query selects.
pub async fn list(cluster: &Cluster, query: &Query) -> Result<Vec<Value>, Failure> {
    let kind = known(&query.kind)?;
    let api = api(cluster, kind, query.namespace.as_deref());
    let found = match &query.name {
        Some(name) if query.namespace.is_some() || !kind.namespaced => match api.get(name).await {
            Ok(object) => Ok(vec![object]),
            Err(Error::Api(status)) if status.code == 404 && !is_unknown_kind(&status) => Ok(vec![]),
            Err(error) => Err(error),
        },
        Some(name) => api
            .list(&ListParams::default().fields(&format!("metadata.name={name}")))
            .await
            .map(|list| list.items),
        None => api.list(&ListParams::default()).await.map(|list| list.items),
    };
    let found = found.map_err(|error| cluster.failure(&error))?;
    Ok(found.iter().map(|object| plain(object, kind)).collect())
}

fn known(word: &str) -> Result<&'static Descriptor, Failure> {
    kind::named(word).ok_or_else(|| {
        let reason = format!("`ostria` does not know the resource type \"{word}\"");
        Failure::missing(
            reason,
            "list those it knows with `ostria api-resources`, and use kubectl for others",
        )
    })
}

/// The object as users read it: with its kind, which lists leave out, and without the bookkeeping of field managers.
pub fn plain(object: &DynamicObject, kind: &Descriptor) -> Value {
    let mut plain = serde_json::json!({"apiVersion": kind.api_version(kind.storage()), "kind": kind.kind});
    let written = serde_json::to_value(object).expect("objects are plain data");
    if let (Some(fields), Value::Object(written)) = (plain.as_object_mut(), written) {
        fields.extend(written);
    }
    if let Some(metadata) = plain.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    plain
}

/// A stream of changes to objects.
pub struct Watch {
    cluster: Cluster,
    kind: &'static Descriptor,
    events: BoxStream<'static, Result<Event<DynamicObject>, watcher::Error>>,
    seen: Seen,
}

impl Watch {
    /// Opens the stream.
    pub fn open(cluster: &Cluster, query: &Query) -> Result<Self, Failure> {
        let kind = known(&query.kind)?;
        let mut config = watcher::Config::default();
        if let Some(name) = &query.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let api = api(cluster, kind, query.namespace.as_deref());
        let events = watcher(api, config).default_backoff().boxed();
        Ok(Self { cluster: cluster.clone(), kind, events, seen: Seen::default() })
    }

    /// The next change. Fails if the objects cannot be listed; a watch that breaks later is resumed.
    pub async fn next(&mut self) -> Result<Option<Watched>, Failure> {
        while let Some(event) = self.events.next().await {
            let watched = match event {
                Ok(Event::InitApply(object)) => self.seen.listed(plain(&object, self.kind)),
                Ok(Event::InitDone) => self.seen.complete(),
                Ok(Event::Apply(object)) => Some(self.seen.changed(plain(&object, self.kind))),
                Ok(Event::Delete(object)) => Some(self.seen.deleted(plain(&object, self.kind))),
                Err(error) if !self.seen.begun => return Err(self.failure(error)),
                Ok(Event::Init) | Err(_) => None,
            };
            if watched.is_some() {
                return Ok(watched);
            }
        }
        Ok(None)
    }

    fn failure(&self, error: watcher::Error) -> Failure {
        use watcher::Error::{
            InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed,
        };
        match error {
            InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
                self.cluster.failure(&error)
            }
            WatchError(status) => self.cluster.failure(&Error::Api(status)),
            NoResourceVersion => Failure::blocked(error, "run the command again"),
        }
    }
}

/// The versions of the objects that were reported. A watch that expires lists all objects again, of which only the changed
/// ones are reported.
#[derive(Debug, Default)]
struct Seen {
    begun: bool,
    versions: BTreeMap<String, String>,
}

impl Seen {
    fn listed(&mut self, object: Value) -> Option<Watched> {
        let version = text(&object, "/metadata/resourceVersion").to_string();
        match self.versions.insert(text(&object, "/metadata/uid").into(), version.clone()) {
            None => Some(Watched::Added(object)),
            Some(before) if before == version => None,
            Some(_) => Some(Watched::Modified(object)),
        }
    }

    fn complete(&mut self) -> Option<Watched> {
        (!std::mem::replace(&mut self.begun, true)).then_some(Watched::Bookmark)
    }

    fn changed(&mut self, object: Value) -> Watched {
        let version = text(&object, "/metadata/resourceVersion").into();
        match self.versions.insert(text(&object, "/metadata/uid").into(), version) {
            None => Watched::Added(object),
            Some(_) => Watched::Modified(object),
        }
    }

    fn deleted(&mut self, object: Value) -> Watched {
        self.versions.remove(text(&object, "/metadata/uid"));
        Watched::Deleted(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_repeated_list_reports_only_what_changed() {
        let object = |uid: &str, version: &str| json!({"metadata": {"uid": uid, "resourceVersion": version}});
        let mut seen = Seen::default();
        assert!(matches!(seen.listed(object("a", "1")), Some(Watched::Added(_))));
        assert!(matches!(seen.complete(), Some(Watched::Bookmark)));
        assert!(matches!(seen.changed(object("a", "2")), Watched::Modified(_)));
        assert!(matches!(seen.changed(object("b", "3")), Watched::Added(_)));
        assert!(seen.listed(object("a", "2")).is_none());
        assert!(matches!(seen.listed(object("b", "4")), Some(Watched::Modified(_))));
        assert!(seen.complete().is_none(), "the first list is complete once");
        assert!(matches!(seen.deleted(object("b", "4")), Watched::Deleted(_)));
        assert!(matches!(seen.listed(object("b", "5")), Some(Watched::Added(_))));
    }

    #[test]
    fn an_object_has_its_kind_and_no_managed_fields() {
        let kind = kind::named("vs").unwrap();
        let object = json!({"metadata": {"name": "a", "managedFields": []}, "spec": {"hosts": ["a"]}});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let expected = json!({
            "apiVersion": kind.api_version(kind.storage()), "kind": "VirtualService",
            "metadata": {"name": "a"}, "spec": {"hosts": ["a"]},
        });
        assert_eq!(plain(&object, kind), expected);
    }
}
