//! `ostria describe`.

use crate::arguments::Describe;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::describe;

impl Verb for Describe {
    const NAME: &'static str = "describe";
    const ABOUT: &'static str = "Show details of objects: fields, status, related objects and events";
    const EXAMPLES: &'static [&'static str] =
        &["describe service reviews", "describe virtualservice/bookinfo -n default"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        run(place, &self)
    }
}

/// Prints objects with the verdicts of pilot and the proxies, and with their events.
fn run(place: &Place, arguments: &Describe) -> Result<(), Failure> {
    let words: Vec<String> = std::iter::once(&arguments.kind).chain(&arguments.names).cloned().collect();
    let selections = resource::selections(&words)?;
    let now = print::now();
    let (namespace, texts) = block_on(async {
        let mesh = place.mesh().await?;
        let namespace = (!arguments.all_namespaces).then(|| mesh.namespace().to_string());
        let mut texts = Vec::new();
        for selection in &selections {
            let all = [None];
            let names = selection.names.iter().map(Some);
            for name in names.chain(all.into_iter().filter(|_| selection.names.is_empty())) {
                let query = resource::query(selection.kind, name.map(String::as_str), namespace.as_deref());
                let found = mesh.describe(&query).await?;
                if let Some(name) = name.filter(|_| found.is_empty()) {
                    return Err(resource::missing(selection.kind, name));
                }
                texts.extend(found.iter().map(|one| describe::render(one, now)));
            }
        }
        Ok((namespace, texts))
    })?;
    if texts.is_empty() {
        match namespace.filter(|_| selections.iter().any(|selection| selection.kind.namespaced)) {
            Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
            None => eprintln!("No resources found"),
        }
    }
    print::out(&texts.join("\n\n"));
    Ok(())
}
