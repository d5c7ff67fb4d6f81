//! `ostria get`.

use api::resource::kind;
use serde_json::Value;

use crate::arguments::{Get, Output};
use crate::client;
use crate::failure::Failure;
use crate::manifest::object::has_labels;
use crate::state::State;
use crate::verb::print;
use crate::view::get::{self, Style};
use crate::wire::Query;

/// Lists objects.
#[expect(clippy::disallowed_methods, reason = "ages are told against the clock")]
pub fn run(state: &State, get: &Get) -> Result<(), Failure> {
    let (word, name) = match get.kind.split_once('/') {
        Some((kind, name)) => (kind.to_string(), Some(name.to_string())),
        None => (get.kind.clone(), get.name.clone()),
    };
    let kind = kind::named(&word)
        .ok_or_else(|| Failure::Missing(format!("the server doesn't have a resource type \"{word}\"")))?;
    let namespace = (!get.all_namespaces).then(|| get.namespace.clone().unwrap_or_else(|| "default".into()));
    let query = Query { kind: word, name: name.clone(), namespace: namespace.clone() };
    let mut objects: Vec<Value> = client::block_on(client::call(state, "/get", &query))?;
    if let Some(selector) = &get.selector {
        let pairs: Vec<(String, String)> = selector
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.trim().into(), value.trim_start_matches('=').trim().into()))
            .collect();
        objects.retain(|object| has_labels(object, pairs.iter().map(|(key, value)| (key, value))));
    }
    if let Some(name) = &name
        && objects.is_empty()
    {
        return Err(Failure::Missing(format!("{} \"{name}\" not found", kind.plural)));
    }
    if let Some(text) = print::document(&get::document(&objects, name.is_some()), get.output) {
        print::out(&text);
    } else if get.output == Output::Name {
        print::out(&get::names(&objects));
    } else if objects.is_empty() {
        match namespace.filter(|_| kind.namespaced) {
            Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
            None => eprintln!("No resources found"),
        }
    } else {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let style = Style {
            namespaces: get.all_namespaces,
            wide: get.output == Output::Wide,
            now: now.cast_signed(),
        };
        print::out(&get::table(kind, &objects, style));
    }
    Ok(())
}
