//! Pure. What the processes of `ostria` say to each other: the supervisor to a pod's first process and to the
//! process that becomes a container, and the verbs to the supervisor. It exists so that both ends of each
//! pipe share one definition.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use api::resource::document::Problem;
use api::resource::relation::Related;
use api::resource::verdict::{ObjectVerdict, ProxyAnswer, Verdicts, Wanted};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arguments::DryRun;

/// This program, also after its file was replaced while the mesh runs.
pub const SELF: &str = "/proc/self/exe";

/// A folder or file that a container sees at another place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is.
    pub source: PathBuf,
    /// What of it is shown: a relative path that a pod may have made, found without following links.
    pub sub_path: Option<PathBuf>,
    /// Where the container sees it.
    pub target: PathBuf,
    /// Whether the container may not write there.
    pub read_only: bool,
    /// Whether a missing sub-path is made.
    pub makes: bool,
    /// The type of a `hostPath`; nothing for what `ostria` made itself.
    pub host: Option<String>,
}

impl Mount {
    /// A mount of this source, the rest to be filled in.
    pub fn of(source: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), ..Self::default() }
    }
}

/// All that a process in a container needs; written to a file that only the supervisor's user can read,
/// because the environment may hold secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub directory: PathBuf,
    /// User to become.
    pub user: Option<u32>,
    /// Group to become.
    pub group: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities to keep, one bit each, with the kernel's numbers.
    pub capabilities: u64,
    /// Whether the root file system cannot be written.
    pub read_only_root: bool,
    /// What is laid over the host's files.
    pub mounts: Vec<Mount>,
    /// An existing empty folder to build the root in.
    pub root: PathBuf,
    /// An existing empty folder, which is shown in the place of what must not be seen.
    pub empty: PathBuf,
    /// The state folder, which must not be seen.
    pub hidden: PathBuf,
    /// The terminal to take as controlling terminal.
    pub terminal: Option<PathBuf>,
}

/// How a pod's network namespace and name are set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The host name inside.
    pub hostname: String,
    /// Settings of the kernel for the pod's network and IPC, with dots in their names.
    pub sysctls: Vec<(String, String)>,
}

/// Supervisor to a pod's first process, one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Give the pod's interface its address.
    Network {
        /// The pod's address.
        address: Ipv4Addr,
        /// The node's address.
        gateway: Ipv4Addr,
    },
    /// Start a container with its output in a file.
    Start {
        /// Name for later orders and reports.
        id: String,
        /// File with a [`Launch`].
        launch: PathBuf,
        /// File to append the output to.
        log: PathBuf,
        /// Whether it sees the processes of the pod's other containers.
        shared: bool,
    },
    /// Start a command with its input and output on connections to a socket, in the order input, output,
    /// errors.
    Attach {
        /// Name for later orders and reports.
        id: String,
        /// File with a [`Launch`].
        launch: PathBuf,
        /// The container whose processes it sees; the name of a run is the container's name, `-` and a number.
        beside: String,
        /// The socket to connect to.
        socket: PathBuf,
    },
    /// Send a signal to a started process.
    Signal {
        /// Which.
        id: String,
        /// The signal's number.
        signal: i32,
    },
}

/// A pod's first process to the supervisor, one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// The namespaces exist; this process in the supervisor's view holds them.
    Ready {
        /// Its process id.
        pid: u32,
    },
    /// The network has its address.
    Connected,
    /// A process ended.
    Exited {
        /// Which.
        id: String,
        /// Its exit code, or 128 plus the signal.
        code: i32,
    },
    /// An order could not be followed.
    Failed {
        /// Which process or step.
        id: String,
        /// Why.
        reason: String,
    },
}

/// One object as the user gave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The file and where known the line.
    pub file: String,
    /// The object.
    pub object: Value,
}

/// Objects to apply.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Apply {
    /// The objects.
    pub objects: Vec<Given>,
    /// Whether only to check.
    pub dry_run: DryRun,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// As kubectl prints it: `virtualservice.networking.istio.io/reviews`.
    pub object: String,
    /// created, configured, unchanged or deleted.
    pub verdict: String,
}

/// The supervisor's answer to a change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answer {
    /// What became of each object.
    pub outcomes: Vec<Outcome>,
    /// What is odd but accepted.
    pub warnings: Vec<Problem>,
    /// Why nothing was changed.
    pub problems: Vec<Problem>,
    /// Objects in the version that is there, in the order of the request, for who waits until they are in force.
    pub wanted: Vec<Wanted>,
    /// Why the change cannot be written where pilot reads it.
    pub trouble: Option<String>,
}

