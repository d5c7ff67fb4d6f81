//! `ostria proxy-config`.

use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::arguments::Output;
use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::proxy::{clusters, dump, ecds, endpoints, listeners, log, routes, secrets};
use crate::wire::{ProxyQuery, Target};

/// `ostria proxy-config`
#[derive(Debug, Args)]
pub struct ProxyConfig {
    /// Part of the configuration to print
    #[arg(value_enum)]
    part: Part,
    /// Name of the pod, also as POD.NAMESPACE or deployment/NAME
    pod: String,
    /// With log: a level, or levels of single modules, such as warn,proxy::control=debug
    #[arg(long)]
    level: Option<String>,
    /// With log: restore the level that the proxy started with
    #[arg(short, long, conflicts_with = "level")]
    reset: bool,
    /// Format: table, or json or yaml as the proxy prints it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The parts of a proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Listeners and their filter chains
    #[value(alias = "listener", alias = "l")]
    Listeners,
    /// Virtual hosts and their routes
    #[value(alias = "route", alias = "r")]
    Routes,
    /// Clusters, to which the proxy can send requests
    #[value(alias = "cluster", alias = "c")]
    Clusters,
    /// Addresses of the clusters and their health
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Certificates, without private keys
    #[value(alias = "secret", alias = "s")]
    Secrets,
    /// Configuration that the proxy started with
    #[value(alias = "b")]
    Bootstrap,
    /// Extension configurations (ECDS); pilot sends filters as parts of listeners
    Ecds,
    /// Log level, which this command can change
    Log,
    /// Clusters, listeners, routes, endpoints and certificates; with json or yaml the complete dump
    #[value(alias = "a")]
    All,
}

impl Verb for ProxyConfig {
    const NAME: &'static str = "proxy-config";
    const ALIASES: &'static [&'static str] = &["pc"];
    const ABOUT: &'static str = "Show the configuration of a proxy, or change its log level";
    const EXAMPLES: &'static [&'static str] = &[
        "proxy-config routes deployment/productpage-v1",
        "proxy-config all deployment/productpage-v1 -o json",
        "proxy-config log deployment/productpage-v1 --level debug",
        "proxy-config endpoints istio-ingressgateway-6f7d.istio-system --context kind-kind",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        if self.part == Part::Log { levels(place, &self) } else { show(place, &self) }
    }
}

/// The response of the proxy's admin interface.
async fn ask(mesh: &Mesh, target: &Target, page: &str, post: bool) -> Result<Bytes, Failure> {
    mesh.proxy(&ProxyQuery { target: target.clone(), page: page.into(), post }).await
}

/// Prints or changes the log level of the proxy.
fn levels(place: &Place, arguments: &ProxyConfig) -> Result<(), Failure> {
    if arguments.output == Output::Name {
        return Err(unnamed());
    }
    let level = match &arguments.level {
        Some(level) => Some(level.replace(' ', "")),
        None => arguments.reset.then(|| USUAL_LEVEL.into()),
    };
    if let Some(level) = &level {
        api::process::log::level(level)
            .map_err(|error| Failure::blocked(error, "use one of these with --level"))?;
    }
    let page = level.map_or("/logging".into(), |level| format!("/logging?level={level}"));
    let text = block_on(async {
        let mesh = place.mesh().await?;
        let target = resource::proxy(&arguments.pod, place.namespace(), mesh.namespace());
        ask(&mesh, &target, &page, true).await
    })?;
    let text = String::from_utf8_lossy(&text);
    print::out(&print::document(&log::levels(&text), arguments.output).unwrap_or_else(|| text.into_owned()));
    Ok(())
}

fn unnamed() -> Failure {
    Failure::blocked("-o name is not supported by proxy-config", "use -o table, json or yaml")
}

fn show(place: &Place, arguments: &ProxyConfig) -> Result<(), Failure> {
    if arguments.level.is_some() || arguments.reset {
        return Err(Failure::blocked(
            "--level and --reset need `proxy-config log`",
            "write `ostria proxy-config log POD --level LEVEL`",
        ));
    }
    let (health, given) = block_on(async {
        let mesh = place.mesh().await?;
        let target = resource::proxy(&arguments.pod, place.namespace(), mesh.namespace());
        // A deployment may have several pods: all requests are about the same one.
        let target = mesh.find(&target).await?;
        // Whether an endpoint is ejected is no configuration: only the page of the clusters shows it.
        let health = match arguments.part {
            Part::Endpoints | Part::All => {
                resource::json(&ask(&mesh, &target, "/clusters?format=json", false).await?)?
            }
            _ => Value::Null,
        };
        let given = match arguments.part {
            Part::Endpoints => health.clone(),
            _ => resource::json(&ask(&mesh, &target, "/config_dump?include_eds", false).await?)?,
        };
        Ok((health, given))
    })?;
    if let Some(text) = print::document(&chosen(&given, arguments.part), arguments.output) {
        print::out(&text);
        return Ok(());
    }
    if arguments.output == Output::Name {
        return Err(unnamed());
    }
    if arguments.part == Part::Bootstrap {
        // The bootstrap is printed as JSON, as istioctl does, because it has no table.
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
            Part::Endpoints => endpoints::render(&health),
            Part::Secrets => secrets::render(&given, print::now()),
            Part::Ecds => ecds::render(&given),
            Part::Clusters | Part::Bootstrap | Part::Log | Part::All => clusters::render(&given),
        })
        .collect();
    print::table(&tables.join("\n"));
    Ok(())
}

/// The sections of the dump that belong to a part.
fn chosen(dump: &Value, part: Part) -> Value {
    let section = match part {
        Part::All | Part::Log => return dump.clone(),
        Part::Endpoints => return dump["cluster_statuses"].clone(),
        Part::Bootstrap => "BootstrapConfigDump",
        Part::Ecds => "EcdsConfigDump",
        Part::Listeners => "ListenersConfigDump",
        Part::Routes => "RoutesConfigDump",
        Part::Clusters => "ClustersConfigDump",
        Part::Secrets => "SecretsConfigDump",
    };
    let sections = dump["configs"].as_array().into_iter().flatten();
    sections
        .filter(|entry| entry["@type"].as_str().is_some_and(|kind| kind.ends_with(section)))
        .cloned()
        .collect()
}

/// The default log level of a proxy.
const USUAL_LEVEL: &str = "info";
