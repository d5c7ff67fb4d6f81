//! `ostria delete`, by file or by kind and name.

use std::collections::BTreeSet;

use crate::arguments::Delete;
use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::Key;
use crate::manifest::read::{self, Kinds, Namespaces};
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource, settle};
use crate::view::settle::Awaited;
use crate::wire::Removal;
use api::resource::check::Given;
use api::resource::document::Problem;

impl Verb for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Delete objects, by file or by kind and name";
    const EXAMPLES: &'static [&'static str] =
        &["delete -f samples/bookinfo/networking --ignore-not-found", "delete virtualservice reviews"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        block_on(run(place, &self))
    }
}

async fn run(place: &Place, delete: &Delete) -> Result<(), Failure> {
    let mesh = place.mesh().await;
    let default = mesh.as_ref().map_or("default", Mesh::namespace);
    let objects = match &delete.kind {
        Some(kind) => named(kind, &delete.names, place.namespace().unwrap_or(default))?,
        None => {
            let kinds = if matches!(mesh, Ok(Mesh::Cluster(_))) { Kinds::Any } else { Kinds::Known };
            let namespaces = Namespaces { given: place.namespace(), default };
            let given = read::read_copies(&delete.filename, delete.recursive, namespaces, kinds);
            once(given.map_err(Failure::Refused)?)
        }
    };
    let mesh = mesh?;
    // As with kubectl, a missing object does not prevent the deletion of the others.
    let response = mesh.delete(&Removal { objects: objects.clone(), ignore_missing: true }).await?;
    print::response(&response, |outcome| match &delete.output {
        Some(_) => format!("{}\n", outcome.object),
        None => format!("{} {}\n", outcome.object, outcome.verdict),
    })?;
    let gone: BTreeSet<String> = response.outcomes.iter().map(|outcome| outcome.object.clone()).collect();
    let awaited = response.wanted.into_iter().filter(|wanted| mesh.judges(wanted));
    let awaited: Vec<Awaited> = awaited.filter_map(|wanted| Awaited::new(wanted, String::new())).collect();
    if delete.wait && !awaited.is_empty() {
        settle::wait(&mesh, &awaited, delete.timeout).await?;
    }
    let absent = objects.iter().filter(|given| !gone.contains(&Key::of(&given.object).printed()));
    let absent: Vec<Problem> = absent.map(missing).collect();
    if absent.is_empty() || delete.ignore_not_found { Ok(()) } else { Err(Failure::Absent(absent)) }
}

/// Removes duplicates: a folder may define an object several times.
fn once(objects: Vec<Given>) -> Vec<Given> {
    let mut seen = BTreeSet::new();
    objects.into_iter().filter(|given| seen.insert(Key::of(&given.object))).collect()
}

fn missing(given: &Given) -> Problem {
    Problem {
        file: given.file.clone(),
        object: Key::of(&given.object).to_string(),
        reason: "not found".into(),
        next: "list the objects with `ostria get`, or use --ignore-not-found".into(),
        ..Problem::default()
    }
}

fn named(kind: &str, names: &[String], namespace: &str) -> Result<Vec<Given>, Failure> {
    let words: Vec<String> = std::iter::once(kind.to_string()).chain(names.iter().cloned()).collect();
    let mut given = Vec::new();
    for selection in resource::selections(&words)? {
        if selection.names.is_empty() {
            let next = format!("name the {kind} to delete");
            return Err(Failure::blocked("no name is given", next));
        }
        given.extend(selection.names.iter().map(|name| Given {
            file: "command line".into(),
            object: resource::stub(selection.kind, namespace, name),
        }));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_several_files_define_is_deleted_once() {
        let given = |file: &str| Given {
            file: file.into(),
            object: serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}),
        };
        assert_eq!(once(vec![given("a.yaml"), given("b.yaml")]), [given("a.yaml")]);
    }

    #[test]
    fn kinds_and_names_are_read_like_those_of_get() {
        let named = |kind: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
            named(kind, &names, "default")
                .map(|given| given.iter().map(|given| Key::of(&given.object).to_string()).collect::<Vec<_>>())
        };
        assert_eq!(named("pod,svc", &["a"]).unwrap(), ["Pod default/a", "Service default/a"]);
        assert_eq!(named("pod/a", &["svc/b"]).unwrap(), ["Pod default/a", "Service default/b"]);
        assert!(named("pod", &[]).is_err());
    }
}
