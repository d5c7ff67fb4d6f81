//! `ostria describe`.

use api::resource::kind;

use crate::arguments::Describe;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view::describe;
use crate::wire::{Description, Query};

impl Verb for Describe {
    const NAME: &'static str = "describe";
    const ABOUT: &'static str = "Show details of objects: fields, status, related objects and events";
    const EXAMPLES: &'static [&'static str] =
        &["describe service reviews", "describe virtualservice/bookinfo -n default"];

    fn run(self, state: &State) -> Result<(), Failure> {
        run(state, &self)
    }
}

/// Prints objects with the verdicts of pilot and the proxies, and with their events.
fn run(state: &State, arguments: &Describe) -> Result<(), Failure> {
    let (word, names) = match arguments.kind.split_once('/') {
        Some((kind, name)) => (kind.to_string(), vec![name.to_string()]),
        None => (arguments.kind.clone(), arguments.names.clone()),
    };
    let kind = kind::named(&word)
        .ok_or_else(|| Failure::Missing(format!("the server doesn't have a resource type \"{word}\"")))?;
    let namespace =
        (!arguments.all_namespaces).then(|| arguments.namespace.clone().unwrap_or_else(|| "default".into()));
    let names: Vec<Option<String>> =
        if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    let now = print::now();
    let mut texts = Vec::new();
    for name in names {
        let query = Query { kind: word.clone(), name: name.clone(), namespace: namespace.clone() };
        let found: Vec<Description> = client::block_on(client::call(state, "/describe", &query))?;
        if let Some(name) = name.filter(|_| found.is_empty()) {
            return Err(Failure::Missing(format!("{} \"{name}\" not found", kind.plural)));
        }
        texts.extend(found.iter().map(|one| describe::render(one, now)));
    }
    if texts.is_empty() {
        match namespace.filter(|_| kind.namespaced) {
            Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
            None => eprintln!("No resources found"),
        }
    }
    print::out(&texts.join("\n\n"));
    Ok(())
}
