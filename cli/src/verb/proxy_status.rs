//! `ostria proxy-status`: all proxies in a table, or one proxy's configuration compared with pilot's.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::Output;
use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::proxy::compare::Comparison;
use crate::view::sync;
use crate::wire::ProxyQuery;

/// `ostria proxy-status`
#[derive(Debug, Args)]
pub struct ProxyStatus {
    /// Compare what pilot holds for this pod's proxy with what the proxy runs. The pod is named as POD, POD.NAMESPACE or
    /// deployment/NAME. The exit code is 1 if they differ, and 2 if they cannot be compared
    pod: Option<String>,
    /// Format: table, json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Verb for ProxyStatus {
    const NAME: &'static str = "proxy-status";
    const ALIASES: &'static [&'static str] = &["ps"];
    const ABOUT: &'static str = "Show whether proxies have what pilot sent, or compare one proxy with pilot";
    const EXAMPLES: &'static [&'static str] = &[
        "proxy-status",
        "proxy-status deployment/reviews-v1",
        "proxy-status deployment/istio-ingressgateway -n istio-system -o json",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        if self.output == Output::Name {
            return Err(Failure::blocked(
                "-o name is not supported by proxy-status",
                "use -o table, json or yaml",
            ));
        }
        match &self.pod {
            None => list(place, &self),
            Some(pod) => compare(place, pod, self.output),
        }
    }
}

fn list(place: &Place, arguments: &ProxyStatus) -> Result<(), Failure> {
    let wanted = |name: &str| {
        let namespace = name.rsplit_once('.').map_or("", |(_, namespace)| namespace);
        place.namespace().is_none_or(|wanted| wanted == namespace)
    };
    let proxies = block_on(async { proxies(&place.mesh().await?, wanted).await })?;
    match print::document(&proxies, arguments.output) {
        Some(text) => print::out(&text),
        None => {
            print::table(&sync::render(&proxies, env!("CARGO_PKG_VERSION")));
            print::out(&sync::refusals(&proxies));
        }
    }
    Ok(())
}

/// Pilot's rows of the proxies whose name, `POD.NAMESPACE`, is wanted.
async fn proxies(mesh: &Mesh, wanted: impl Fn(&str) -> bool) -> Result<Vec<Value>, Failure> {
    let all = mesh.proxies().await?.into_iter();
    Ok(all.filter(|proxy| wanted(proxy["proxy"].as_str().unwrap_or_default())).collect())
}

/// The result of a comparison, for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    proxy: &'a str,
    matches: bool,
    #[serde(flatten)]
    comparison: &'a Comparison,
    /// The resources that the proxy has rejected, with the reasons.
    refusals: &'a Value,
}

fn compare(place: &Place, pod: &str, output: Output) -> Result<(), Failure> {
    let asked = block_on(async {
        let mesh = place.mesh().await?;
        // A deployment may have several pods: all requests are about the same one.
        let target = mesh.find(&resource::proxy(pod, place.namespace(), mesh.namespace())).await?;
        let name = format!("{}.{}", target.pod, target.namespace);
        let pilot = mesh.pilot(&target).await?;
        let query = ProxyQuery { target, page: "/config_dump?include_eds".into(), post: false };
        let proxy = resource::json(&mesh.proxy(&query).await?)?;
        let rows = proxies(&mesh, |known| known == name).await?;
        Ok((name, Comparison::of(&pilot, &proxy), rows))
    });
    let (name, comparison, rows) = asked.map_err(|failure| Failure::Incomparable(Box::new(failure)))?;
    let refusals: Value =
        rows.iter().filter_map(|row| row["refusals"].as_array()).flatten().cloned().collect();
    let matches = comparison.matches();
    let report = Report { proxy: &name, matches, comparison: &comparison, refusals: &refusals };
    match print::document(&report, output) {
        Some(text) => print::out(&text),
        None => {
            print::out(&comparison.render());
            print::out(&sync::refusals(&rows));
        }
    }
    if matches { Ok(()) } else { Err(differs(&name, &refusals)) }
}

fn differs(name: &str, refusals: &Value) -> Failure {
    let refuses = refusals.as_array().is_some_and(|refusals| !refusals.is_empty());
    Failure::Differs {
        reason: format!("proxy {name} does not run the configuration that pilot holds for it"),
        next: if refuses {
            "correct the object that the refused resource was made from".into()
        } else {
            "a change may be on its way: run the command again".into()
        },
    }
}
