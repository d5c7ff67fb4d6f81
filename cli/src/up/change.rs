//! Applies and deletes objects. Everything is checked first, and nothing changes if there is any problem.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::resource::check::Given;
use api::resource::descriptor::Descriptor;
use api::resource::document::Problem;
use api::resource::kind;
use api::resource::verdict::Wanted;
use rand::Rng;
use serde_json::{Value, json};

use crate::arguments::DryRun;
use crate::kubelet::address;
use crate::kubelet::check::{self, check};
use crate::kubelet::host_port::{self, Claim};
use crate::kubelet::template::{pod_place, pod_spec};
use crate::kubelet::workload::account;
use crate::kubelet::{history, limit, name, rules};
use crate::manifest::object::{Key, desired, text};
use crate::up::clock::now;
use crate::up::context::Context;
use crate::up::world::World;
use crate::up::{host_ports, plane, publish, roots};
use crate::wire::{Apply, ChangeResponse, Outcome, Removal};

/// Creates or changes all of the objects, or none.
pub async fn apply(context: &Arc<Context>, request: &Apply) -> ChangeResponse {
    let mut response = ChangeResponse::default();
    let programs = |program: &str| find(context, program);
    response.problems = request.objects.iter().flat_map(|given| check(given, &programs)).collect();
    response.problems.extend(missing_namespaces(context, &request.objects));
    let accounts = missing_accounts(context, &request.objects);
    let (pods, workloads): (Vec<_>, Vec<_>) = accounts.into_iter().partition(|(kind, _)| kind == "Pod");
    response.problems.extend(pods.into_iter().map(|(_, problem)| problem));
    let mut objects = request.objects.clone();
    response.problems.extend(node_ports(&context.shared.read(), &mut objects));
    let mesh: Vec<Given> = request.objects.iter().filter_map(for_pilot).collect();
    let injects = request.dry_run != DryRun::Client && context.injector.get().is_some();
    if response.problems.is_empty() && !mesh.is_empty() && injects {
        match plane::validate(&mesh).await {
            Ok((problems, warnings)) => (response.problems, response.warnings) = (problems, warnings),
            Err(reason) => response.problems.push(Problem {
                reason: format!("the objects cannot be checked: pilot {reason}"),
                next: "look at `ostria status` and the log of pilot".into(),
                ..Problem::default()
            }),
        }
    }
    response.problems.extend(request.objects.iter().flat_map(|given| changed(context, given)));
    if !response.problems.is_empty() {
        return response;
    }
    response.warnings.extend(request.objects.iter().flat_map(check::warnings));
    response.warnings.extend(workloads.into_iter().map(|(_, problem)| problem));
    let lack = context.groups.lack();
    response.warnings.extend(lack.and_then(|lack| limit::unenforced(&request.objects, lack)));
    if request.dry_run != DryRun::None {
        response.outcomes =
            objects.iter().map(|given| outcome(&context.shared.read(), &given.object)).collect();
        return response;
    }
    let written: Vec<&Value> = objects.iter().map(|given| &given.object).collect();
    if let Err(reason) = publish::has_room(context, &written) {
        response.problems.push(Problem { reason, next: "free some disk space".into(), ..Problem::default() });
        return response;
    }
    let opened = match host_ports::open(context, &objects) {
        Ok(opened) => opened,
        Err(problems) => return ChangeResponse { problems, ..ChangeResponse::default() },
    };
    (response.outcomes, response.wanted) = context.shared.change(|world| {
        let outcomes = objects.iter().map(|given| place(world, &given.object)).collect();
        roots::share(context, world);
        let keys = objects.iter().map(|given| Key::of(&given.object));
        (outcomes, keys.map(|key| wanted(world, key)).collect())
    });
    if let Err(error) = host_ports::serve(context, opened) {
        tracing::error!(%error, "host ports cannot be served");
    }
    response
}

/// The stored version of an object, as pilot identifies it.
fn wanted(world: &World, key: Key) -> Wanted {
    let object = world.objects.get(&key).unwrap_or(&Value::Null);
    Wanted {
        uid: text(object, "/metadata/uid").into(),
        generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
        ..named(key, object.is_null())
    }
}

