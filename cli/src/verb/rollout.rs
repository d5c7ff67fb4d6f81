//! `ostria rollout`: shows the progress and the history of rollouts, restarts pods and restores earlier revisions.

use std::time::Duration;

use api::process::duration;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::Key;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::form::Form;
use crate::view::rollout::{self, CAUSE, Progress};
use crate::wire::{Revision, Watched};

/// `ostria rollout`
#[derive(Debug, Args)]
pub struct Rollout {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Wait until a rollout is complete
    Status {
        #[command(flatten)]
        target: Target,
        /// Watch the rollout until it is complete; with --watch=false, print its status once
        #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
        watch: bool,
        /// How long to wait, such as 30s; without it, no limit
        #[arg(long, value_parser = duration::parse)]
        timeout: Option<Duration>,
    },
    /// Restart all pods, one after the other
    Restart {
        #[command(flatten)]
        target: Target,
    },
    /// Restore an earlier revision
    Undo {
        #[command(flatten)]
        target: Target,
        /// Revision to restore; 0 for the previous one
        #[arg(long, default_value_t = 0)]
        to_revision: u64,
    },
    /// List the revisions, or show one
    History {
        #[command(flatten)]
        target: Target,
        /// Revision to show
        #[arg(long)]
        revision: Option<u64>,
    },
}

#[derive(Debug, Args)]
struct Target {
    /// deployment/NAME or statefulset/NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    words: Vec<String>,
    /// Format of the object or its revisions: json, yaml, name, jsonpath=TEMPLATE or custom-columns=HEAD:PATH,...
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: Form,
}

impl Target {
    /// Prints an object, or `words` if no format was chosen.
    fn print(&self, object: &Value, words: &str) -> Result<(), Failure> {
        print::object(&self.output, object, &format!("{words}\n"))
    }

    fn has_format(&self) -> bool {
        !matches!(self.output, Form::Table | Form::Wide)
    }
}

impl Verb for Rollout {
    const NAME: &'static str = "rollout";
    const ABOUT: &'static str = "Manage the rollout of a Deployment or StatefulSet";
    const EXAMPLES: &'static [&'static str] = &[
        "rollout status deployment/reviews-v1 --timeout 60s",
        "rollout restart deployment/reviews-v1",
        "rollout history deployment/reviews-v1",
        "rollout history deployment/reviews-v1 -o json",
        "rollout undo deployment/reviews-v1 --to-revision 1",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        block_on(async {
            let mesh = place.mesh().await?;
            match &self.action {
                Action::Status { target, watch, timeout } => {
                    let followed = status(&mesh, target, *watch);
                    match timeout {
                        None => followed.await,
                        Some(limit) => tokio::time::timeout(*limit, followed).await.unwrap_or_else(|_| {
                            Err(Failure::blocked(
                                "timed out waiting for the rollout",
                                "look at `ostria get pods` and `ostria events`",
                            ))
                        }),
                    }
                }
                Action::Restart { target } => restart(&mesh, target).await,
                Action::Undo { target, to_revision } => undo(&mesh, target, *to_revision).await,
                Action::History { target, revision } => history(&mesh, target, *revision).await,
            }
        })
    }
}

async fn status(mesh: &Mesh, target: &Target, follow: bool) -> Result<(), Failure> {
    let (kind, name) = resource::one(&target.words, "rollout status", KINDS)?;
    let mut watch = mesh.watch(&resource::query(kind, Some(&name), Some(mesh.namespace()))).await?;
    let mut printed = String::new();
    let mut seen = false;
    while let Some(watched) = watch.next().await? {
        let object = match watched {
            Watched::Added(object) | Watched::Modified(object) => object,
            Watched::Bookmark if seen => continue,
            Watched::Bookmark | Watched::Deleted(_) => return Err(resource::missing(kind, &name)),
        };
        seen = true;
        match rollout::progress(&object) {
            Progress::Done(words) => return target.print(&object, &words),
            Progress::Failed(words) => return Err(Failure::blocked(words, "look at `ostria events`")),
            // With a format, the object is printed once, at the end.
            Progress::Waiting(words) if words != printed && !(follow && target.has_format()) => {
                target.print(&object, &words)?;
                printed = words;
            }
            Progress::Waiting(_) => {}
        }
        if !follow {
            return Ok(());
        }
    }
    Err(Failure::blocked("the mesh ended", "start it again with `ostria up`"))
}

