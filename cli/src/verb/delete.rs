//! `ostria delete`, by file or by kind and name.

use api::resource::kind;
use serde_json::json;

use crate::arguments::Delete;
use crate::client;
use crate::failure::Failure;
use crate::manifest::read;
use crate::state::State;
use crate::verb::{print, settle};
use crate::view::settle::Awaited;
use crate::wire::{Answer, Given, Removal};

/// Deletes all named objects or none.
pub fn run(state: &State, delete: &Delete) -> Result<(), Failure> {
    let objects = match &delete.kind {
        Some(kind) => named(kind, &delete.names, delete.namespace.as_deref())?,
        None => read::read(&delete.filename, delete.recursive, delete.namespace.as_deref())
            .map_err(Failure::Refused)?,
    };
    let request = Removal { objects, ignore_missing: delete.ignore_not_found };
    client::block_on(async {
        let answer: Answer = client::call(state, "/delete", &request).await?;
        print::answer(&answer, "")?;
        if !delete.wait {
            return Ok(());
        }
        // A pod is gone when it has ended, which pilot needs no word for.
        let awaited =
            answer.wanted.into_iter().filter(|wanted| wanted.kind != "Pod" || !wanted.group.is_empty());
        let awaited: Vec<Awaited> = awaited.map(|wanted| Awaited { wanted, file: String::new() }).collect();
        if awaited.is_empty() { Ok(()) } else { settle::wait(state, &awaited, delete.timeout).await }
    })
}

fn named(kind: &str, names: &[String], namespace: Option<&str>) -> Result<Vec<Given>, Failure> {
    let (kind, names) = match kind.split_once('/') {
        Some((kind, name)) => (kind, vec![name.to_string()]),
        None => (kind, names.to_vec()),
    };
    let known = kind::named(kind).ok_or_else(|| {
        Failure::blocked(
            format!("there is no kind {kind}"),
            "name a kind such as pod, service or virtualservice",
        )
    })?;
    if names.is_empty() {
        return Err(Failure::blocked("no name is given", format!("name the {kind} to delete")));
    }
    let version = known.api_version(known.storage());
    let given = |name: String| Given {
        file: "command line".into(),
        object: json!({"apiVersion": version, "kind": known.kind,
            "metadata": {"name": name, "namespace": namespace.unwrap_or("default")}}),
    };
    Ok(names.into_iter().map(given).collect())
}