fn named(key: Key, gone: bool) -> Wanted {
    let Key { group, kind, namespace, name } = key;
    Wanted { group, kind, namespace, name, gone, ..Wanted::default() }
}

/// Allocates node ports for Services, and returns a problem for each object that claims the port of another object.
fn node_ports(world: &World, objects: &mut [Given]) -> Vec<Problem> {
    let stored = claims(world.objects.iter().map(|(key, object)| (key.clone(), object)));
    let given = claims(objects.iter().map(|given| (Key::of(&given.object), &given.object)));
    let mut taken: BTreeSet<u16> =
        stored.iter().chain(&given).map(|(_, claim)| claim.address.port()).collect();
    for given in objects.iter_mut() {
        let key = Key::of(&given.object);
        if key.kind == "Service" && key.group.is_empty() {
            let numbers = host_port::allocate(&key, &mut given.object, world.objects.get(&key), &mut taken);
            if !numbers.is_empty() {
                given.object["metadata"]["annotations"][ALLOCATED_PORTS] =
                    json!(numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            }
        }
    }
    let files: BTreeMap<Key, &str> =
        objects.iter().rev().map(|given| (Key::of(&given.object), given.file.as_str())).collect();
    let given = claims(objects.iter().map(|given| (Key::of(&given.object), &given.object)));
    let found = host_port::conflicts(&given, stored.iter().filter(|(key, _)| !files.contains_key(key)));
    let problem = |(key, path, reason): (&Key, String, String)| Problem {
        file: files.get(key).copied().unwrap_or_default().into(),
        object: key.to_string(),
        path,
        reason,
        next: "choose another port".into(),
    };
    found.into_iter().map(problem).collect()
}

/// The host ports that objects claim.
fn claims<'a>(objects: impl Iterator<Item = (Key, &'a Value)>) -> Vec<(Key, Claim)> {
    let of = |(key, object): (Key, &Value)| {
        host_port::claims(&key, object).into_iter().map(move |claim| (key.clone(), claim))
    };
    objects.flat_map(of).collect()
}

/// Deletes all of the objects, or none.
pub fn delete(context: &Context, request: &Removal) -> ChangeResponse {
    let keys: Vec<(Key, &str)> =
        request.objects.iter().map(|given| (Key::of(&given.object), given.file.as_str())).collect();
    let exists = |world: &World, key: &Key| {
        world.objects.contains_key(key)
            || key.kind == "Pod" && world.pods.contains_key(&(key.namespace.clone(), key.name.clone()))
    };
    let mut response = ChangeResponse::default();
    if !request.ignore_missing {
        let world = context.shared.read();
        response.problems = keys
            .iter()
            .filter(|(key, _)| !exists(&world, key))
            .map(|(key, file)| Problem {
                file: (*file).to_string(),
                object: key.to_string(),
                reason: "not found".into(),
                next: "list the objects with `ostria get`, or use --ignore-not-found".into(),
                ..Problem::default()
            })
            .collect();
    }
    if !response.problems.is_empty() {
        return response;
    }
    context.shared.change(|world| {
        for (key, _) in keys {
            if exists(world, &key) {
                remove(world, &key);
                response.outcomes.push(Outcome { object: key.printed(), verdict: "deleted".into() });
                response.wanted.push(named(key, true));
            }
        }
    });
    response
}

/// Whether a program exists: beside `ostria`, on PATH, or as a path.
pub fn find(context: &Context, program: &str) -> bool {
    if program.contains('/') {
        // A path in a pod may be in the folder of `ostria` programs or in a volume.
        return std::path::Path::new(program).is_file()
            || program
                .strip_prefix(crate::wire::PROGRAMS)
                .is_some_and(|rest| context.programs.join(rest.trim_start_matches('/')).is_file());
    }
    context.program(program).is_some()
}

