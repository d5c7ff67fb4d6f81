//! What every part of the running mesh needs: the world, the folder, the keys, and what this machine allows.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::kubelet::address;
use crate::kubelet::field::Place;
use crate::kubelet::logmark::LogMarks;
use crate::state::State;
use crate::up::host::HostPorts;
use crate::up::inject::Injector;
use crate::up::sign::Signer;
use crate::up::world::Shared;

/// Shared by all tasks.
#[derive(Debug)]
pub struct Context {
    /// The folder.
    pub state: State,
    /// Objects and pods.
    pub shared: Shared,
    /// The count of changes that the node's packet rules know.
    pub translated: watch::Sender<u64>,
    /// Which changes pilot's folder has.
    pub published: watch::Sender<Published>,
    /// Signs service account tokens.
    pub signer: Signer,
    /// Asks the injector; none without a control plane.
    pub injector: OnceCell<Arc<Injector>>,
    /// The mesh's root certificates, in PEM; none without a control plane.
    pub roots: RwLock<Option<String>>,
    /// Whether containers can run as other users.
    pub users: bool,
    /// The folder of `ostria` and its sibling programs.
    pub programs: PathBuf,
    /// Ports of the machine that objects ask for.
    pub host_ports: HostPorts,
    /// PATH of the supervisor.
    pub path: String,
    /// How long the containers' logs were when.
    pub log_marks: LogMarks,
    /// Numbers for names that must not repeat.
    pub counter: AtomicU64,
    /// Whether the whole mesh is on its way down.
    pub ending: CancellationToken,
}

/// What is written in pilot's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The count of changes that the folder has.
    pub count: u64,
    /// Why later ones cannot be written.
    pub trouble: Option<String>,
}

impl Context {
    /// A number that was not given before.
    pub fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// The file of a program: beside `ostria`, else on PATH.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let folders = std::iter::once(self.programs.clone()).chain(std::env::split_paths(&self.path));
        folders.map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// The state folder without links in its path, as the kernel tells of it.
    pub fn hidden(&self) -> PathBuf {
        let root = self.state.root();
        root.canonicalize().unwrap_or_else(|_| root.into())
    }

    /// What the downward API says of a pod's place.
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
