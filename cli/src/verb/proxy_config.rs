//! `ostria proxy-config`.

use serde_json::Value;

use crate::arguments::{Output, Part, ProxyConfig};
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::print;
use crate::view::proxy::{clusters, dump, endpoints, listeners, routes, secrets};
use crate::wire::Target;

/// Shows what a proxy was told.
#[expect(clippy::disallowed_methods, reason = "whether a certificate is valid depends on the clock")]
pub fn run(state: &State, arguments: &ProxyConfig) -> Result<(), Failure> {
    let namespace = arguments.namespace.clone().unwrap_or_else(|| "default".into());
    let target = Target { namespace, pod: arguments.pod.clone(), container: None };
    let given: Value = client::block_on(client::call(state, "/proxy", &target))?;
    if let Some(text) = print::document(&chosen(&given, arguments.part), arguments.output) {
        print::out(&text);
        return Ok(());
    }
    if arguments.output == Output::Name {
        return Err(Failure::blocked("-o name is not for proxy-config", "use -o table, json or yaml"));
    }
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let given = dump::normal(&given);
    let parts = match arguments.part {
        Part::All => vec![Part::Clusters, Part::Listeners, Part::Routes, Part::Endpoints, Part::Secrets],
        part => vec![part],
    };
    let tables: Vec<String> = parts
        .into_iter()
        .map(|part| match part {
            Part::Listeners => listeners::render(&given),
            Part::Routes => routes::render(&given),
            Part::Endpoints => endpoints::render(&given),
            Part::Secrets => secrets::render(&given, now.cast_signed()),
            Part::Clusters | Part::All => clusters::render(&given),
        })
        .collect();
    print::out(&tables.join("\n"));
    Ok(())
}

/// The sections of a part, as the proxy gives them.
fn chosen(dump: &Value, part: Part) -> Value {
    let section = match part {
        Part::All => return dump.clone(),
        Part::Listeners => "ListenersConfigDump",
        Part::Routes => "RoutesConfigDump",
        Part::Clusters => "ClustersConfigDump",
        Part::Endpoints => "EndpointsConfigDump",
        Part::Secrets => "SecretsConfigDump",
    };
    let sections = dump["configs"].as_array().into_iter().flatten();
    sections
        .filter(|entry| entry["@type"].as_str().is_some_and(|kind| kind.ends_with(section)))
        .cloned()
        .collect()
}