/// The object that pilot checks. For a workload it is a pod made from its template, so that pilot does not warn that a
/// selector matches nothing only because the pod does not run yet.
fn for_pilot(given: &Given) -> Option<Given> {
    let key = Key::of(&given.object);
    let mesh = kind::of(&key.group, &key.kind).is_some_and(Descriptor::is_mesh);
    match key.kind.as_str() {
        "Deployment" | "StatefulSet" | "Job" if !mesh => {
            let template = &given.object["spec"]["template"];
            let mut metadata = template["metadata"].clone();
            metadata["name"] = json!(key.name);
            metadata["namespace"] = json!(key.namespace);
            let object =
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
            Some(Given { file: given.file.clone(), object })
        }
        // A ConfigMap with the keys of the mesh's settings, whatever its name.
        "ConfigMap" if !mesh => {
            let settings = ["mesh", "meshNetworks"].iter().any(|key| given.object["data"].get(key).is_some());
            settings.then(|| given.clone())
        }
        "ServiceAccount" if !mesh => None,
        _ => Some(given.clone()),
    }
}

/// Problems for changes to fields that are immutable.
fn changed(context: &Context, given: &Given) -> Vec<Problem> {
    let key = Key::of(&given.object);
    let world = context.shared.read();
    let old = world
        .objects
        .get(&key)
        .filter(|_| kind::of(&key.group, &key.kind).is_some_and(|kind| !kind.is_mesh()));
    let found = old.map(|old| rules::immutable(&key.kind, old, &given.object)).unwrap_or_default();
    let problem = |(path, reason)| Problem {
        file: given.file.clone(),
        object: key.to_string(),
        path,
        reason,
        next: "delete the object, then apply it".into(),
    };
    found.into_iter().map(problem).collect()
}

fn missing_namespaces(context: &Context, objects: &[Given]) -> Vec<Problem> {
    let world = context.shared.read();
    let given: BTreeSet<String> = objects
        .iter()
        .filter(|given| text(&given.object, "/kind") == "Namespace")
        .map(|given| Key::of(&given.object).name)
        .collect();
    objects
        .iter()
        .map(|given| (given, Key::of(&given.object)))
        .filter(|(_, key)| {
            !key.namespace.is_empty()
                && !given.contains(&key.namespace)
                && world.core("Namespace", "", &key.namespace).is_none()
        })
        .map(|(given, key)| Problem {
            file: given.file.clone(),
            object: key.to_string(),
            path: "metadata.namespace".into(),
            reason: format!("namespace {} not found", key.namespace),
            next: "add a Namespace object, or correct the name".into(),
        })
        .collect()
}

/// Pods and workloads whose service account is neither stored nor among the given objects. Each has the kind of its
/// object.
fn missing_accounts(context: &Context, objects: &[Given]) -> Vec<(String, Problem)> {
    let world = context.shared.read();
    let given: BTreeSet<Key> = objects.iter().map(|given| Key::of(&given.object)).collect();
    let is_there = |key: &Key| given.contains(key) || world.objects.contains_key(key);
    let check = |given: &Given| {
        let key = Key::of(&given.object);
        let path = pod_place(&key.kind)?;
        let spec = pod_spec(&given.object, path)?;
        let account = account::missing(spec, &key.namespace, is_there)?;
        let reason = if key.kind == "Pod" {
            account::reason(&key.name, &key.namespace, account)
        } else {
            format!(
                "there is no ServiceAccount {}/{account}: no pod is created until it exists",
                key.namespace
            )
        };
        let problem = Problem {
            file: given.file.clone(),
            object: key.to_string(),
            path: format!("{path}.serviceAccountName"),
            reason,
            next: "apply the ServiceAccount first, or with this object".into(),
        };
        Some((key.kind, problem))
    };
    objects.iter().filter_map(check).collect()
}

fn outcome(world: &World, object: &Value) -> Outcome {
    let key = Key::of(object);
    let verdict = match world.objects.get(&key) {
        None => "created",
        Some(old) if written(old) == written(object) => "unchanged",
        Some(_) => "configured",
    };
    Outcome { object: key.printed(), verdict: verdict.into() }
}

