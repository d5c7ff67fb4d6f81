//! State that all parts of the running mesh share: the world, the state folder, the keys, and the abilities of this
//! machine.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::kubelet::address;
use crate::kubelet::field::Place;
use crate::kubelet::logmark::LogMarks;
use crate::state::State;
use crate::up::groups::Groups;
use crate::up::host::HostPorts;
use crate::up::inject::Injector;
use crate::up::sign::Signer;
use crate::up::world::Shared;

/// State shared by all tasks.
#[derive(Debug)]
pub struct Context {
    /// The state folder.
    pub state: State,
    /// Objects and pods.
    pub shared: Shared,
    /// The count of changes that the node's packet rules contain.
    pub translated: watch::Sender<u64>,
    /// The changes that pilot's folder contains.
    pub published: watch::Sender<Published>,
    /// Signs service account tokens.
    pub signer: Signer,
    /// Client of the injector; empty without a control plane.
    pub injector: OnceCell<Arc<Injector>>,
    /// The mesh's root certificates in PEM; `None` without a control plane.
    pub roots: RwLock<Option<String>>,
    /// Whether containers can run as other users.
    pub users: bool,
    /// Control groups of pods.
    pub groups: Groups,
    /// The folder of `ostria` and its sibling programs.
    pub programs: PathBuf,
    /// Host ports that objects claim.
    pub host_ports: HostPorts,
    /// PATH of the supervisor.
    pub path: String,
    /// Lengths of the containers' log files over time.
    pub log_marks: LogMarks,
    /// Counter for unique names.
    pub counter: AtomicU64,
    /// Cancelled when the whole mesh ends.
    pub ending: CancellationToken,
}

/// State of the folder that pilot reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The count of changes that the last attempt covers. The folder contains them if there is no trouble.
    pub count: u64,
    /// Why the last attempt failed.
    pub trouble: Option<String>,
}

impl Context {
    /// A number that was never returned before.
    pub fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// The file of a program: beside `ostria`, or on PATH.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let folders = std::iter::once(self.programs.clone()).chain(std::env::split_paths(&self.path));
        folders.map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// The state folder with links resolved, as the kernel reports it in mount lists.
    pub fn hidden(&self) -> PathBuf {
        let root = self.state.root();
        root.canonicalize().unwrap_or_else(|_| root.into())
    }

    /// The values of the downward API that do not depend on the pod's object.
    pub fn place(&self, address: &str) -> Place {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = memory.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        Place {
            address: address.into(),
            node: address::NODE.to_string(),
            processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory: kilobytes.unwrap_or_default() * 1024,
        }
    }
}
