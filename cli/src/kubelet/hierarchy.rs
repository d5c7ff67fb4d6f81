//! Pure. The layout of control groups (cgroup v2) that enforce the limits of pods. Below a base that belongs to the
//! user, each mesh has a group with a group for each pod, and in that a group for each container:
//!
//! ```text
//! BASE/ostria-ID/pods/POD/CONTAINER
//! BASE/ostria-ID/node                 the supervisor, if BASE was its own group
//! ```
//!
//! Only groups without children contain processes: the kernel requires that of groups whose children have limits.

use std::path::{Path, PathBuf};

use crate::kubelet::delegation::Base;
use crate::kubelet::limit::{Limits, SWAP};

/// One step of a change of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a group unless it exists.
    Create(PathBuf),
    /// Write a value to a file of a group.
    Write {
        /// The group.
        group: PathBuf,
        /// The file.
        file: &'static str,
        /// The value.
        value: String,
        /// Whether the file, or the process that the value names, may be missing.
        optional: bool,
    },
}

fn write(group: &Path, file: &'static str, value: impl Into<String>) -> Step {
    let value = value.into();
    let optional = file == SWAP || file == PROCESSES && value != SELF;
    Step::Write { group: group.into(), file, value, optional }
}

/// Creates the group of a mesh. `launcher` is the command that started this process in the background and waits for it,
/// in the same group.
pub fn mesh(base: &Base, mesh: &Path, launcher: Option<u32>) -> Vec<Step> {
    let mut steps = vec![Step::Create(mesh.into())];
    if base.is_own {
        let node = mesh.join("node");
        steps.extend([Step::Create(node.clone()), write(&node, PROCESSES, SELF)]);
        let launcher = launcher.map(|process| write(&node, PROCESSES, process.to_string()));
        steps.extend(launcher);
    }
    let pods = mesh.join("pods");
    steps.extend([write(&base.folder, CONTROL, ENABLE), write(mesh, CONTROL, ENABLE)]);
    steps.extend([Step::Create(pods.clone()), write(&pods, CONTROL, ENABLE)]);
    steps
}

/// Returns the supervisor to the base, once all pods have ended.
pub fn leave(base: &Base, mesh: &Path) -> Vec<Step> {
    if !base.is_own {
        return vec![];
    }
    vec![
        write(mesh, CONTROL, DISABLE),
        write(&base.folder, CONTROL, DISABLE),
        write(&base.folder, PROCESSES, SELF),
    ]
}

/// The group of a pod, by its uid.
pub fn pod(mesh: &Path, uid: &str) -> PathBuf {
    mesh.join("pods").join(uid)
}

/// Creates the group of a pod.
pub fn create_pod(group: &Path, limits: Limits) -> Vec<Step> {
    let mut steps = vec![Step::Create(group.into())];
    steps.extend(limits.settings().into_iter().map(|(file, value)| write(group, file, value)));
    steps.push(write(group, CONTROL, ENABLE));
    steps
}

/// Creates the group of a container. If the kernel ends one of its processes because memory is short, it ends all.
pub fn create_container(group: &Path, limits: Limits) -> Vec<Step> {
    let mut steps = vec![Step::Create(group.into())];
    steps.extend(limits.settings().into_iter().map(|(file, value)| write(group, file, value)));
    steps.push(write(group, "memory.oom.group", "1"));
    steps
}

const CONTROL: &str = "cgroup.subtree_control";
const ENABLE: &str = "+cpu +memory";
const DISABLE: &str = "-cpu -memory";
const PROCESSES: &str = "cgroup.procs";
/// The process that writes.
const SELF: &str = "0";

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as lines of shell.
    fn lines(steps: &[Step]) -> Vec<String> {
        let line = |step: &Step| match step {
            Step::Create(group) => format!("mkdir {}", group.display()),
            Step::Write { group, file, value, optional } => {
                let optional = if *optional { " ?" } else { "" };
                format!("{value} > {}/{file}{optional}", group.display())
            }
        };
        steps.iter().map(line).collect()
    }

    #[test]
    fn controllers_are_enabled_from_the_top_once_no_process_is_in_the_way() {
        let top = Base { folder: "/c".into(), is_own: false };
        let enabled = |group: &str| format!("+cpu +memory > {group}/cgroup.subtree_control");
        let expected = [
            "mkdir /c/m".to_string(),
            enabled("/c"),
            enabled("/c/m"),
            "mkdir /c/m/pods".into(),
            enabled("/c/m/pods"),
        ];
        assert_eq!(lines(&mesh(&top, Path::new("/c/m"), Some(8))), expected);
        assert_eq!(leave(&top, Path::new("/c/m")), []);

        let own = Base { folder: "/c".into(), is_own: true };
        let steps = lines(&mesh(&own, Path::new("/c/m"), Some(8)));
        let moved =
            ["mkdir /c/m", "mkdir /c/m/node", "0 > /c/m/node/cgroup.procs", "8 > /c/m/node/cgroup.procs ?"];
        assert_eq!(steps[..4], moved);
        assert_eq!(steps[4..], expected[1..]);
        assert_eq!(lines(&mesh(&own, Path::new("/c/m"), None))[3..], expected[1..]);
        let back = [
            "-cpu -memory > /c/m/cgroup.subtree_control",
            "-cpu -memory > /c/cgroup.subtree_control",
            "0 > /c/cgroup.procs",
        ];
        assert_eq!(lines(&leave(&own, Path::new("/c/m"))), back);
    }

    #[test]
    fn a_pod_and_its_containers_have_their_limits_before_a_process_joins() {
        let group = pod(Path::new("/c/m"), "u1");
        let limits = Limits { memory: Some(4096), cpu: Some(500) };
        let expected = [
            "mkdir /c/m/pods/u1",
            "0 > /c/m/pods/u1/memory.swap.max ?",
            "4096 > /c/m/pods/u1/memory.max",
            "50000 100000 > /c/m/pods/u1/cpu.max",
            "+cpu +memory > /c/m/pods/u1/cgroup.subtree_control",
        ];
        assert_eq!(lines(&create_pod(&group, limits)), expected);
        let container = create_container(&group.join("app"), Limits::default());
        assert_eq!(lines(&container), ["mkdir /c/m/pods/u1/app", "1 > /c/m/pods/u1/app/memory.oom.group"]);
    }
}
