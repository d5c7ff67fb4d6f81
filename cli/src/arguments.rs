//! The command line: its flags and its internal commands, with their help texts. This file holds no behaviour. The
//! arguments of the other verbs are in their own files under `verb`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use api::process::{duration, log};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// A service mesh, on one machine or on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "ostria", version, arg_required_else_help = true, subcommand_required = true)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

/// The flags of every verb.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Flags {
    /// Namespace of the objects; without it, that of the kubeconfig's context, or default
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Act on the cluster of this context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Act on a cluster of this kubeconfig, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the control plane in the cluster
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "istio-system",
        alias = "istioNamespace"
    )]
    pub istio_namespace: String,
    /// Act on the mesh on this machine that has this state folder
    #[arg(long, global = true, value_name = "DIR", env = "OSTRIA_STATE")]
    pub state: Option<PathBuf>,
}

/// Commands beside the verbs: `completion`, and the hidden commands that `ostria` runs inside a pod or on the host.
#[derive(Debug, Subcommand)]
pub enum Inner {
    /// Print a completion script
    #[command(after_help = "Examples:\n  source <(ostria completion bash)", display_order = 100)]
    Completion {
        /// The shell to complete for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Create a pod's namespaces
    #[command(hide = true)]
    Sandbox(Hidden),
    /// Run as the first process of a pod
    #[command(hide = true)]
    PodInit,
    /// Set up a container and run its program
    #[command(hide = true)]
    Container(Hidden),
    /// Send a request to the admin interface of this pod's proxy
    #[command(hide = true)]
    Fetch {
        /// Path of the request
        path: String,
        /// Send POST instead of GET, to change something
        #[arg(long)]
        post: bool,
    },
    /// Copy standard input and output to and from a port of this pod
    #[command(hide = true)]
    Connect {
        /// Port to connect to
        port: u16,
    },
    /// Open listeners in the host's network namespace
    #[command(hide = true)]
    HostListen,
    /// Run a program that is killed when its parent ends
    #[command(hide = true)]
    Guard(Guard),
}

/// The command line without the verbs, which `verb::TABLE` lists.
pub fn base() -> clap::Command {
    // `augment_subcommands` would replace the description by that of `Inner`.
    Inner::augment_subcommands(Arguments::command())
        .about("A service mesh, on one machine or on Kubernetes")
        .long_about(None)
        .after_help(PLACE)
}

/// Where verbs act, for `--help`.
const PLACE: &str = "\
Verbs act on the mesh that runs on this machine, if there is one, and otherwise on the cluster of the kubeconfig
($KUBECONFIG or ~/.kube/config). --state selects a mesh on this machine; --context and --kubeconfig select a cluster.";

/// `ostria up`
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Files or folders of Kubernetes YAML
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Return when all pods are ready; exit with code 1 if they are not ready in time
    #[arg(short, long)]
    pub detach: bool,
    /// How long to wait for the pods to be ready, such as 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub wait: Duration,
    /// Host address for port 80 of the ingress gateway
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9080)))]
    pub gateway: SocketAddr,
    /// Host address for port 443 of the ingress gateway
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub gateway_https: Option<SocketAddr>,
    /// Let pods connect to addresses outside the mesh
    #[arg(long)]
    pub egress: bool,
    /// Log level of the control plane
    #[arg(long, default_value = "info", value_parser = log::level)]
    pub log_level: String,
    /// Run as the detached process itself
    #[arg(long, hide = true)]
    pub background: bool,
}

/// Files with objects, given as to kubectl.
#[derive(Debug, Args)]
pub struct Files {
    /// File, folder, or - for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Read subfolders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `ostria apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The files to apply.
    #[command(flatten)]
    pub files: Files,
    /// Only check the objects: with `server` in the running mesh, with `client` without it
    #[arg(long, value_enum, value_name = "none|server|client", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "none", default_missing_value = "server", hide_possible_values = true)]
    pub dry_run: DryRun,
    /// Return when every proxy has acknowledged the change; with --wait=false as soon as it is stored
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait for the proxies, such as 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// In a cluster, take over fields that another tool has set, such as kubectl or Helm
    #[arg(long)]
    pub force_conflicts: bool,
    /// Print the objects as json or yaml, or only their kinds and names
    #[arg(short, long, value_enum, hide_possible_values = true, value_name = "json|yaml|name")]
    pub output: Option<Printed>,
}

/// How changed objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Printed {
    /// As JSON
    Json,
    /// As YAML
    Yaml,
    /// Only kind and name
    Name,
}

/// Whether a change is made or only checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum DryRun {
    /// The change is made.
    #[default]
    None,
    /// The running mesh checks the change and does not make it.
    Server,
    /// Only the objects themselves are checked, without a running mesh.
    Client,
}

/// `ostria delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// File, folder, or - for standard input
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with = "kind")]
    pub filename: Vec<PathBuf>,
    /// Read subfolders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Do not fail when an object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Return when every proxy has dropped the objects; with --wait=false as soon as they are deleted
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait for the proxies, such as 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Format: name, for kinds and names only
    #[arg(short, long, value_parser = ["name"], hide_possible_values = true, value_name = "name")]
    pub output: Option<String>,
    /// Kind of the objects, such as `pod` or `virtualservice`, or KIND/NAME
    #[arg(required_unless_present = "filename")]
    pub kind: Option<String>,
    /// Names of the objects
    pub names: Vec<String>,
}

/// `ostria describe`
#[derive(Debug, Args)]
pub struct Describe {
    /// Kind, such as `pod`, `svc` or `virtualservice`, or KIND/NAME
    pub kind: String,
    /// Names of the objects; without names, all objects of the kind
    pub names: Vec<String>,
    /// Show objects of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table
    Table,
    /// A table with more columns
    Wide,
    /// As JSON
    Json,
    /// As YAML
    Yaml,
    /// Only kind and name
    Name,
}

/// Arguments of the hidden commands inside a pod.
#[derive(Debug, Args)]
pub struct Hidden {
    /// File with the description of the pod or the container
    #[arg(long)]
    pub spec: PathBuf,
}

/// Arguments of the hidden command that ends with its parent.
#[derive(Debug, Args)]
pub struct Guard {
    /// Process id of the parent
    #[arg(long)]
    pub parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}
