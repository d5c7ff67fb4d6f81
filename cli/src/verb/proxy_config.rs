//! `ostria proxy-config`.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::arguments::Output;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::{ask, print};
use crate::view::proxy::{clusters, dump, endpoints, listeners, routes, secrets};
use crate::wire::{ProxyQuery, Target};

/// `ostria proxy-config`
#[derive(Debug, Args)]
pub struct ProxyConfig {
    /// Which part
    #[arg(value_enum)]
    part: Part,
    /// The pod, or deployment/NAME
    pod: String,
    /// Namespace of the pod
    #[arg(short, long)]
    namespace: Option<String>,
    /// With log: the level, or levels by part, as in warn,proxy::control=debug
    #[arg(long)]
    level: Option<String>,
    /// With log: back to the level that it was started with
    #[arg(short, long, conflicts_with = "level")]
    reset: bool,
    /// table, or json and yaml as the proxy gives it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The parts of a proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Where it listens
    #[value(alias = "listener", alias = "l")]
    Listeners,
    /// Hosts and matches
    #[value(alias = "route", alias = "r")]
    Routes,
    /// Where it can send
    #[value(alias = "cluster", alias = "c")]
    Clusters,
    /// Addresses and their health
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Certificates, never keys
    #[value(alias = "secret", alias = "s")]
    Secrets,
    /// What it was started with
    #[value(alias = "b")]
    Bootstrap,
    /// Extensions that come by themselves; pilot sends none
    Ecds,
    /// The level of its log, and how to change it
    Log,
    /// All of these
    #[value(alias = "a")]
    All,
}

impl Verb for ProxyConfig {
    const NAME: &'static str = "proxy-config";
    const ALIASES: &'static [&'static str] = &["pc"];
    const ABOUT: &'static str = "Show what a proxy was told, or change the level of its log";
    const EXAMPLES: &'static [&'static str] = &[
        "proxy-config routes deployment/productpage-v1",
        "proxy-config all deployment/productpage-v1 -o json",
        "proxy-config log deployment/productpage-v1 --level debug",
    ];

    fn run(self, state: &State) -> Result<(), Failure> {
        if self.part == Part::Log { log(state, &self) } else { show(state, &self) }
    }
}

fn question(arguments: &ProxyConfig, page: String, post: bool) -> ProxyQuery {
    let namespace = ask::namespace(arguments.namespace.as_ref());
    ProxyQuery { target: Target { namespace, pod: arguments.pod.clone(), container: None }, page, post }
}

/// Shows or changes the level of the proxy's log.
fn log(state: &State, arguments: &ProxyConfig) -> Result<(), Failure> {
    let level = match &arguments.level {
        Some(level) => Some(level.replace(' ', "")),
        None => arguments.reset.then(|| USUAL_LEVEL.into()),
    };
    if let Some(level) = &level {
        api::process::log::level(level)
            .map_err(|error| Failure::blocked(error, "give --level one of these"))?;
    }
    let page = level.map_or("/logging".into(), |level| format!("/logging?level={level}"));
    let text = client::block_on(client::text(state, "/proxy", &question(arguments, page, true)))?;
    print::out(&text);
    Ok(())
}

fn show(state: &State, arguments: &ProxyConfig) -> Result<(), Failure> {
    if arguments.level.is_some() || arguments.reset {
        return Err(Failure::blocked(
            "--level and --reset are for the log",
            "write `ostria proxy-config log POD --level LEVEL`",
        ));
    }
    let query = question(arguments, "/config_dump?include_eds".into(), false);
    let given: Value = client::block_on(client::call(state, "/proxy", &query))?;
    if let Some(text) = print::document(&chosen(&given, arguments.part), arguments.output) {
        print::out(&text);
        return Ok(());
    }
    if arguments.output == Output::Name {
        return Err(Failure::blocked("-o name is not for proxy-config", "use -o table, json or yaml"));
    }
    if arguments.part == Part::Bootstrap {
        // It has no columns: istioctl prints it as JSON too.
        print::out(&print::json(&chosen(&given, arguments.part)));
        return Ok(());
    }
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
            Part::Secrets => secrets::render(&given, print::now()),
            Part::Ecds => "NAME   TYPE\n".into(),
            Part::Clusters | Part::Bootstrap | Part::Log | Part::All => clusters::render(&given),
        })
        .collect();
    print::table(&tables.join("\n"));
    Ok(())
}

/// The sections of a part, as the proxy gives them.
fn chosen(dump: &Value, part: Part) -> Value {
    let section = match part {
        Part::All | Part::Log => return dump.clone(),
        Part::Bootstrap => "BootstrapConfigDump",
        Part::Ecds => "EcdsConfigDump",
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

/// The level of a proxy that nobody gave another one.
const USUAL_LEVEL: &str = "info";
