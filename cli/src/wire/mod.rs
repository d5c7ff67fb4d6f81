//! Pure. Messages between the processes of `ostria`: from the supervisor to a pod's first process and to the process
//! that becomes a container, and between the verbs and the supervisor. Both ends of each pipe or socket use these
//! definitions.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use api::resource::check::Given;
use api::resource::document::Problem;
use api::resource::relation::Related;
use api::resource::verdict::{ObjectVerdict, ProxyProgress, Verdicts, Wanted};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arguments::DryRun;

/// The path of this program. It stays valid when the program's file is replaced while the mesh runs.
pub const SELF: &str = "/proc/self/exe";

/// The folder of Ostria's programs in containers.
pub const PROGRAMS: &str = "/opt/ostria/bin";

/// A folder or file of the host that a container sees at another path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host.
    pub source: PathBuf,
    /// The part of `source` that is shown: a relative path that a pod may have created. It is resolved without
    /// following links.
    pub sub_path: Option<PathBuf>,
    /// Path in the container.
    pub target: PathBuf,
    /// Whether the mount is read-only for the container.
    pub read_only: bool,
    /// Whether a missing sub-path is created.
    pub makes: bool,
    /// The type of a `hostPath`; `None` for paths that `ostria` created itself.
    pub host: Option<String>,
}

impl Mount {
    /// A mount of this source; the other fields have defaults.
    pub fn of(source: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), ..Self::default() }
    }
}

/// Everything that a process in a container needs. It is written to a file that only the supervisor's user can read,
/// because the environment may contain secrets. For the same reason it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The complete environment.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub directory: PathBuf,
    /// User of the process.
    pub user: Option<u32>,
    /// Group of the process.
    pub group: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities to keep, one bit each, with the kernel's numbers.
    pub capabilities: u64,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// Mounts over the host's files.
    pub mounts: Vec<Mount>,
    /// An existing empty folder in which the root is built.
    pub root: PathBuf,
    /// An existing empty folder that is mounted over everything that must be hidden.
    pub empty: PathBuf,
    /// The state folder, which is hidden from the container.
    pub hidden: PathBuf,
    /// The terminal that becomes the controlling terminal.
    pub terminal: Option<PathBuf>,
    /// The control group of the container.
    pub control_group: Option<PathBuf>,
}

/// Settings of a pod's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Host name in the pod.
    pub hostname: String,
    /// Kernel settings for the pod's network and IPC namespaces, named with dots.
    pub sysctls: Vec<(String, String)>,
}

/// Orders from the supervisor to a pod's first process, one line of JSON each.
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
    /// Start a container and write its output to a file.
    Start {
        /// Name for later orders and reports.
        id: String,
        /// File with a [`Launch`].
        launch: PathBuf,
        /// File to which the output is appended.
        log: PathBuf,
        /// Whether the container sees the processes of the pod's other containers.
        shared: bool,
    },
    /// Start a command whose input, output and errors are three connections to a socket, opened in this order.
    Attach {
        /// Name for later orders and reports.
        id: String,
        /// File with a [`Launch`].
        launch: PathBuf,
        /// The container whose processes the command sees. The name of a container's run is the container's name, `-`
        /// and a number.
        beside: String,
        /// The socket to connect to.
        socket: PathBuf,
    },
    /// Send a signal to a started process.
    Signal {
        /// Name of the process.
        id: String,
        /// The signal's number.
        signal: i32,
    },
}

/// Reports from a pod's first process to the supervisor, one line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// The namespaces exist. The named process holds them; its id is as the supervisor sees it.
    Ready {
        /// Process id.
        pid: u32,
    },
    /// The pod's interface has its address.
    Connected,
    /// A process ended.
    Exited {
        /// Name of the process.
        id: String,
        /// Exit code, or 128 plus the number of the signal.
        code: i32,
    },
    /// An order failed.
    Failed {
        /// Name of the process, or the step.
        id: String,
        /// The reason.
        reason: String,
    },
}

/// A request to apply objects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Apply {
    /// The objects.
    pub objects: Vec<Given>,
    /// Whether the objects are only checked.
    pub dry_run: DryRun,
    /// Whether fields that another tool owns in a cluster are taken over.
    #[serde(default)]
    pub force: bool,
}

/// The result for one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The name that kubectl prints, such as `virtualservice.networking.istio.io/reviews`.
    pub object: String,
    /// `created`, `configured`, `unchanged` or `deleted`.
    pub verdict: String,
}

/// The supervisor's response to a change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ChangeResponse {
    /// The result for each object.
    pub outcomes: Vec<Outcome>,
    /// Warnings about accepted objects.
    pub warnings: Vec<Problem>,
    /// Why nothing was changed.
    pub problems: Vec<Problem>,
    /// The stored versions of the objects, in the order of the request. A client uses them to wait until the objects
    /// are in force.
    pub wanted: Vec<Wanted>,
    /// Why the change cannot be written to the folder that pilot reads.
    pub trouble: Option<String>,
}

/// An object for `describe`, with everything related to it. It has no `Debug`, because the object may be a Secret.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Description {
    /// The object, with its status.
    pub object: Value,
    /// Pilot's verdict; `None` if pilot has none for this object.
    pub verdict: Option<ObjectVerdict>,
    /// The progress of each proxy.
    pub proxies: Vec<ProxyProgress>,
    /// Related objects.
    pub relations: Vec<Related>,
    /// The endpoints of a Service, for each of its ports.
    pub endpoints: Vec<Vec<String>>,
    /// Events about the object.
    pub events: Vec<Value>,
}

