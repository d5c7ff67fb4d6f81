//! `ostria check`: whether a cluster is ready for an installation, and whether what is installed works.

use std::time::Duration;

use api::process::duration;
use clap::{Args, ValueEnum};

use crate::check::finding::Report;
use crate::check::plane::Plane;
use crate::client::cluster::Cluster;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::helm::release;
use crate::place::Place;
use crate::survey::probe;
use crate::survey::release::Installed;
use crate::verb::entry::Verb;
use crate::verb::plane::{checked, precheck, revision, word};
use crate::verb::print;
use crate::view::findings;

/// `ostria check`
#[derive(Debug, Args)]
pub struct Check {
    /// Check whether the cluster is ready for an installation, as istioctl's `x precheck` does
    #[arg(long, conflicts_with_all = ["probe", "probe_image"])]
    pre: bool,
    /// Only the control plane of this revision; with --pre, the one that is to be installed
    #[arg(short, long, value_name = "NAME")]
    revision: Option<String>,
    /// Also call a pod over mutual TLS: starts two pods in a namespace of their own, and removes it
    #[arg(long)]
    probe: bool,
    /// The image of these pods; without it, ostria-echo of the registry that the injector comes from
    #[arg(long, value_name = "IMAGE", requires = "probe")]
    probe_image: Option<String>,
    /// How long the probe may take, such as 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    /// Format: table, json or yaml
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
}

impl Verb for Check {
    const NAME: &'static str = "check";
    const ALIASES: &'static [&'static str] = &["precheck", "verify-install"];
    const ABOUT: &'static str = "Check a cluster before an installation, or what is installed in it";
    const EXAMPLES: &'static [&'static str] =
        &["check --pre", "check", "check --revision canary", "check --probe", "check -o json"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        let report = block_on(async {
            let cluster = place.cluster().await?;
            let namespace = place.root().to_owned();
            if self.pre {
                let plane = Plane { namespace, revision: revision(self.revision.as_deref()), tags: vec![] };
                let release = release::name(&plane.revision);
                return precheck(&cluster, &plane, &release).await;
            }
            self.installed(&cluster, &namespace).await
        })?;
        match self.output {
            Format::Table => print::table(&findings::render(&report)),
            Format::Json => print::out(&print::json(&report)),
            Format::Yaml => print::out(&print::yaml(&report)),
        }
        if report.errors > 0 { Err(Failure::Exit(1)) } else { Ok(()) }
    }
}

impl Check {
    async fn installed(&self, cluster: &Cluster, namespace: &str) -> Result<Report, Failure> {
        let wanted = self.revision.as_deref().map(|name| revision(Some(name)));
        let planes = planes(cluster, namespace, wanted.as_deref()).await?;
        let mut findings = checked(cluster, namespace, &planes).await?;
        if self.probe {
            for plane in &planes {
                let image = self.probe_image.clone();
                findings.push(probe::finding(cluster.client(), plane, image, self.timeout).await);
            }
        }
        Ok(Report::of(findings))
    }
}

/// The control planes of a namespace, or the one of a revision. Fails if there is none.
async fn planes(cluster: &Cluster, namespace: &str, revision: Option<&str>) -> Result<Vec<Plane>, Failure> {
    let all = crate::survey::release::installed(cluster.client(), namespace).await;
    let all = all.map_err(|error| cluster.failure(&error))?;
    let chosen = all.iter().filter(|one| revision.is_none_or(|revision| one.revision == revision));
    let plane = |one: &Installed| Plane {
        namespace: namespace.to_owned(),
        revision: one.revision.clone(),
        tags: vec![],
    };
    let planes: Vec<Plane> = chosen.map(plane).collect();
    if planes.is_empty() {
        let of = revision.map(|name| format!(" of revision {}", word(name))).unwrap_or_default();
        return Err(Failure::blocked(
            format!("no control plane{of} is installed in namespace {namespace}"),
            "install one with `ostria install`, or name its namespace with -n",
        ));
    }
    Ok(planes)
}
