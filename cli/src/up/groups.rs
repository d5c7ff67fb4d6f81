//! Control groups of the mesh's pods: creates them as `kubelet::hierarchy` lays them out, and removes them.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::cgroup;
use crate::kubelet::delegation::{self, Base, Lack, Machine};
use crate::kubelet::hierarchy::{self, Step};
use crate::kubelet::limit::Limits;
use crate::kubelet::mountinfo;
use crate::state::lock::Process;

/// Why a group cannot be changed.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct GroupError {
    /// The group or its file.
    path: PathBuf,
    /// The system's reason.
    source: io::Error,
}

/// The groups of a mesh, or why it has none.
#[derive(Debug, Clone)]
pub struct Groups(Result<Tree, Lack>);

#[derive(Debug, Clone)]
struct Tree {
    base: Base,
    mesh: PathBuf,
}

/// The group of a container during one run.
#[derive(Debug)]
pub struct Run {
    group: PathBuf,
    /// Processes that the kernel had ended in it before.
    kills: u64,
}

impl Groups {
    /// Decides whether this machine allows groups. Changes nothing.
    pub fn find() -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let text = |path: &str| read(Path::new(path)).unwrap_or_default();
        let own = Process::find(std::process::id());
        let machine = Machine {
            mounts: &mountinfo::parse(&text("/proc/self/mountinfo")),
            own: &text("/proc/self/cgroup"),
            process: std::process::id(),
            is_root: nix::unistd::geteuid().is_root(),
            read: &read,
            can_write: &|path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok(),
        };
        Self(delegation::base(&machine).map(|base| {
            // A process id and a start time are never used again while the machine runs.
            let name = own.map_or_else(String::new, |own| format!("{:x}-{:x}", own.pid, own.started));
            Tree { mesh: base.folder.join(format!("ostria-{name}")), base }
        }))
    }

    /// Creates the group of the mesh. If the kernel refuses it, the mesh has no groups. `launcher` is the command that
    /// started this process in the background.
    pub fn create(&mut self, launcher: Option<u32>) {
        let Ok(tree) = &self.0 else { return };
        if let Err(error) = run(&hierarchy::mesh(&tree.base, &tree.mesh, launcher)) {
            let is_busy = error.source.kind() == io::ErrorKind::ResourceBusy;
            let lack = Lack::refused(&tree.base.folder, &error.to_string(), is_busy);
            // Removes what was created so far. An empty group that remains does no harm.
            let _ = self.end();
            self.0 = Err(lack);
        }
    }

    /// Why limits cannot be enforced; `None` if they are.
    pub fn lack(&self) -> Option<&Lack> {
        self.0.as_ref().err()
    }

    /// The group of the mesh.
    pub fn mesh(&self) -> Option<&Path> {
        self.0.as_ref().ok().map(|tree| tree.mesh.as_path())
    }

    /// Creates the group of a pod.
    pub fn start_pod(&self, uid: &str, spec: &PodSpec) -> Result<(), GroupError> {
        let Some(mesh) = self.mesh() else { return Ok(()) };
        run(&hierarchy::create_pod(&hierarchy::pod(mesh, uid), Limits::of_pod(spec)))
    }

    /// Ends what remains of a pod and removes its group.
    pub async fn end_pod(&self, uid: &str) {
        if let Some(mesh) = self.mesh() {
            remove(&hierarchy::pod(mesh, uid)).await;
        }
    }

    /// The group of a container.
    pub fn container(&self, uid: &str, name: &str) -> Option<PathBuf> {
        self.mesh().map(|mesh| hierarchy::pod(mesh, uid).join(name))
    }

    /// Creates the group of a container before a run.
    pub fn start(&self, uid: &str, spec: &PodSpec, container: &Container) -> Result<Option<Run>, GroupError> {
        let Some(group) = self.container(uid, &container.name) else { return Ok(None) };
        run(&hierarchy::create_container(&group, Limits::of_container(spec, container)))?;
        // The group of the run before may remain if a process in it did not end.
        Ok(Some(Run { kills: cgroup::memory_kills(&group), group }))
    }

    /// Ends all processes of the pods and removes the group of the mesh. Does nothing without groups.
    pub fn end(&self) -> Result<(), GroupError> {
        let Ok(tree) = &self.0 else { return Ok(()) };
        let failed = |source| GroupError { path: tree.mesh.clone(), source };
        cgroup::clear(&tree.mesh.join("pods")).map_err(failed)?;
        run(&hierarchy::leave(&tree.base, &tree.mesh))?;
        cgroup::clear(&tree.mesh).map_err(failed)
    }
}

impl Run {
    /// Whether the kernel ended the container because memory was short.
    pub fn ran_out_of_memory(&self) -> bool {
        cgroup::memory_kills(&self.group) > self.kills
    }

    /// Ends what remains of the run and removes the group.
    pub async fn end(self) {
        remove(&self.group).await;
    }
}

/// Ends the processes of a group and removes it. Without success, the end of the mesh removes it.
async fn remove(group: &Path) {
    let killed = cgroup::kill(group);
    for _ in 0..cgroup::TRIES {
        match cgroup::remove(group) {
            Ok(true) => return,
            Ok(false) => tokio::time::sleep(cgroup::PAUSE).await,
            Err(error) => {
                return tracing::warn!(group = %group.display(), %error, "a control group cannot be removed");
            }
        }
    }
    tracing::warn!(group = %group.display(), ?killed, "a control group cannot be removed, because its processes do not end");
}

fn run(steps: &[Step]) -> Result<(), GroupError> {
    steps.iter().try_for_each(|step| match step {
        Step::Create(group) => match std::fs::create_dir(group) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(GroupError { path: group.clone(), source })
            }
            _ => Ok(()),
        },
        Step::Write { group, file, value, optional } => match cgroup::write(group, file, value) {
            Err(source) if *optional && is_missing(&source) => Ok(()),
            result => result.map_err(|source| GroupError { path: group.join(file), source }),
        },
    })
}

/// Whether a file or a process does not exist.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_order_and_stop_at_the_first_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("a");
        let write = |file: &'static str, value: &str, optional| Step::Write {
            group: group.clone(),
            file,
            value: value.into(),
            optional,
        };
        let create = || Step::Create(group.clone());
        run(&[create(), create(), write("memory.swap.max", "0", true)]).unwrap();
        std::fs::write(group.join("memory.max"), "").unwrap();
        let steps =
            [write("memory.max", "1", false), write("cpu.max", "2", false), write("memory.max", "3", false)];
        let error = run(&steps).unwrap_err().to_string();
        assert!(error.starts_with(&group.join("cpu.max").display().to_string()), "{error}");
        assert_eq!(std::fs::read_to_string(group.join("memory.max")).unwrap(), "1");
        let below = Step::Create(folder.path().join("missing/b"));
        assert!(run(&[below]).unwrap_err().to_string().contains("missing/b"));
    }

    #[test]
    fn without_groups_nothing_is_created_and_no_run_is_out_of_memory() {
        let lack = Lack { reason: "none".into(), next: String::new() };
        let mut groups = Groups(Err(lack.clone()));
        groups.create(None);
        assert_eq!((groups.lack(), groups.mesh(), groups.container("u", "c")), (Some(&lack), None, None));
        assert!(groups.start("u", &PodSpec::default(), &Container::default()).unwrap().is_none());
        groups.start_pod("u", &PodSpec::default()).unwrap();
        groups.end().unwrap();
    }
}
