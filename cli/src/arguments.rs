//! What people type: verbs and flags, with the help they see. It holds no behaviour, so that the whole
//! surface of the command can be read in one place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use api::process::{duration, log};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// A service mesh on one machine.
#[derive(Debug, Parser)]
#[command(name = "ostria", version, about, arg_required_else_help = true, subcommand_required = true)]
struct Arguments {
    /// Folder that holds the running mesh's state
    #[arg(long, global = true, value_name = "DIR", env = "OSTRIA_STATE")]
    state: Option<PathBuf>,
}

/// What `ostria` does besides its verbs: completion, which is about all of them, and what it is inside a pod.
#[derive(Debug, Subcommand)]
pub enum Inner {
    /// Print a completion script
    #[command(after_help = "Examples:\n  source <(ostria completion bash)")]
    Completion {
        /// The shell to complete for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Make a pod's namespaces
    #[command(hide = true)]
    Sandbox(Hidden),
    /// Be a pod's first process
    #[command(hide = true)]
    PodInit,
    /// Become a container
    #[command(hide = true)]
    Container(Hidden),
    /// Ask the proxy of this pod
    #[command(hide = true)]
    Fetch {
        /// The path to ask for
        path: String,
        /// Ask with POST, to change something
        #[arg(long)]
        post: bool,
    },
    /// Pass bytes to a port of this pod
    #[command(hide = true)]
    Connect {
        /// The port
        port: u16,
    },
    /// Open listeners in the host's network
    #[command(hide = true)]
    HostListen,
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Guard(Guard),
}

/// The command line without the verbs, which have a table of their own.
pub fn base() -> clap::Command {
    Inner::augment_subcommands(Arguments::command())
}

/// `ostria up`
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Folders or files of Kubernetes YAML
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Return as soon as everything is ready, or with exit code 1 when it is not in time
    #[arg(short, long)]
    pub detach: bool,
    /// How long pods may take to be ready, as in 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub wait: Duration,
    /// Where the ingress gateway is reached on this host
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9080)))]
    pub gateway: SocketAddr,
    /// Where the ingress gateway's port 443 is reached on this host
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub gateway_https: Option<SocketAddr>,
    /// Let pods reach addresses outside the mesh
    #[arg(long)]
    pub egress: bool,
    /// Log level of the control plane
    #[arg(long, default_value = "info", value_parser = log::level)]
    pub log_level: String,
    /// Be the detached process itself
    #[arg(long, hide = true)]
    pub background: bool,
}

/// Files with objects, as kubectl takes them.
#[derive(Debug, Args)]
pub struct Files {
    /// A file, a folder, or - for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Look into sub-folders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Namespace of objects that name none
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// `ostria apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// What to apply
    #[command(flatten)]
    pub files: Files,
    /// Change nothing: `server` has the running mesh check everything, `client` looks at the files alone
    #[arg(long, value_enum, value_name = "none|server|client", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "none", default_missing_value = "server", hide_possible_values = true)]
    pub dry_run: DryRun,
    /// Return when every proxy has acknowledged; with --wait=false as soon as the objects are stored
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait for that, as in 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// Whether a change is only tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum DryRun {
    /// It is made.
    #[default]
    None,
    /// The mesh checks it as if it were made.
    Server,
    /// Only the objects themselves are checked.
    Client,
}

/// `ostria delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// A file, a folder, or - for standard input
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with = "kind")]
    pub filename: Vec<PathBuf>,
    /// Look into sub-folders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Namespace of the objects
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// No error when an object is not there
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Return when no proxy has the objects any more; with --wait=false as soon as they are removed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait for that, as in 30s or 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// The kind, as in `pod` or `virtualservice`, or KIND/NAME
    #[arg(required_unless_present = "filename")]
    pub kind: Option<String>,
    /// The names
    pub names: Vec<String>,
}

/// `ostria describe`
#[derive(Debug, Args)]
pub struct Describe {
    /// The kind, as in `pod`, `svc` or `virtualservice`, or KIND/NAME
    pub kind: String,
    /// The names; all objects of the kind without
    pub names: Vec<String>,
    /// Namespace to look in
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Look in all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For people with wide screens
    Wide,
    /// As JSON
    Json,
    /// As YAML
    Yaml,
    /// Only kind and name
    Name,
}

/// What the hidden verbs inside a pod take.
#[derive(Debug, Args)]
pub struct Hidden {
    /// File with the description
    #[arg(long)]
    pub spec: PathBuf,
}

/// What the hidden verb that dies with its parent takes.
#[derive(Debug, Args)]
pub struct Guard {
    /// The parent's process id
    #[arg(long)]
    pub parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}