async fn found(mesh: &Mesh, target: &Target, verb: &str) -> Result<Value, Failure> {
    let (kind, name) = resource::one(&target.words, verb, KINDS)?;
    resource::object(mesh, kind, mesh.namespace(), &name).await
}

async fn restart(mesh: &Mesh, target: &Target) -> Result<(), Failure> {
    let object = found(mesh, target, "rollout restart").await?;
    let now = time::OffsetDateTime::from_unix_timestamp(print::now())
        .ok()
        .and_then(|now| now.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default();
    resource::edit(mesh, &object, |object| {
        object["spec"]["template"]["metadata"]["annotations"][RESTARTED] = json!(now);
    })
    .await?;
    let restarted = found(mesh, target, "rollout restart").await?;
    target.print(&restarted, &format!("{} restarted", Key::of(&object).printed()))
}

async fn revisions(mesh: &Mesh, object: &Value) -> Result<Vec<Revision>, Failure> {
    let key = Key::of(object);
    let kind = resource::kind(&key.kind)?;
    mesh.history(&resource::query(kind, Some(&key.name), Some(&key.namespace))).await
}

async fn undo(mesh: &Mesh, target: &Target, wanted: u64) -> Result<(), Failure> {
    let object = found(mesh, target, "rollout undo").await?;
    let printed = Key::of(&object).printed();
    let revisions = revisions(mesh, &object).await?;
    let chosen = match wanted {
        0 => revisions.iter().rev().nth(1),
        number => revisions.iter().find(|revision| revision.number == number),
    };
    let next = "list the revisions with `ostria rollout history`";
    let chosen = chosen.ok_or_else(|| match wanted {
        0 => Failure::blocked(format!("no rollout history found for {printed}"), next),
        number => Failure::blocked(format!("unable to find specified revision {number} in history"), next),
    })?;
    if object["spec"]["template"] == chosen.template {
        let number = chosen.number;
        let words =
            format!("{printed} skipped rollback (current template already matches revision {number})");
        return target.print(&object, &words);
    }
    resource::edit(mesh, &object, |object| {
        object["spec"]["template"] = chosen.template.clone();
        if !chosen.cause.is_empty() {
            object["metadata"]["annotations"][CAUSE] = json!(chosen.cause);
        }
    })
    .await?;
    let restored = found(mesh, target, "rollout undo").await?;
    target.print(&restored, &format!("{printed} rolled back"))
}

async fn history(mesh: &Mesh, target: &Target, number: Option<u64>) -> Result<(), Failure> {
    let object = found(mesh, target, "rollout history").await?;
    let printed = Key::of(&object).printed();
    let revisions = revisions(mesh, &object).await?;
    let Some(number) = number else {
        let objects: Vec<Value> =
            revisions.iter().map(|revision| rollout::revision(&object, revision)).collect();
        print::out(&if target.has_format() {
            print::formed(&target.output, &objects, false, true)?
        } else {
            rollout::history(&printed, &revisions)
        });
        return Ok(());
    };
    let chosen = revisions.iter().find(|revision| revision.number == number).ok_or_else(|| {
        Failure::blocked(
            format!("unable to find the specified revision {number}"),
            "list the revisions with `ostria rollout history`",
        )
    })?;
    // The words end with a line break already.
    let words = format!("{printed} with revision #{number}\n{}", print::yaml(&chosen.template));
    target.print(&rollout::revision(&object, chosen), words.trim_end_matches('\n'))
}

const KINDS: &[&str] = &["Deployment", "StatefulSet"];
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
