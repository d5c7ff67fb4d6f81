//! Facts about objects of a cluster: their events, the revisions of workloads, and what `describe` shows.

use api::resource::kind;
use api::resource::relation::Related;
use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::cluster::pilot::{self, Page};
use crate::client::cluster::{Cluster, object, verdict};
use crate::failure::Failure;
use crate::manifest::object::{Key, text};
use crate::wire::{Description, EventQuery, Query, Revision};

/// The events that a query selects.
pub async fn events(cluster: &Cluster, query: &EventQuery) -> Result<Vec<Value>, Failure> {
    let about = query.about.as_ref();
    let fields = about.map(|(kind, name)| format!("involvedObject.kind={kind},involvedObject.name={name}"));
    let parameters = fields.map_or_else(ListParams::default, |fields| ListParams::default().fields(&fields));
    let events = listed::<Event>(cluster, query.namespace.as_deref(), &parameters).await?;
    Ok(events.into_iter().map(dated).collect())
}

/// The event with the timestamps that tables show, which newer events have under other names.
fn dated(mut event: Value) -> Value {
    let first = |event: &Value, paths: &[&str]| {
        paths
            .iter()
            .map(|path| text(event, path).to_string())
            .find(|moment| !moment.is_empty())
            .unwrap_or_default()
    };
    let last = first(
        &event,
        &["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"],
    );
    let begun = first(&event, &["/firstTimestamp", "/eventTime", "/metadata/creationTimestamp"]);
    event["lastTimestamp"] = last.into();
    event["firstTimestamp"] = begun.into();
    event
}

/// The revisions of a workload's template, the current one last.
pub async fn history(cluster: &Cluster, query: &Query) -> Result<Vec<Revision>, Failure> {
    let objects = object::list(cluster, query).await?;
    let Some(owner) = objects.first() else { return Ok(Vec::new()) };
    let (uid, namespace) = (text(owner, "/metadata/uid"), query.namespace.as_deref());
    let all = if text(owner, "/kind") == "StatefulSet" {
        listed::<ControllerRevision>(cluster, namespace, &ListParams::default()).await?
    } else {
        listed::<ReplicaSet>(cluster, namespace, &ListParams::default()).await?
    };
    let mut revisions: Vec<Revision> =
        all.iter().filter(|one| is_owned(one, uid)).filter_map(revision).collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

fn is_owned(object: &Value, uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["uid"] == uid)
}

/// The revision that a ReplicaSet or a ControllerRevision holds.
fn revision(object: &Value) -> Option<Revision> {
    let number = object["revision"].as_u64();
    let number = number
        .or_else(|| text(object, "/metadata/annotations/deployment.kubernetes.io~1revision").parse().ok())?;
    let mut template = object.pointer("/data/spec/template").or(object.pointer("/spec/template"))?.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    // A revision of a StatefulSet is a patch.
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    let cause = text(object, "/metadata/annotations/kubernetes.io~1change-cause").into();
    Some(Revision { number, template, cause })
}

/// The objects that a query selects, each with everything known about it.
pub async fn describe(cluster: &Cluster, query: &Query) -> Result<Vec<Description>, Failure> {
    let objects = object::list(cluster, query).await?;
    Ok(join_all(objects.into_iter().map(|object| one(cluster, object))).await)
}

async fn one(cluster: &Cluster, object: Value) -> Description {
    let key = Key::of(&object);
    let place = Some(key.namespace.clone()).filter(|place| !place.is_empty());
    let about = EventQuery { namespace: place, about: Some((key.kind.clone(), key.name.clone())) };
    let is_service = key.kind == "Service" && key.group.is_empty();
    // Parts that the user may not read, or that pilot does not report, are left out.
    let (events, endpoints) = tokio::join!(events(cluster, &about), async {
        if is_service { endpoints(cluster, &object, &key).await } else { Ok(Vec::new()) }
    });
    let mut description = Description {
        events: events.unwrap_or_default(),
        endpoints: endpoints.unwrap_or_default(),
        ..Description::default()
    };
    if kind::of(&key.group, &key.kind).is_some_and(|kind| kind.is_mesh() || is_service || kind.kind == "Pod")
    {
        let (verdicts, relations) = tokio::join!(verdict::on(cluster, &key), relations(cluster, &key));
        let verdicts = verdicts.unwrap_or_default();
        description.verdict = verdicts.objects.into_iter().next();
        description.proxies = verdicts.proxies;
        description.relations = relations.unwrap_or_default();
    }
    Description { object, ..description }
}

