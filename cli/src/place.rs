//! Where a verb acts: on a mesh of this machine, or on a cluster. All verbs decide it here, by the flags that all verbs
//! have.
//!
//! `--context` or `--kubeconfig` selects a cluster, and `--state` a mesh on this machine. Without any of them, a mesh that
//! runs on this machine is used, and otherwise the cluster of the kubeconfig.

use clap::{ArgMatches, FromArgMatches};
use kubernetes::client::Access;
use kubernetes::user;

use crate::arguments::Flags;
use crate::client::cluster::{Cluster, Names};
use crate::client::local::Local;
use crate::client::mesh::Mesh;
use crate::failure::Failure;
use crate::state::State;
use crate::state::lock;

/// Where a verb acts.
#[derive(Debug, Clone)]
pub struct Place {
    flags: Flags,
    state: State,
}

impl Place {
    /// The place that a command line selects.
    pub fn of(matches: &ArgMatches) -> Self {
        Self::new(Flags::from_arg_matches(matches).unwrap_or_else(|error| error.exit()))
    }

    fn new(flags: Flags) -> Self {
        let state = State::new(flags.state.clone());
        Self { flags, state }
    }

    /// The mesh that the verb acts on.
    pub async fn mesh(&self) -> Result<Mesh, Failure> {
        match self.choice() {
            Choice::Local => {
                lock::running(&self.state)?;
                Ok(Mesh::Local(Local::new(self.state.clone(), self.flags.namespace.clone())))
            }
            Choice::Cluster => Ok(Mesh::Cluster(self.cluster().await?)),
            Choice::Neither => Err(lock::foreign(&self.state).unwrap_or_else(|| {
                Failure::blocked(
                    "no mesh is running on this machine, and there is no kubeconfig of a cluster",
                    "start a mesh with `ostria up FOLDER` or select its folder with --state; or name a cluster's \
                     kubeconfig with --kubeconfig or KUBECONFIG",
                )
            })),
        }
    }

    /// Whether there is a mesh or a cluster to act on, as far as this machine knows.
    pub fn is_somewhere(&self) -> bool {
        self.choice() != Choice::Neither
    }

    fn choice(&self) -> Choice {
        let flags = Given { cluster: self.names_cluster(), state: self.flags.state.is_some() };
        choose(flags, lock::running(&self.state).is_ok(), user::is_configured())
    }

    /// The cluster, for verbs that act on nothing else.
    pub async fn cluster(&self) -> Result<Cluster, Failure> {
        let access = self.access();
        let names =
            Names { namespace: self.flags.namespace.clone(), root: self.flags.istio_namespace.clone() };
        Cluster::connect(&access, names).await
    }

    /// The kubeconfig and the context that the flags name.
    pub fn access(&self) -> Access {
        Access { kubeconfig: self.flags.kubeconfig.clone(), context: self.flags.context.clone() }
    }

    /// The namespace of the control plane, for verbs that act on nothing else: what -n or --istio-namespace names.
    pub fn root(&self) -> &str {
        self.flags.namespace.as_deref().unwrap_or(&self.flags.istio_namespace)
    }

    /// The state folder, for verbs that act only on this machine. `instead` is what such a verb's user does in a cluster.
    pub fn local(&self, verb: &str, instead: &str) -> Result<&State, Failure> {
        if self.names_cluster() {
            let reason = format!(
                "`ostria {verb}` acts on this machine only, and --context or --kubeconfig names a cluster"
            );
            return Err(Failure::blocked(reason, instead));
        }
        Ok(&self.state)
    }

    /// The state folder, whatever the flags select.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The namespace that the user named.
    pub fn namespace(&self) -> Option<&str> {
        self.flags.namespace.as_deref()
    }

    /// Namespace of the control plane in a cluster.
    pub fn istio_namespace(&self) -> &str {
        &self.flags.istio_namespace
    }

    /// Whether the flags select a cluster.
    pub fn names_cluster(&self) -> bool {
        self.flags.context.is_some() || self.flags.kubeconfig.is_some()
    }
}

/// What the flags select.
#[derive(Debug, Clone, Copy)]
struct Given {
    cluster: bool,
    state: bool,
}

/// Where the verb acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Local,
    Cluster,
    Neither,
}

/// Decides by the flags, whether a mesh runs on this machine, and whether there is a kubeconfig.
fn choose(given: Given, runs: bool, configured: bool) -> Choice {
    match (given, runs, configured) {
        (Given { cluster: true, .. }, ..) => Choice::Cluster,
        (Given { state: true, .. }, ..) | (_, true, _) => Choice::Local,
        (_, false, true) => Choice::Cluster,
        (_, false, false) => Choice::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_decide_before_a_running_mesh_and_that_before_the_kubeconfig() {
        let table = [
            ((false, false), true, true, Choice::Local),
            ((false, false), true, false, Choice::Local),
            ((false, false), false, true, Choice::Cluster),
            ((false, false), false, false, Choice::Neither),
            ((false, true), false, true, Choice::Local),
            ((false, true), false, false, Choice::Local),
            ((true, false), true, false, Choice::Cluster),
            ((true, true), true, true, Choice::Cluster),
        ];
        for ((cluster, state), runs, configured, expected) in table {
            let given = Given { cluster, state };
            assert_eq!(choose(given, runs, configured), expected, "{given:?} {runs} {configured}");
        }
    }

    #[test]
    fn a_verb_of_this_machine_refuses_a_cluster_and_says_what_to_do_there() {
        let place = |context: Option<&str>| {
            Place::new(Flags { context: context.map(str::to_owned), ..Flags::default() })
        };
        assert!(place(None).local("down", "run `ostria uninstall`").is_ok());
        let failure = place(Some("c")).local("down", "run `ostria uninstall`").unwrap_err().to_string();
        assert!(failure.ends_with("next: run `ostria uninstall`"), "{failure}");
    }
}
