//! `ostria delete`, by file or by kind and name.

use api::resource::kind;
use serde_json::json;

use crate::arguments::Delete;
use crate::client;
use crate::failure::Failure;
use crate::manifest::read;
use crate::state::State;
use crate::verb::print;
use crate::wire::{Given, Removal};

/// Deletes all named objects or none.
pub fn run(state: &State, delete: &Delete) -> Result<(), Failure> {
    let objects = match &delete.kind {
        Some(kind) => named(kind, &delete.names, delete.namespace.as_deref())?,
        None => read::read(&delete.filename, delete.recursive, delete.namespace.as_deref())
            .map_err(Failure::Refused)?,
    };
    let request = Removal { objects, ignore_missing: delete.ignore_not_found };
    print::answer(client::block_on(client::call(state, "/delete", &request))?, "")
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