async fn relations(cluster: &Cluster, key: &Key) -> Result<Vec<Related>, Failure> {
    let Key { group, kind, namespace, name } = key;
    let page = format!("/debug/relations?group={group}&kind={kind}&namespace={namespace}&name={name}");
    let all: Vec<(String, Vec<Related>)> = pilot::ask_all(cluster, &Page::get(page)).await?;
    Ok(all.into_iter().next().map(|(_, relations)| relations).unwrap_or_default())
}

/// The ready endpoints of each port of a Service.
async fn endpoints(cluster: &Cluster, service: &Value, key: &Key) -> Result<Vec<Vec<String>>, Failure> {
    let of = ListParams::default().labels(&format!("kubernetes.io/service-name={}", key.name));
    let slices = listed::<EndpointSlice>(cluster, Some(&key.namespace), &of).await?;
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let names = ports.into_iter().flatten().map(|port| text(port, "/name"));
    Ok(names.map(|name| slices.iter().flat_map(|slice| addresses(slice, name)).collect()).collect())
}

/// The ready addresses of a slice with its number of the port of this name.
fn addresses(slice: &Value, name: &str) -> Vec<String> {
    let all = |field: &str| slice[field].as_array().cloned().unwrap_or_default();
    let number =
        all("ports").iter().find(|port| text(port, "/name") == name).and_then(|port| port["port"].as_u64());
    let Some(number) = number else { return Vec::new() };
    let ready =
        all("endpoints").into_iter().filter(|one| one.pointer("/conditions/ready") != Some(&json!(false)));
    ready.filter_map(|one| Some(format!("{}:{number}", one.pointer("/addresses/0")?.as_str()?))).collect()
}

/// Lists objects of one of Kubernetes' own kinds; in all namespaces if none is given.
async fn listed<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    parameters: &ListParams,
) -> Result<Vec<Value>, Failure>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + DeserializeOwned,
{
    let client = cluster.client().clone();
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let list = api.list(parameters).await.map_err(|error| cluster.failure(&error))?;
    let plain = |object: &K| serde_json::to_value(object).expect("objects are plain data");
    Ok(list.items.iter().map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_moments_that_tables_show() {
        let new = dated(json!({"eventTime": "2026-01-01T00:00:00Z", "lastTimestamp": null}));
        assert_eq!(text(&new, "/lastTimestamp"), "2026-01-01T00:00:00Z");
        let series = dated(json!({"eventTime": "a", "series": {"lastObservedTime": "b"}}));
        assert_eq!((text(&series, "/firstTimestamp"), text(&series, "/lastTimestamp")), ("a", "b"));
        let old = dated(json!({"firstTimestamp": "a", "lastTimestamp": "b", "eventTime": null}));
        assert_eq!((text(&old, "/firstTimestamp"), text(&old, "/lastTimestamp")), ("a", "b"));
    }

    #[test]
    fn revisions_are_read_from_replica_sets_and_from_controller_revisions() {
        let set = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "x"},
                "ownerReferences": [{"uid": "u"}]},
            "spec": {"template": {"metadata": {"labels": {"app": "a", "pod-template-hash": "h"}}}}});
        let expected = json!({"metadata": {"labels": {"app": "a"}}});
        let found = revision(&set).unwrap();
        assert_eq!((found.number, &found.template, found.cause.as_str()), (3, &expected, "x"));
        assert!(is_owned(&set, "u") && !is_owned(&set, "v"));
        let revision_of_set =
            json!({"revision": 2, "data": {"spec": {"template": {"$patch": "replace", "spec": {}}}}});
        let found = revision(&revision_of_set).unwrap();
        assert_eq!((found.number, found.template), (2, json!({"spec": {}})));
    }

    #[test]
    fn endpoints_are_those_that_are_ready_at_the_port_of_this_name() {
        let slice = json!({
            "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
            ],
        });
        assert_eq!(addresses(&slice, "http"), ["10.0.0.1:8080", "10.0.0.3:8080"]);
        assert_eq!(addresses(&slice, ""), [""; 0]);
    }
}
