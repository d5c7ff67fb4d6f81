//! `ostria uninstall`: removes a control plane from a cluster; with `--purge` all of them, and what they left.

use std::time::Duration;

use api::process::duration;
use clap::Args;

use crate::check::plane::Plane;
use crate::client::cluster::Cluster;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::helm::{program, release};
use crate::place::Place;
use crate::survey::leftover;
use crate::survey::release::{Installed, installed};
use crate::verb::entry::Verb;
use crate::verb::plane::{place_of, revision, target, word};
use crate::verb::print;

/// `ostria uninstall`
#[derive(Debug, Args)]
pub struct Uninstall {
    /// The control plane to remove; needed if there are several
    #[arg(short, long, value_name = "NAME", conflicts_with = "purge")]
    revision: Option<String>,
    /// Remove all control planes of the namespace, the definitions of the mesh's kinds with all objects of users, the root
    /// and the trust bundles
    #[arg(long)]
    purge: bool,
    /// How long to wait until the objects are gone, such as 30s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
    /// Print what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long, visible_alias = "skip-confirmation")]
    yes: bool,
}

impl Verb for Uninstall {
    const NAME: &'static str = "uninstall";
    const ABOUT: &'static str = "Remove the mesh from a cluster";
    const EXAMPLES: &'static [&'static str] = &[
        "uninstall",
        "uninstall --revision canary --yes",
        "uninstall --purge",
        "uninstall --purge --dry-run",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        program::require()?;
        block_on(async {
            let cluster = place.cluster().await?;
            let namespace = place.root().to_owned();
            let all = installed(cluster.client(), &namespace).await;
            let all = all.map_err(|error| cluster.failure(&error))?;
            let wanted = self.revision.as_deref().map(|name| revision(Some(name)));
            let chosen = if self.purge { all } else { choose(all, wanted.as_deref(), &namespace)? };
            self.uninstall(place, &cluster, (&namespace, &chosen)).await
        })
    }
}

impl Uninstall {
    async fn uninstall(
        &self,
        place: &Place,
        cluster: &Cluster,
        (namespace, chosen): (&str, &[Installed]),
    ) -> Result<(), Failure> {
        let client = cluster.client();
        let leftovers = leftover::list(client, namespace).await.map_err(|error| cluster.failure(&error))?;
        let releases = releases(chosen, namespace)?;
        if releases.is_empty() && (!self.purge || leftovers.is_empty()) {
            return Err(Failure::blocked(
                format!("nothing of Ostria is installed in namespace {namespace}"),
                "name the namespace of the control plane with -n",
            ));
        }
        let mut what: Vec<String> =
            releases.iter().map(|release| format!("Helm release {release}")).collect();
        if self.purge {
            what.extend(leftovers.iter().map(leftover::Leftover::text));
        }
        let text = format!(
            "This removes from {}:\n  {}\n{}",
            place_of(cluster),
            what.join("\n  "),
            if self.purge { PURGED } else { KEPT }
        );
        if self.dry_run {
            print::out(&format!("{text}\n"));
            return Ok(());
        }
        print::confirm(&text, self.yes)?;
        for release in &releases {
            let plane = Plane { namespace: namespace.to_owned(), ..Plane::default() };
            program::run(&release::uninstall(release, &target(place, &plane), self.timeout.as_secs()))?;
            print::out(&format!("release {release} is uninstalled\n"));
        }
        if self.purge {
            for leftover in &leftovers {
                leftover.delete(client).await.map_err(|error| cluster.failure(&error))?;
                print::out(&format!("{} is deleted\n", leftover.text()));
            }
        } else if !leftovers.is_empty() {
            let number = leftovers.len();
            print::out(&format!("{number} objects stay (see `ostria uninstall --purge --dry-run`)\n"));
        }
        Ok(())
    }
}

/// The control plane of the revision, or the only one.
fn choose(all: Vec<Installed>, revision: Option<&str>, namespace: &str) -> Result<Vec<Installed>, Failure> {
    let names: Vec<&str> = all.iter().map(|one| word(&one.revision)).collect();
    let names = names.join(", ");
    if let Some(revision) = revision {
        let chosen: Vec<Installed> = all.into_iter().filter(|one| one.revision == revision).collect();
        if chosen.is_empty() {
            let there =
                if names.is_empty() { "none is installed".into() } else { format!("there is {names}") };
            return Err(Failure::blocked(
                format!("no control plane of revision {} in namespace {namespace}", word(revision)),
                there,
            ));
        }
        return Ok(chosen);
    }
    if all.len() > 1 {
        return Err(Failure::blocked(
            format!("namespace {namespace} has several control planes: {names}"),
            "name one with --revision, or remove all with --purge",
        ));
    }
    Ok(all)
}

/// The Helm releases of control planes.
fn releases(chosen: &[Installed], namespace: &str) -> Result<Vec<String>, Failure> {
    let release = |one: &Installed| {
        one.release.clone().ok_or_else(|| {
            Failure::blocked(
                format!("revision {} in {namespace} was not installed by Helm", word(&one.revision)),
                "delete what was applied (helm template … | kubectl delete -f -)",
            )
        })
    };
    chosen.iter().map(release).collect()
}

const KEPT: &str =
    "Pods with a sidecar keep running with their last configuration until their certificate ends.";
const PURGED: &str = "With the definitions, all objects of these kinds are deleted. Pods with a sidecar keep running with \
                      their last configuration until their certificate ends.";

#[cfg(test)]
mod tests {
    use super::*;

    fn one(revision: &str, release: Option<&str>) -> Installed {
        Installed { revision: revision.into(), release: release.map(str::to_owned), version: String::new() }
    }

    #[test]
    fn one_of_several_control_planes_must_be_named() {
        let both = || vec![one("", Some("ostria")), one("canary", Some("next"))];
        assert_eq!(choose(vec![one("canary", None)], None, "m").unwrap().len(), 1);
        assert_eq!(choose(both(), Some("canary"), "m").unwrap()[0].release.as_deref(), Some("next"));
        let several = choose(both(), None, "m").unwrap_err().to_string();
        assert!(several.contains("default, canary"), "{several}");
        assert!(choose(both(), Some("other"), "m").is_err());
    }

    #[test]
    fn a_control_plane_without_a_release_is_not_uninstalled() {
        assert_eq!(releases(&[one("", Some("ostria"))], "m").unwrap(), ["ostria"]);
        let failure = releases(&[one("", None)], "m").unwrap_err().to_string();
        assert!(failure.contains("not installed by Helm"), "{failure}");
    }
}
