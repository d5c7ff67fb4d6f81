//! The state folder of a running mesh: its layout, its owner, and the removal of what a killed mesh left. It keeps two
//! meshes from sharing a folder and leaves no files behind.

pub mod last;

pub mod lock;

pub mod folder;

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Paths in the state folder.
#[derive(Debug, Clone)]
pub struct State {
    root: PathBuf,
}

impl State {
    /// The given folder, or the user's default.
    pub fn new(given: Option<PathBuf>) -> Self {
        let root = given.unwrap_or_else(default);
        Self { root: std::path::absolute(&root).unwrap_or(root) }
    }

    /// The flags by which another command finds this folder; empty for the default folder.
    pub fn flags(&self) -> String {
        if self.root == default() { String::new() } else { format!(" --state {}", self.root.display()) }
    }

    /// Folders where another user's mesh would be, and which this user may not enter.
    pub fn others(&self) -> Vec<PathBuf> {
        if self.root != default() {
            // The user named the folder.
            return Vec::new();
        }
        let users = std::fs::read_dir("/run/user").into_iter().flatten().flatten();
        let users = users.map(|user| user.path().join("ostria"));
        let all = std::iter::once(PathBuf::from("/run/ostria")).chain(users);
        all.filter(|folder| *folder != self.root && folder.symlink_metadata().is_ok()).collect()
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The supervisor's socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("ostria.sock")
    }

    /// Output of a detached supervisor.
    pub fn log(&self) -> PathBuf {
        self.root.join("up.log")
    }

    /// The folder that pilot reads: the users' objects, including Secrets.
    pub fn config(&self) -> PathBuf {
        self.private().join("config")
    }

    /// Output of containers and of the control plane.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Logs that are kept after the mesh is down. The folder is beside the state folder, because that one is removed
    /// with the mesh.
    pub fn last_logs(&self) -> PathBuf {
        let name = self.root.file_name().unwrap_or_default().to_string_lossy();
        self.root.with_file_name(format!("{name}-last-logs"))
    }

    /// Output of one pod's containers.
    pub fn pod_logs(&self, namespace: &str, pod: &str) -> PathBuf {
        self.logs().join(format!("{namespace}_{pod}"))
    }

    /// A tmpfs with volumes, secrets, tokens and keys. Only the supervisor's mount namespace sees it. The kernel frees
    /// it with the last process of the mesh, however the mesh ends.
    pub fn private(&self) -> PathBuf {
        self.root.join("private")
    }

    /// A read-only mount of the program `ostria`, where no process of a pod can write to it.
    pub fn own_program(&self) -> PathBuf {
        self.private().join("ostria")
    }

    /// Files of one pod.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.private().join("pods").join(uid)
    }
}

fn default() -> PathBuf {
    if geteuid().is_root() {
        return "/run/ostria".into();
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_RUNTIME_DIR")
        .map(|folder| folder.join("ostria"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/ostria")))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("ostria-{}", geteuid())))
}