/// All that is known of an object.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Description {
    /// The object, with its status.
    pub object: Value,
    /// What pilot thinks of it; none where it has nothing to say.
    pub verdict: Option<ObjectVerdict>,
    /// What the proxies have answered.
    pub proxies: Vec<ProxyAnswer>,
    /// What has to do with it.
    pub relations: Vec<Related>,
    /// The endpoints of a Service, for each of its ports.
    pub endpoints: Vec<Vec<String>>,
    /// What happened to it.
    pub events: Vec<Value>,
}

/// How far a change is on its way to every proxy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settling {
    /// Whether nothing is waited for.
    pub settled: bool,
    /// What pilot and its proxies think of the objects.
    pub verdicts: Verdicts,
    /// Proxies of pods that are ready, and that are not connected to pilot.
    pub missing: Vec<String>,
    /// What is in the way of all objects.
    pub trouble: Option<String>,
}

/// What to delete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removal {
    /// Objects, of which kind, namespace and name count.
    pub objects: Vec<Given>,
    /// Whether a missing object is no problem.
    pub ignore_missing: bool,
}

/// Which objects to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Query {
    /// The kind as typed: singular, plural or short.
    pub kind: String,
    /// One object.
    pub name: Option<String>,
    /// Its namespace; all without.
    pub namespace: Option<String>,
}

/// What runs and who it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the supervisor.
    pub pid: u32,
    /// Where the gateway listens on the host; empty where no pod serves it.
    pub gateway: String,
    /// One line for each pod.
    pub pods: Vec<PodLine>,
    /// Pilot's view of its proxies.
    pub proxies: Value,
    /// What pilot finds odd about objects in force.
    #[serde(default)]
    pub warnings: Vec<Problem>,
}

/// One pod as `status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLine {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its SPIFFE identity.
    pub identity: String,
    /// Its address.
    pub address: String,
    /// Ready containers and all containers, as `2/2`.
    pub ready: String,
    /// As kubectl's STATUS column.
    pub status: String,
    /// Restarts of all its containers.
    pub restarts: u32,
}

/// Which container of which pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Target {
    /// Namespace.
    pub namespace: String,
    /// The pod, or deployment/NAME.
    pub pod: String,
    /// The container; the app's without.
    pub container: Option<String>,
}

/// Which events to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EventQuery {
    /// About objects in this namespace; all without.
    pub namespace: Option<String>,
    /// About objects of this kind and name.
    pub about: Option<(String, String)>,
}

/// A template that a workload had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number; the highest is in force.
    pub number: u64,
    /// The pods' template.
    pub template: Value,
    /// The annotation `kubernetes.io/change-cause` of that time.
    pub cause: String,
}

/// What became of an object that is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
pub enum Watched {
    /// It is there: at the beginning, and when it comes.
    Added(Value),
    /// It is another one.
    Modified(Value),
    /// It is gone.
    Deleted(Value),
    /// Everything that was there at the beginning was told.
    Bookmark,
}

/// A question to a pod's proxy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProxyQuery {
    /// Whose proxy.
    #[serde(flatten)]
    pub target: Target,
    /// The page of its admin interface, with its parameters.
    pub page: String,
    /// Whether it changes something.
    #[serde(default)]
    pub post: bool,
}

/// A request for output of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// Whose.
    #[serde(flatten)]
    pub target: Target,
    /// Keep sending.
    #[serde(default)]
    pub follow: bool,
    /// Of the run before.
    #[serde(default)]
    pub previous: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Only what was written since then, in seconds since 1970.
    #[serde(default)]
    pub since: Option<u64>,
}

/// A request to run a command in a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExecQuery {
    /// Where.
    #[serde(flatten)]
    pub target: Target,
    /// What.
    pub command: Vec<String>,
    /// Whether input comes.
    pub stdin: bool,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// Pieces of the byte stream of `exec`: one byte of kind, four bytes of length, the content.
pub mod frame {
    /// Input for the command; empty at its end.
    pub const INPUT: u8 = 0;
    /// The command's output.
    pub const OUTPUT: u8 = 1;
    /// The command's errors.
    pub const ERROR: u8 = 2;
    /// The command's exit code as decimal text; nothing comes after.
    pub const EXIT: u8 = 3;

    /// A frame's bytes.
    pub fn encode(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(content.len() + 5);
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
        bytes.extend_from_slice(content);
        bytes
    }
}
