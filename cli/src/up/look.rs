//! Read access for the verbs: objects, pods and logs, and which container a name refers to.

use api::resource::kind;
use api::resource::verdict::Verdicts;
use serde_json::Value;

use crate::kubelet::workload::member::ExistingPod;
use crate::kubelet::{verdict, workload};
use crate::manifest::object::{Key, PROXY, containers, default_container};
use crate::up::clock::moment;
use crate::up::context::Context;
use crate::up::plane::TRUST_DOMAIN;
use crate::up::publish::with_status;
use crate::up::world::{Entry, PodKey, World};
use crate::wire::{EventQuery, PodLine, Query, Revision, Target};

/// Why a look-up failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The word is not the name of a kind.
    #[error("the server doesn't have a resource type \"{0}\"")]
    UnknownKind(String),
    /// No pod has this name, or belongs to an object of this name.
    #[error("pods \"{pod}\" not found in namespace {namespace}")]
    NoPod {
        /// The name in the request.
        pod: String,
        /// The namespace in the request.
        namespace: String,
    },
    /// The pod has no container of this name.
    #[error("container {container} is not valid for pod {pod}; it has {has}")]
    NoContainer {
        /// The name in the request.
        container: String,
        /// The pod.
        pod: String,
        /// The containers of the pod.
        has: String,
    },
    /// The pod has no sidecar and is no gateway.
    #[error("pod {0} has no proxy; pods get one in namespaces with the label istio-injection=enabled")]
    NoProxy(String),
    /// The pod has no namespaces yet.
    #[error("the pod has not started")]
    NotStarted,
    /// The pod ended during the request.
    #[error("the pod has been deleted")]
    Gone,
    /// The container has no such log.
    #[error("container {container} of pod {pod} has not {what} yet")]
    NoLog {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// What the container has not done yet.
        what: &'static str,
    },
}

/// The objects that a query selects.
pub fn list(context: &Context, query: &Query) -> Result<Vec<Value>, LookError> {
    let kind = kind::named(&query.kind).ok_or_else(|| LookError::UnknownKind(query.kind.clone()))?;
    let world = context.shared.read();
    let here = |key: &Key| {
        query.namespace.as_ref().is_none_or(|namespace| !kind.namespaced || *namespace == key.namespace)
    };
    let named = |name: &str| query.name.as_deref().is_none_or(|wanted| wanted == name);
    if kind.kind == "Event" && kind.group.is_empty() {
        let events = world.events.objects(here);
        return Ok(events.into_iter().filter(|event| named(&Key::of(event).name)).collect());
    }
    if kind.kind == "Pod" {
        let pods = world.pods.iter().filter(|((namespace, name), _)| {
            named(name) && query.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
        });
        return Ok(pods.map(|(_, entry)| with_status(entry)).collect());
    }
    let objects = world.objects.iter().filter(|(key, _)| key.group == kind.group && key.kind == kind.kind);
    let objects = objects.filter(|(key, _)| here(key) && named(&key.name));
    let pods = world.existing_pods();
    Ok(objects.map(|(key, object)| with_status_of_pods(&world, &pods, key, object)).collect())
}

/// Whether pilot may have findings about objects of this kind: pilot reads the kind, and nothing else writes its
/// status.
pub fn is_checked(query: &Query) -> bool {
    kind::named(&query.kind).is_some_and(|kind| kind.is_mesh() || kind.kind == "Service")
}

/// The kind that a query selects, as objects spell it.
pub fn kind_name(query: &Query) -> &'static str {
    kind::named(&query.kind).map_or("", |kind| kind.kind)
}

/// Writes the verdicts of pilot and the proxies into the status of objects.
pub fn judge(objects: &mut [Value], verdicts: &Verdicts) {
    for object in objects {
        let key = Key::of(object);
        let found = verdicts.objects.iter().find(|verdict| {
            (&verdict.group, &verdict.kind) == (&key.group, &key.kind)
                && (&verdict.namespace, &verdict.name) == (&key.namespace, &key.name)
        });
        if let Some(found) = found {
            verdict::judge(object, found, &verdicts.proxies);
        }
    }
}

/// The events that a query selects.
pub fn events(context: &Context, query: &EventQuery) -> Vec<Value> {
    context.shared.read().events.objects(|about| {
        query.namespace.as_ref().is_none_or(|namespace| *namespace == about.namespace)
            && query.about.as_ref().is_none_or(|(kind, name)| *kind == about.kind && *name == about.name)
    })
}

/// The revisions of a workload's template, with the current one.
pub fn history(context: &Context, query: &Query) -> Result<Vec<Revision>, LookError> {
    let kind = kind::named(&query.kind).ok_or_else(|| LookError::UnknownKind(query.kind.clone()))?;
    let key = Key::new(
        kind,
        query.namespace.as_deref().unwrap_or("default"),
        query.name.as_deref().unwrap_or_default(),
    );
    Ok(context.shared.read().revisions.get(&key).cloned().unwrap_or_default())
}

/// One row of `status` for each pod.
pub fn lines(context: &Context) -> Vec<PodLine> {
    let world = context.shared.read();
    world.pods.values().map(|entry| entry.status.line(&entry.object, TRUST_DOMAIN)).collect()
}

/// The pod and the container that a target refers to.
pub fn find(context: &Context, target: &Target) -> Result<(PodKey, String), LookError> {
    let world = context.shared.read();
    let key = pod(&world, target)?;
    let entry = &world.pods[&key];
    // The status lists a pod's containers only once the pod has started.
    let names = containers(&entry.object);
    match &target.container {
        Some(name) if names.contains(&name.as_str()) => Ok((key, name.clone())),
        Some(name) => {
            let has = names.join(", ");
            Err(LookError::NoContainer { container: name.clone(), pod: key.1, has })
        }
        None => Ok((key, default_container(&entry.object).ok_or(LookError::NotStarted)?)),
    }
}

/// The pod that a target refers to and the container of its proxy.
pub fn find_proxy(context: &Context, target: Target) -> Result<(PodKey, String), LookError> {
    find(context, &Target { container: Some(PROXY.into()), ..target }).map_err(|error| match error {
        LookError::NoContainer { pod, .. } => LookError::NoProxy(pod),
        error => error,
    })
}

fn pod(world: &World, target: &Target) -> Result<PodKey, LookError> {
    let namespace = &target.namespace;
    let missing = || LookError::NoPod { pod: target.pod.clone(), namespace: namespace.clone() };
    let Some((kind, name)) = target.pod.split_once('/') else {
        let key = (namespace.clone(), target.pod.clone());
        return if world.pods.contains_key(&key) { Ok(key) } else { Err(missing()) };
    };
    let kind = kind::named(kind).ok_or_else(missing)?;
    let matches = |(key, entry): &(&PodKey, &Entry)| {
        key.0 == *namespace
            && if kind.kind == "Pod" {
                key.1 == name
            } else {
                (entry.owner.kind.as_str(), entry.owner.name.as_str()) == (kind.kind, name)
            }
    };
    let mut found: Vec<_> = world.pods.iter().filter(matches).collect();
    found.sort_by_key(|(_, entry)| (entry.status.leaving, !entry.status.is_ready()));
    found.first().map(|(key, _)| (*key).clone()).ok_or_else(missing)
}

/// Adds the computed `status` to a workload.
fn with_status_of_pods(world: &World, pods: &[ExistingPod], key: &Key, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(status) = workload::status((key, &object), &world.objects, &world.jobs, pods, moment()) {
        object["status"] = status;
    }
    object
}
