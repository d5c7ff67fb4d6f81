//! `ostria inject`: adds the sidecar to the pods of YAML files, for clusters where the webhook does not.

use std::path::PathBuf;

use api::admission::AdmissionReview;
use api::resource::check::Given;
use api::resource::document::Problem;
use clap::Args;

use crate::arguments::Files;
use crate::client::cluster::Cluster;
use crate::client::cluster::inject::Webhook;
use crate::client::offline::{self, Offline};
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::{Key, text};
use crate::manifest::{read, template};
use crate::place::Place;
use crate::review;
use crate::verb::entry::Verb;
use crate::verb::print;

/// `ostria inject`
#[derive(Debug, Args)]
pub struct Inject {
    /// The files to read.
    #[command(flatten)]
    files: Files,
    /// File to write to, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Revision of the injector to ask; without it, the default one, or the only one
    #[arg(long, value_name = "NAME", conflicts_with = "offline")]
    revision: Option<String>,
    /// Ask no cluster, but the program ostria-injector beside this one, with the settings of the files or the chart's defaults
    #[arg(long)]
    offline: bool,
    /// With --offline: the injector's settings, as in the key config.yaml of the ConfigMap ostria-injector
    #[arg(long = "inject-config", value_name = "FILE", requires = "offline")]
    settings: Option<PathBuf>,
    /// With --offline: the mesh configuration, as in the key mesh of the ConfigMap istio
    #[arg(long, value_name = "FILE", requires = "offline")]
    mesh_config: Option<PathBuf>,
}

impl Verb for Inject {
    const NAME: &'static str = "inject";
    const ALIASES: &'static [&'static str] = &["kube-inject"];
    const ABOUT: &'static str = "Write Kubernetes YAML with the sidecar in its pods";
    const EXAMPLES: &'static [&'static str] = &[
        "inject -f samples/bookinfo/bookinfo.yaml",
        "inject -f samples/bookinfo/bookinfo.yaml -n shop -o injected.yaml",
        "inject -f samples/bookinfo/bookinfo.yaml --offline",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        let given = read::read_any(&self.files.filename, self.files.recursive).map_err(Failure::Refused)?;
        if given.is_empty() {
            return Err(Failure::Nothing("inject"));
        }
        let text = block_on(async {
            let injector = self.injector(place).await?;
            all(&injector, &given, place.namespace()).await
        })?;
        match &self.output {
            None => print::out(&text),
            Some(path) => std::fs::write(path, text).map_err(|error| {
                Failure::blocked(
                    format!("{}: {error}", path.display()),
                    "name a file that can be written with -o",
                )
            })?,
        }
        Ok(())
    }
}

impl Inject {
    async fn injector(&self, place: &Place) -> Result<Injector, Failure> {
        if self.offline {
            let (config, mesh) = (self.settings.clone(), self.mesh_config.clone());
            return Ok(Injector::Offline(Offline::new(config, mesh, place.istio_namespace())?));
        }
        let cluster = place.cluster().await?;
        let webhook = Webhook::find(&cluster, self.revision.as_deref()).await?;
        Ok(Injector::Cluster(Box::new(cluster), webhook))
    }
}

/// Who adds the sidecars.
enum Injector {
    Cluster(Box<Cluster>, Webhook),
    Offline(Offline),
}

impl Injector {
    async fn review(&self, review: &AdmissionReview) -> Result<AdmissionReview, Failure> {
        match self {
            Self::Cluster(cluster, webhook) => webhook.review(cluster, review).await,
            Self::Offline(offline) => offline::review(offline, review).await,
        }
    }
}

/// The objects as YAML documents, with the sidecar in their pods.
async fn all(injector: &Injector, given: &[Given], namespace: Option<&str>) -> Result<String, Failure> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for one in given {
        let own = text(&one.object, "/metadata/namespace");
        let place = if own.is_empty() { namespace.unwrap_or("default") } else { own };
        let Some(pod) = template::pod(&one.object, place) else {
            documents.push(print::yaml(&one.object));
            continue;
        };
        match review::patched(&pod, &injector.review(&review::of(&pod)).await?) {
            Ok(injected) => {
                let object = Key::of(&one.object);
                injected
                    .warnings
                    .iter()
                    .for_each(|warning| eprintln!("Warning: {}: {object}: {warning}", one.file));
                documents.push(print::yaml(&template::with_pod(&one.object, &injected.pod)));
            }
            Err(error) => problems.push(Problem {
                file: one.file.clone(),
                object: Key::of(&one.object).to_string(),
                reason: format!("the injector {error}"),
                next: "correct the pod, or its annotations and labels".into(),
                ..Problem::default()
            }),
        }
    }
    if problems.is_empty() { Ok(documents.join("---\n")) } else { Err(Failure::Refused(problems)) }
}
