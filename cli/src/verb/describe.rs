//! `ostria describe`.

use crate::arguments::Describe;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::describe;
use crate::wire::Description;

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
    let words: Vec<String> = std::iter::once(&arguments.kind).chain(&arguments.names).cloned().collect();
    let selections = resource::selections(&words)?;
    let namespace = (!arguments.all_namespaces).then(|| resource::namespace(arguments.namespace.as_ref()));
    let now = print::now();
    let mut texts = Vec::new();
    for selection in &selections {
        let all = [None];
        let names = selection.names.iter().map(Some);
        for name in names.chain(all.into_iter().filter(|_| selection.names.is_empty())) {
            let query = resource::query(selection.kind, name.map(String::as_str), namespace.as_deref());
            let found: Vec<Description> = client::block_on(client::call(state, "/describe", &query))?;
            if let Some(name) = name.filter(|_| found.is_empty()) {
                return Err(resource::missing(selection.kind, name));
            }
            texts.extend(found.iter().map(|one| describe::render(one, now)));
        }
    }
    if texts.is_empty() {
        match namespace.filter(|_| selections.iter().any(|selection| selection.kind.namespaced)) {
            Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
            None => eprintln!("No resources found"),
        }
    }
    print::out(&texts.join("\n\n"));
    Ok(())
}
