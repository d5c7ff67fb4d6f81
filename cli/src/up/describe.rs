//! Collects the facts about objects for `describe`: the objects, the verdicts of pilot and the proxies, related
//! objects, and events.

use k8s_openapi::api::core::v1::Service;
use serde_json::Value;

use crate::kubelet::service;
use crate::manifest::object::Key;
use crate::up::context::Context;
use crate::up::look::{self, LookError};
use crate::up::plane;
use crate::wire::{Description, Query};

/// The objects that a query selects, each with everything known about it.
pub async fn describe(context: &Context, query: &Query) -> Result<Vec<Description>, LookError> {
    let objects = look::list(context, query)?;
    let mut all = Vec::new();
    for object in objects {
        all.push(one(context, object).await);
    }
    Ok(all)
}

async fn one(context: &Context, object: Value) -> Description {
    let key = Key::of(&object);
    let mut description = Description { events: events(context, &key), ..Description::default() };
    if context.injector.get().is_some() {
        // Without a response of pilot, the object is shown alone.
        let (verdicts, relations) =
            tokio::join!(plane::verdicts(&key.kind, Some(&key.namespace)), plane::relations(&key));
        let verdicts = verdicts.unwrap_or_default();
        description.verdict =
            verdicts.objects.into_iter().find(|v| (&v.group, &v.name) == (&key.group, &key.name));
        description.proxies = verdicts.proxies;
        description.relations = relations.unwrap_or_default();
    }
    if key.kind == "Service" && key.group.is_empty() {
        description.endpoints = endpoints(context, &object);
    }
    Description { object, ..description }
}

/// The endpoints of each port of a Service.
fn endpoints(context: &Context, object: &Value) -> Vec<Vec<String>> {
    let directory = context.shared.directory();
    let Ok(service) = serde_json::from_value::<Service>(object.clone()) else { return vec![] };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
    let of = |port| {
        let found = service::endpoints(&service, port, &directory.backends);
        found.into_iter().map(|(address, number)| format!("{address}:{number}")).collect()
    };
    ports.iter().map(of).collect()
}

/// The events of an object, the latest last.
fn events(context: &Context, key: &Key) -> Vec<Value> {
    context.shared.read().events.objects(|about| about == key)
}