/// The Service as the user wrote it, without the allocated address and ports.
fn written(object: &Value) -> Value {
    let mut written = desired(object);
    let given = text(&written, &format!("/metadata/annotations/{}", ALLOCATED_PORTS.replace('/', "~1")));
    let given: BTreeSet<u64> = given.split(',').filter_map(|number| number.parse().ok()).collect();
    if !given.is_empty() {
        for port in written.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let is_given = port["nodePort"].as_u64().is_some_and(|number| given.contains(&number));
            if is_given && let Some(fields) = port.as_object_mut() {
                fields.remove("nodePort");
            }
        }
        without_annotation(&mut written, ALLOCATED_PORTS);
    }
    if without_annotation(&mut written, ALLOCATED)
        && let Some(spec) = written["spec"].as_object_mut()
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    written
}

/// Removes an annotation, and the empty annotations. Returns whether it was there.
fn without_annotation(object: &mut Value, name: &str) -> bool {
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return false };
    let was_there = annotations.remove(name).is_some();
    let is_empty = annotations.is_empty();
    if was_there
        && is_empty
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("annotations");
    }
    was_there
}

fn place(world: &mut World, object: &Value) -> Outcome {
    let outcome = outcome(world, object);
    if outcome.verdict == "unchanged" {
        return outcome;
    }
    let key = Key::of(object);
    let old = world.objects.get(&key).cloned();
    let mut object = object.clone();
    if key.kind == "Service" && key.group.is_empty() && text(&object, "/spec/clusterIP").is_empty() {
        allocate(world, &key, &mut object, old.as_ref());
    }
    let created = old.as_ref().map_or("", |old| text(old, "/metadata/creationTimestamp"));
    object["metadata"]["creationTimestamp"] = json!(if created.is_empty() { now() } else { created.into() });
    let generation = old.as_ref().and_then(|old| old.pointer("/metadata/generation")).and_then(Value::as_u64);
    object["metadata"]["generation"] = json!(generation.unwrap_or(0) + 1);
    let uid = old.as_ref().map_or("", |old| text(old, "/metadata/uid"));
    object["metadata"]["uid"] =
        json!(if uid.is_empty() { name::uid(rand::rng().random()) } else { uid.into() });
    if history::has_one(&key.kind) && key.group == "apps" {
        history::note(world.revisions.entry(key.clone()).or_default(), &object);
    }
    world.objects.insert(key, object);
    outcome
}

fn allocate(world: &World, key: &Key, object: &mut Value, old: Option<&Value>) {
    if text(object, "/spec/type") == "ExternalName" {
        return;
    }
    let taken: BTreeSet<Ipv4Addr> = world
        .of_kind("Service")
        .filter_map(|(_, service)| text(service, "/spec/clusterIP").parse().ok())
        .collect();
    let kept = old.and_then(|old| text(old, "/spec/clusterIP").parse().ok());
    if let Some(address) = kept.or_else(|| address::service(&key.namespace, &key.name, &taken)) {
        object["spec"]["clusterIP"] = json!(address.to_string());
        object["spec"]["clusterIPs"] = json!([address.to_string()]);
        object["metadata"]["annotations"][ALLOCATED] = json!("true");
    }
}

/// Removes an object from the world, with the objects and pods in it.
pub fn remove(world: &mut World, key: &Key) {
    world.objects.remove(key);
    world.revisions.remove(key);
    if key.kind == "Namespace" {
        world.objects.retain(|other, _| other.namespace != key.name);
        world.revisions.retain(|other, _| other.namespace != key.name);
    }
    // If a workload's pod is deleted, the workload creates another pod.
    if key.kind == "Pod"
        && let Some(entry) = world.pods.get_mut(&(key.namespace.clone(), key.name.clone()))
    {
        entry.status.leaving = true;
        entry.stop.cancel();
    }
}

/// Annotation of a Service whose address was allocated.
const ALLOCATED: &str = "ostria.dev/allocated-address";
/// Annotation with the allocated node ports of a Service.
const ALLOCATED_PORTS: &str = "ostria.dev/allocated-node-ports";
