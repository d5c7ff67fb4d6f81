//! What people type: verbs and flags, with the help they see. It holds no behaviour, so that the whole
//! surface of the command can be read in one place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A service mesh on one machine.
#[derive(Debug, Parser)]
#[command(name = "ostria", version, about, arg_required_else_help = true)]
pub struct Arguments {
    /// Folder that holds the running mesh's state
    #[arg(long, global = true, value_name = "DIR", env = "OSTRIA_STATE")]
    pub state: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs of `ostria`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a mesh from folders of Kubernetes YAML
    #[command(
        after_help = "Example:\n  ostria up samples/bookinfo\n  ostria up -d samples/bookinfo --gateway 127.0.0.1:9080"
    )]
    Up(Up),
    /// Take the running mesh down
    #[command(after_help = "Example:\n  ostria down")]
    Down,
    /// Show pods, identities and whether proxies have the current configuration
    #[command(after_help = "Example:\n  ostria status\n  ostria status -o json")]
    Status {
        /// table, wide, json or yaml
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Create or change objects from files
    #[command(
        after_help = "Example:\n  ostria apply -f samples/bookinfo/networking/virtual-service-reviews-80-20.yaml"
    )]
    Apply(Files),
    /// Delete objects, by file or by kind and name
    #[command(
        after_help = "Example:\n  ostria delete -f samples/bookinfo/networking\n  ostria delete virtualservice reviews"
    )]
    Delete(Delete),
    /// List objects
    #[command(after_help = "Example:\n  ostria get pods -A\n  ostria get virtualservice reviews -o yaml")]
    Get(Get),
    /// Print the output of a container
    #[command(after_help = "Example:\n  ostria logs deployment/reviews-v2 -c istio-proxy -f")]
    Logs(Logs),
    /// Run a command in a container
    #[command(
        after_help = "Example:\n  ostria exec deployment/productpage-v1 -- curl -s http://reviews:9080/health"
    )]
    Exec(Exec),
    /// Show what a proxy was told
    #[command(name = "proxy-config", visible_alias = "pc")]
    #[command(
        after_help = "Example:\n  ostria proxy-config routes deployment/productpage-v1\n  ostria proxy-config all deployment/productpage-v1 -o json"
    )]
    ProxyConfig(ProxyConfig),
    /// Print the version
    #[command(after_help = "Example:\n  ostria version -o json")]
    Version {
        /// json or yaml; plain text without
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print the CustomResourceDefinitions of the mesh's kinds as YAML
    #[command(hide = true, after_help = "Example:\n  ostria crds | kubectl apply -f -")]
    Crds,
    /// Print a completion script
    #[command(after_help = "Example:\n  source <(ostria completion bash)")]
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
    },
    /// Open listeners in the host's network
    #[command(hide = true)]
    HostListen,
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Guard(Guard),
}

/// `ostria up`
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Folders or files of Kubernetes YAML
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Return as soon as everything is ready
    #[arg(short, long)]
    pub detach: bool,
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
    #[arg(long, default_value = "info")]
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
    /// Check everything, change nothing
    #[arg(long)]
    pub dry_run: bool,
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
    /// The kind, as in `pod` or `virtualservice`, or KIND/NAME
    #[arg(required_unless_present = "filename")]
    pub kind: Option<String>,
    /// The names
    pub names: Vec<String>,
}

/// `ostria get`
#[derive(Debug, Args)]
pub struct Get {
    /// The kind, as in `pods`, `svc` or `virtualservices`, or KIND/NAME
    pub kind: String,
    /// One object's name
    pub name: Option<String>,
    /// Namespace to look in
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Look in all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels, as in app=reviews,version=v2
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// table, wide, json, yaml or name
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `ostria logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// The pod, or deployment/NAME
    pub pod: String,
    /// The container; the app's without
    #[arg(short, long)]
    pub container: Option<String>,
    /// Keep printing what comes
    #[arg(short, long)]
    pub follow: bool,
    /// The run before the last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only the last lines
    #[arg(long)]
    pub tail: Option<usize>,
    /// Namespace of the pod
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// `ostria exec`
#[derive(Debug, Args)]
pub struct Exec {
    /// The pod, or deployment/NAME
    pub pod: String,
    /// The container; the app's without
    #[arg(short, long)]
    pub container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Namespace of the pod
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// `ostria proxy-config`
#[derive(Debug, Args)]
pub struct ProxyConfig {
    /// Which part
    #[arg(value_enum)]
    pub part: Part,
    /// The pod, or deployment/NAME
    pub pod: String,
    /// Namespace of the pod
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// table, or json and yaml as the proxy gives it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The parts of a proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Where it listens
    #[value(alias = "listener", alias = "l")]
    Listeners,
    /// Hosts and matches
    #[value(alias = "route", alias = "r")]
    Routes,
    /// Where it can send
    #[value(alias = "cluster", alias = "c")]
    Clusters,
    /// Addresses and their health
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Certificates, never keys
    #[value(alias = "secret", alias = "s")]
    Secrets,
    /// All of these
    #[value(alias = "a")]
    All,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_for_exec_stands_after_two_dashes() {
        let parsed =
            Arguments::try_parse_from(["ostria", "exec", "web", "-c", "app", "--", "ls", "-l"]).unwrap();
        let Verb::Exec(exec) = parsed.verb else { panic!("not exec") };
        assert_eq!(exec.command, ["ls", "-l"]);
    }
}
