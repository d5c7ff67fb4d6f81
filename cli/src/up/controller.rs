//! Creates and ends pods to match the objects, and updates the node's packet rules to match the pods.

use std::sync::Arc;

use rand::Rng;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kubelet::event::{self, EventDetails};
use crate::kubelet::workload::Plan;
use crate::kubelet::workload::account;
use crate::kubelet::workload::member::{Change, Owner};
use crate::kubelet::{name, nat, status, workload};
use crate::manifest::object::Key;
use crate::up::change;
use crate::up::clock::{moment, now};
use crate::up::context::Context;
use crate::up::world::{Entry, PodKey, World};
use crate::up::{node, pod};

/// Creates and ends pods until the mesh ends.
pub async fn run(context: Arc<Context>, tasks: TaskTracker) {
    let mut changes = context.shared.watch();
    let mut again = None;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = until(again) => {}
            () = context.ending.cancelled() => return,
        }
        again = step(&context, &tasks);
    }
}

/// Updates the packet rules after each change.
pub async fn translate(context: Arc<Context>) {
    let mut changes = context.shared.watch();
    let mut current = String::new();
    while changes.changed().await.is_ok() {
        let count = *changes.borrow_and_update();
        let directory = context.shared.directory();
        let rules = nat::rules(&directory.services, &directory.backends);
        if rules != current {
            if let Err(error) = node::translate(&rules).await {
                tracing::error!(%error, "packet rules for services cannot be written");
                continue;
            }
            current = rules;
        }
        context.translated.send_replace(count);
    }
}

/// Ends all pods.
pub fn end_all(context: &Context) {
    context.ending.cancel();
    context.shared.change(|world| {
        let keys: Vec<PodKey> = world.pods.keys().cloned().collect();
        for key in &keys {
            leave(world, key);
        }
    });
}

/// Sleeps until a moment; forever if there is none.
async fn until(again: Option<OffsetDateTime>) {
    match again {
        Some(again) => tokio::time::sleep((again - moment()).try_into().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

/// Makes the changes that are possible at this moment. Returns when to run again if nothing changes before.
fn step(context: &Arc<Context>, tasks: &TaskTracker) -> Option<OffsetDateTime> {
    let plan = {
        let world = context.shared.read();
        let plan = workload::plan(&world.objects, &world.jobs, &world.existing_pods(), moment(), &mut || {
            rand::rng().random()
        });
        if plan.changes.is_empty() && plan.jobs == world.jobs && plan.forbidden == world.forbidden {
            return plan.again;
        }
        plan
    };
    let again = plan.again;
    // `ending` is read under the lock. It is cancelled before `end_all` takes the lock, so no pod is created after
    // that.
    for (key, stop) in context.shared.change(|world| apply(world, plan, context.ending.is_cancelled())) {
        tasks.spawn(pod::run(Arc::clone(context), key, stop));
    }
    again
}

/// Applies a plan. Returns the pods to start. While the mesh ends, pods are not replaced.
fn apply(world: &mut World, plan: Plan, ending: bool) -> Vec<(PodKey, CancellationToken)> {
    let mut fresh = Vec::new();
    world.jobs = plan.jobs;
    for (key, message) in &plan.forbidden {
        if world.forbidden.get(key) != Some(message) {
            world.events.note(key, EventDetails::warning("FailedCreate", message), &now());
        }
    }
    world.forbidden = plan.forbidden;
    for change in plan.changes {
        match change {
            Change::Remove { namespace, name } => {
                let key = (namespace, name);
                record_event(world, &key, "SuccessfulDelete", "Deleted");
                leave(world, &key);
            }
            // The mesh may have started to end after the plan was made.
            Change::Create { .. } if ending => {}
            Change::Create { pod, owner, revision } => {
                let (key, stop) = admit(world, pod, owner, revision);
                record_event(world, &key, "SuccessfulCreate", "Created");
                fresh.push((key, stop));
            }
            Change::Delete(key) => change::remove(world, &key),
        }
    }
    fresh
}

fn admit(world: &mut World, mut pod: Value, owner: Owner, revision: String) -> (PodKey, CancellationToken) {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
    let namespace =
        Some(text("/metadata/namespace")).filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into());
    let key = (namespace.clone(), text("/metadata/name"));
    let account = account::named(&pod["spec"]).map(str::to_string);
    pod["metadata"]["namespace"] = json!(namespace);
    pod["metadata"]["uid"] = json!(name::uid(rand::rng().random()));
    pod["spec"]["serviceAccountName"] = json!(account.unwrap_or_else(|| "default".into()));
    let stop = CancellationToken::new();
    let moment = now();
    let status = status::Pod { created: moment.clone(), changed: moment, ..status::Pod::default() };
    let entry =
        Entry { object: pod, owner, revision, status, address: None, stop: stop.clone(), sandbox: None };
    world.pods.insert(key.clone(), entry);
    (key, stop)
}

/// Records an event about the pod at its owner.
fn record_event(world: &mut World, key: &PodKey, reason: &'static str, what: &str) {
    let Some(owner) = world.pods.get(key).map(|entry| entry.owner.clone()) else { return };
    let about = world
        .objects
        .keys()
        .find(|known| known.kind == owner.kind && known.name == owner.name && known.namespace == key.0);
    if let Some(about) = about.filter(|about| about.kind != "Pod").cloned() {
        world.events.note(&about, EventDetails::normal(reason, format!("{what} pod: {}", key.1)), &now());
    }
}

fn leave(world: &mut World, key: &PodKey) {
    if let Some(entry) = world.pods.get_mut(key) {
        if !entry.status.leaving {
            let before = entry.status.clone();
            entry.status.leaving = true;
            entry.status.changed = now();
            for details in event::of_pod(&before, &entry.status) {
                world.events.note(&Key::pod(key), details, &now());
            }
        }
        entry.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_leave_with_the_mesh_are_not_replaced() {
        let create = || Change::Create {
            pod: json!({"metadata": {"name": "web-1", "namespace": "shop"}, "spec": {}}),
            owner: Owner { kind: "Deployment".into(), name: "web".into(), uid: String::new() },
            revision: "1".into(),
        };
        let plan = || Plan { changes: vec![create()], ..Plan::default() };
        let mut world = World::default();
        assert_eq!(apply(&mut world, plan(), false).len(), 1);
        world.pods.clear();
        assert!(apply(&mut world, plan(), true).is_empty());
        assert!(world.pods.is_empty());
    }

    #[test]
    fn a_workload_whose_pods_cannot_be_created_has_one_event_each_time_that_begins() {
        let key = Key {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
        };
        let plan = |message: Option<&str>| Plan {
            forbidden: message.map(|message| (key.clone(), message.to_string())).into_iter().collect(),
            ..Plan::default()
        };
        let mut world = World::default();
        for message in [Some("a"), Some("a"), None, Some("a"), Some("b")] {
            apply(&mut world, plan(message), false);
        }
        let events = world.events.objects(|about| *about == key);
        let shown =
            |event: &Value| (event["reason"].clone(), event["message"].clone(), event["count"].clone());
        let expected = [("a", 2), ("b", 1)]
            .map(|(message, count)| (json!("FailedCreate"), json!(message), json!(count)));
        assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected);
    }
}