/// Progress of a change towards all proxies.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settling {
    /// Whether the wait is over.
    pub settled: bool,
    /// Verdicts of pilot and its proxies on the objects.
    pub verdicts: Verdicts,
    /// Proxies of ready pods that are not connected to pilot.
    pub missing: Vec<String>,
    /// Problems that affect all objects.
    pub trouble: Option<String>,
}

/// A request to delete objects.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removal {
    /// The objects. Only kind, namespace and name are used.
    pub objects: Vec<Given>,
    /// Whether a missing object is ignored.
    pub ignore_missing: bool,
}

/// A request to list objects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Query {
    /// The kind as the user typed it: singular, plural or short name.
    pub kind: String,
    /// Name of a single object.
    pub name: Option<String>,
    /// Namespace of the objects; all namespaces if `None`.
    pub namespace: Option<String>,
}

/// State of the running mesh.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the supervisor.
    pub pid: u32,
    /// Host address of the gateway; empty if no pod serves it.
    pub gateway: String,
    /// One line for each pod.
    pub pods: Vec<PodLine>,
    /// Pilot's list of its proxies.
    pub proxies: Value,
    /// The objects that pilot refuses.
    #[serde(default)]
    pub refused: Vec<Problem>,
    /// Pilot's warnings about objects in force.
    #[serde(default)]
    pub warnings: Vec<Problem>,
    /// The pods of the control plane in a cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlLine>,
}

/// A pod of the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlLine {
    /// The component, such as `ostria-pilot`.
    pub component: String,
    /// Name of the pod.
    pub pod: String,
    /// The version that it says; empty if it does not respond.
    pub version: String,
}

/// One row of `status`: a pod.
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
    /// Ready containers and all containers, such as `2/2`.
    pub ready: String,
    /// The text of kubectl's STATUS column.
    pub status: String,
    /// Restarts of all its containers.
    pub restarts: u32,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Target {
    /// Namespace.
    pub namespace: String,
    /// Name of the pod, or `deployment/NAME`.
    pub pod: String,
    /// Name of the container; the application's container if `None`.
    pub container: Option<String>,
}

/// A request to list events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EventQuery {
    /// Only events about objects in this namespace; all namespaces if `None`.
    pub namespace: Option<String>,
    /// Only events about the object of this kind and name.
    pub about: Option<(String, String)>,
}

/// A revision of a workload's pod template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Revision number; the highest number is in force.
    pub number: u64,
    /// The pod template.
    pub template: Value,
    /// The annotation `kubernetes.io/change-cause` of the object when it had this template.
    pub cause: String,
}

/// A change to a watched object. It has no `Debug`, because the object may be a Secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
pub enum Watched {
    /// The object exists: it did when the watch began, or it was created.
    Added(Value),
    /// The object changed.
    Modified(Value),
    /// The object was deleted.
    Deleted(Value),
    /// All objects that existed when the watch began were sent.
    Bookmark,
}

/// A request to the admin interface of a pod's proxy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProxyQuery {
    /// The pod.
    #[serde(flatten)]
    pub target: Target,
    /// Path of the request, with its parameters.
    pub page: String,
    /// Whether the request changes something, and is sent as POST.
    #[serde(default)]
    pub post: bool,
}

/// A request for the output of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// The container.
    #[serde(flatten)]
    pub target: Target,
    /// Keep sending output as it is written.
    #[serde(default)]
    pub follow: bool,
    /// Send the output of the previous run.
    #[serde(default)]
    pub previous: bool,
    /// Send only this many of the last lines.
    pub tail: Option<usize>,
    /// Send only output written since this time, in seconds since 1970.
    #[serde(default)]
    pub since: Option<u64>,
}

/// A request to run a command in a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExecQuery {
    /// The container.
    #[serde(flatten)]
    pub target: Target,
    /// The command.
    pub command: Vec<String>,
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether the command gets a terminal.
    pub tty: bool,
}

/// Frames of the byte stream of `exec`: one byte for the type, four bytes for the length, then the content.
pub mod frame {
    /// Input for the command; an empty frame ends the input.
    pub const INPUT: u8 = 0;
    /// Standard output of the command.
    pub const OUTPUT: u8 = 1;
    /// Standard error of the command.
    pub const ERROR: u8 = 2;
    /// The command's exit code as decimal text. This is the last frame.
    pub const EXIT: u8 = 3;

    /// Encodes a frame.
    pub fn encode(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(content.len() + 5);
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
        bytes.extend_from_slice(content);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_debug_form_of_a_request_names_the_files_and_omits_the_objects() {
        let object = json!({"kind": "Secret", "stringData": {"key": "s3cret-word"}});
        let objects = vec![Given { file: "a.yaml:3".into(), object }];
        let apply = Apply { objects: objects.clone(), ..Apply::default() };
        let removal = Removal { objects, ignore_missing: false };
        for text in [format!("{apply:?}"), format!("{apply:#?}"), format!("{removal:?}")] {
            assert!(text.contains("a.yaml:3") && !text.contains("s3cret-word"), "{text}");
        }
    }
}
