//! `ostria install`: installs the chart into a cluster, or upgrades it, with a check before and after.

use std::path::PathBuf;
use std::time::Duration;

use api::process::duration;
use clap::{ArgAction, Args};

use crate::check::finding::Report;
use crate::check::plane::Plane;
use crate::check::readiness::Progress;
use crate::client::cluster::Cluster;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::helm::release::{self, Mode, Profile, Values};
use crate::helm::{chart, program};
use crate::place::Place;
use crate::survey::release::{installed, wait};
use crate::verb::entry::Verb;
use crate::verb::plane::{checked, place_of, precheck, revision, target, word};
use crate::verb::print;
use crate::view::findings;

/// `ostria install`
#[derive(Debug, Args)]
pub struct Install {
    /// What is installed
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// File of values for the chart; may be repeated, the last one wins
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A value for the chart, such as pilot.replicas=3; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// A value that is text, such as global.tag=1
    #[arg(long, value_name = "PATH=VALUE")]
    set_string: Vec<String>,
    /// Name of this control plane beside others; namespaces choose it by the label istio.io/rev
    #[arg(short, long, value_name = "NAME")]
    revision: Option<String>,
    /// On an upgrade, keep the values that were given before where none are given
    #[arg(long)]
    reuse_values: bool,
    /// Return when all parts are ready and checked; with --wait=false as soon as they are created
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    wait: bool,
    /// How long to wait for the parts to be ready, such as 30s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
    /// Print what would be installed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long, visible_alias = "skip-confirmation")]
    yes: bool,
    /// Install although the check before finds errors
    #[arg(long)]
    force: bool,
}

impl Verb for Install {
    const NAME: &'static str = "install";
    const ALIASES: &'static [&'static str] = &["upgrade"];
    const ABOUT: &'static str = "Install the mesh in a cluster, or upgrade it";
    const EXAMPLES: &'static [&'static str] = &[
        "install",
        "install --profile demo --yes",
        "install -f values.yaml --set pilot.replicas=3",
        "install --revision canary --set ingressGateway.enabled=false",
        "install --dry-run",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        program::require()?;
        block_on(async {
            let cluster = place.cluster().await?;
            let namespace = place.root().to_owned();
            let plane = Plane { namespace, revision: revision(self.revision.as_deref()), tags: vec![] };
            self.install(place, &cluster, &plane).await
        })
    }
}

impl Install {
    async fn install(&self, place: &Place, cluster: &Cluster, plane: &Plane) -> Result<(), Failure> {
        let folder = tempfile::tempdir().map_err(|error| no_folder(&error))?;
        chart::write(folder.path()).map_err(|error| no_folder(&error))?;
        let release = self.release(cluster, plane).await?;
        let target = target(place, plane);
        let line = |mode| release::install(&release, folder.path(), &target, &self.values(plane), mode);
        if self.dry_run {
            print::out(&release::manifest(&program::run(&line(Mode::DryRun))?));
            return Ok(());
        }
        self.is_ready_for(&precheck(cluster, plane, &release).await?)?;
        let what = format!(
            "This installs Ostria {} (profile {}, revision {}) into namespace {} of {}.",
            env!("CARGO_PKG_VERSION"),
            format!("{:?}", self.profile).to_lowercase(),
            word(&plane.revision),
            plane.namespace,
            place_of(cluster),
        );
        print::confirm(&what, self.yes)?;
        program::run(&line(Mode::Apply))?;
        print::out(&format!("release {release} is installed in namespace {}\n", plane.namespace));
        if !self.wait {
            return Ok(());
        }
        self.until_ready(cluster, plane, &release).await?;
        let report = settled(cluster, plane).await?;
        print::table(&findings::render(&report));
        print::out(&next(plane));
        if report.errors > 0 { Err(Failure::Exit(1)) } else { Ok(()) }
    }

    /// The release of the control plane that exists, or the name of a further one.
    async fn release(&self, cluster: &Cluster, plane: &Plane) -> Result<String, Failure> {
        let all = installed(cluster.client(), &plane.namespace).await;
        let all = all.map_err(|error| cluster.failure(&error))?;
        let same = all.into_iter().find(|one| one.revision == plane.revision);
        match same.map(|one| one.release) {
            Some(Some(release)) => Ok(release),
            None => Ok(release::name(&plane.revision)),
            Some(None) => Err(Failure::blocked(
                format!(
                    "revision {} in {} was not installed by Helm",
                    word(&plane.revision),
                    plane.namespace
                ),
                "upgrade it as it was installed (helm template … | kubectl apply -f -), or delete it first",
            )),
        }
    }

    fn values(&self, plane: &Plane) -> Values {
        Values {
            profile: self.profile,
            files: self.files.clone(),
            set: self.set.clone(),
            set_string: self.set_string.clone(),
            revision: plane.revision.clone(),
            reuse: self.reuse_values,
        }
    }

    /// Prints the findings before an installation that need something; fails if there are errors.
    fn is_ready_for(&self, report: &Report) -> Result<(), Failure> {
        let concerns: Vec<_> =
            report.findings.iter().filter(|finding| finding.next.is_some()).cloned().collect();
        if !concerns.is_empty() {
            print::table(&findings::render(&Report::of(concerns)));
        }
        if report.errors == 0 || self.force {
            return Ok(());
        }
        Err(Failure::blocked(
            "the cluster is not ready for an installation; nothing was changed",
            "correct the errors above, or install with --force",
        ))
    }

    async fn until_ready(&self, cluster: &Cluster, plane: &Plane, release: &str) -> Result<(), Failure> {
        let labels = format!("app.kubernetes.io/part-of=ostria,app.kubernetes.io/instance={release}");
        let tell = |progress: &Progress| print::out(&format!("{}\n", progress.text()));
        let all = wait(cluster.client(), (&plane.namespace, &labels), self.timeout, tell).await;
        let all = all.map_err(|error| cluster.failure(&error))?;
        let waits: Vec<String> = all.iter().filter(|one| !one.is_complete).map(Progress::text).collect();
        if waits.is_empty() && !all.is_empty() {
            return Ok(());
        }
        Err(Failure::blocked(
            format!("not ready after {}: {}", duration::display(self.timeout), waits.join("; ")),
            format!("kubectl -n {} get pods,events; run `ostria check` when they are ready", plane.namespace),
        ))
    }
}

/// The check of what was installed. Webhooks respond a moment after their pods are ready, so it is repeated for a while
/// if something is wrong.
async fn settled(cluster: &Cluster, plane: &Plane) -> Result<Report, Failure> {
    let mut tries = TRIES;
    loop {
        let report = Report::of(checked(cluster, &plane.namespace, std::slice::from_ref(plane)).await?);
        tries -= 1;
        if tries == 0 || report.errors + report.warnings == 0 {
            return Ok(report);
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

/// What a user does after the installation.
fn next(plane: &Plane) -> String {
    let (key, value) = plane.selectors().swap_remove(0);
    format!(
        "next: put a namespace into the mesh, and restart what runs there already:\n  kubectl label namespace default \
         {key}={value}\n  kubectl -n default rollout restart deployment\n"
    )
}

fn no_folder(error: &std::io::Error) -> Failure {
    Failure::blocked(
        format!("the chart cannot be written to the folder for temporary files: {error}"),
        "free some space, or name another folder by TMPDIR",
    )
}

/// How often the check is repeated, and how long between.
const TRIES: usize = 5;
const BETWEEN: Duration = Duration::from_secs(2);
