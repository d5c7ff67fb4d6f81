//! `ostria apply -f`.

use api::resource::check::Given;
use api::resource::document::Problem;
use serde_json::{Value, json};

use crate::arguments::{Apply, DryRun, Printed};
use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::kubelet::check::check;
use crate::manifest::object::Key;
use crate::manifest::read::{self, Kinds, Namespaces};
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource, settle};
use crate::view::settle::Awaited;
use crate::wire::{self, ChangeResponse, Outcome};

impl Verb for Apply {
    const NAME: &'static str = "apply";
    const ABOUT: &'static str = "Create or update objects from files";
    const EXAMPLES: &'static [&'static str] = &[
        "apply -f samples/bookinfo/networking/virtual-service-reviews-80-20.yaml",
        "apply -f samples/bookinfo --dry-run=server -o name",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        block_on(run(place, &self))
    }
}

/// Reads and checks the files, changes all objects or none, and waits until every proxy has acknowledged the change.
async fn run(place: &Place, apply: &Apply) -> Result<(), Failure> {
    let mesh = place.mesh().await;
    let default = mesh.as_ref().map_or("default", Mesh::namespace);
    let namespaces = Namespaces { given: place.namespace(), default };
    let kinds = if matches!(mesh, Ok(Mesh::Cluster(_))) { Kinds::Any } else { Kinds::Known };
    let files = &apply.files;
    let objects =
        read::read(&files.filename, files.recursive, namespaces, kinds).map_err(Failure::Refused)?;
    if objects.is_empty() {
        return Err(Failure::Nothing("apply"));
    }
    let suffix = match apply.dry_run {
        DryRun::None => "",
        DryRun::Server => " (server dry run)",
        DryRun::Client => " (dry run)",
    };
    let line = |outcome: &Outcome| match apply.output {
        None => format!("{} {}{suffix}\n", outcome.object, outcome.verdict),
        Some(Printed::Name) => format!("{}\n", outcome.object),
        Some(Printed::Json | Printed::Yaml) => String::new(),
    };
    let mesh = match mesh {
        // Only a mesh on this machine has rules for pods that a dry run of the client knows.
        Ok(Mesh::Cluster(_)) if apply.dry_run == DryRun::Client => {
            print::response(&unchecked(&objects), line)?;
            show(apply.output, written(&objects));
            return Ok(());
        }
        Err(_) if apply.dry_run == DryRun::Client => {
            print::response(&alone(&objects), line)?;
            show(apply.output, written(&objects));
            return Ok(());
        }
        mesh => mesh?,
    };
    let request =
        wire::Apply { objects: objects.clone(), dry_run: apply.dry_run, force: apply.force_conflicts };
    let response = mesh.apply(&request).await?;
    print::response(&response, line)?;
    if apply.dry_run != DryRun::None {
        show(apply.output, written(&objects));
        return Ok(());
    }
    if matches!(apply.output, Some(Printed::Json | Printed::Yaml)) {
        show(apply.output, stored(&mesh, &objects).await?);
    }
    if !apply.wait {
        return Ok(());
    }
    let awaited = response.wanted.into_iter().zip(&objects);
    let awaited: Vec<Awaited> = awaited
        .filter(|(wanted, _)| mesh.judges(wanted))
        .filter_map(|(wanted, given)| Awaited::new(wanted, given.file.clone()))
        .collect();
    if awaited.is_empty() && matches!(mesh, Mesh::Cluster(_)) {
        return Ok(());
    }
    settle::wait(&mesh, &awaited, apply.timeout).await
}

/// The objects as the user wrote them.
fn written(objects: &[Given]) -> Vec<Value> {
    objects.iter().map(|given| given.object.clone()).collect()
}

/// The objects as the mesh stores them.
async fn stored(mesh: &Mesh, objects: &[Given]) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    for given in objects {
        let key = Key::of(&given.object);
        // Objects that were accepted are of a known kind.
        let Some(kind) = api::resource::kind::of(&key.group, &key.kind) else { continue };
        found.push(resource::object(mesh, kind, &key.namespace, &key.name).await?);
    }
    Ok(found)
}

/// Prints objects: a single one by itself, several as a list.
fn show(output: Option<Printed>, objects: Vec<Value>) {
    let document = match <[Value; 1]>::try_from(objects) {
        Ok([single]) => single,
        Err(objects) => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    };
    match output {
        Some(Printed::Json) => print::out(&print::json(&document)),
        Some(Printed::Yaml) => print::out(&print::yaml(&document)),
        Some(Printed::Name) | None => {}
    }
}

/// Checks objects without a running mesh. Programs are not looked up, because that depends on the machine that runs the
/// mesh.
fn alone(objects: &[Given]) -> ChangeResponse {
    let problems: Vec<Problem> = objects.iter().flat_map(|given| check(given, &|_| true)).collect();
    ChangeResponse { problems, ..unchecked(objects) }
}

fn unchecked(objects: &[Given]) -> ChangeResponse {
    let outcome =
        |given: &Given| Outcome { object: Key::of(&given.object).printed(), verdict: "created".into() };
    ChangeResponse { outcomes: objects.iter().map(outcome).collect(), ..ChangeResponse::default() }
}
