//! Pure. The layout of a container's root: the host's files read-only, with the pod's volumes and a few writable
//! folders mounted over them. Folders that show the host's processes, settings and devices are replaced. The plan uses
//! bind mounts on an empty root, not an overlay, because an overlay hides what is mounted below `/` and is not
//! available in all user namespaces.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::wire::Mount;

/// The type of a path on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A symbolic link with its target.
    Link(PathBuf),
    /// Any other type.
    File,
}

/// Look-ups of the host's files for the plan.
pub struct Host<'a> {
    /// Lists the names in a folder.
    pub list: &'a dyn Fn(&Path) -> Vec<String>,
    /// Returns the type of a path; `None` if it does not exist.
    pub kind: &'a dyn Fn(&Path) -> Option<Kind>,
}

/// One step of building the root. Paths are absolute, as the container sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a folder with the same name as the host's. Steps for its entries follow.
    Open(PathBuf),
    /// Bind a folder of the host.
    Folder(PathBuf),
    /// Bind a file of the host.
    File(PathBuf),
    /// Create a symbolic link.
    Link {
        /// Path of the link.
        path: PathBuf,
        /// Target of the link.
        target: PathBuf,
    },
}

/// The steps that build a container's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Steps that bind the host's files.
    pub steps: Vec<Step>,
    /// Mounts over the host's files, outer ones first. If two have the same target, only the first is kept.
    pub mounts: Vec<Mount>,
}

/// Plans a root. Symbolic links of the host in the mounts' targets are followed.
pub fn plan(host: &Host<'_>, mounts: &[Mount]) -> Plan {
    let mut mounts: Vec<Mount> =
        mounts.iter().map(|mount| Mount { target: resolve(host, &mount.target), ..mount.clone() }).collect();
    let mut taken = BTreeSet::new();
    mounts.retain(|mount| taken.insert(mount.target.clone()));
    mounts.sort_by_key(|mount| mount.target.components().count());
    let outer: BTreeSet<&Path> = mounts
        .iter()
        .map(|mount| mount.target.as_path())
        .filter(|target| {
            !mounts.iter().any(|other| other.target != *target && target.starts_with(&other.target))
        })
        .collect();
    let mut steps = Vec::new();
    walk(host, Path::new("/"), &outer, &mut steps);
    Plan { steps, mounts }
}

/// Whether a path in the container is writable. The innermost mount around it decides.
pub fn is_writable(mounts: &[Mount], place: &Path) -> bool {
    let around = mounts.iter().filter(|mount| place.starts_with(&mount.target));
    let innermost = around.max_by_key(|mount| mount.target.components().count());
    innermost.map_or_else(|| OPEN.iter().any(|open| place.starts_with(open)), |mount| !mount.read_only)
}

/// Whether devices may be opened at a path: only the few devices that each container gets, and terminals. A device of
/// the host gives access to the host even on a read-only mount.
pub fn has_devices(place: &Path) -> bool {
    let own = place.strip_prefix("/dev").ok().and_then(Path::to_str);
    place.starts_with("/proc") || own.is_some_and(|name| name == "pts" || DEVICES.contains(&name))
}

/// Binds the entries of a folder. Descends into an entry if a mount's target in it does not exist on the host.
fn walk(host: &Host<'_>, folder: &Path, targets: &BTreeSet<&Path>, steps: &mut Vec<Step>) {
    for name in (host.list)(folder) {
        let path = folder.join(name);
        if targets.contains(path.as_path()) || MADE.iter().any(|made| path == Path::new(made)) {
            continue;
        }
        let lacking = targets.iter().any(|target| target.starts_with(&path) && (host.kind)(target).is_none());
        match (host.kind)(&path) {
            Some(Kind::Folder) if lacking => {
                steps.push(Step::Open(path.clone()));
                walk(host, &path, targets, steps);
            }
            Some(Kind::Folder) => steps.push(Step::Folder(path)),
            Some(Kind::Link(target)) => steps.push(Step::Link { path, target }),
            Some(Kind::File) => steps.push(Step::File(path)),
            None => {}
        }
    }
}

/// Folders that are created for each container. The host's folders would show its processes, settings and devices.
const MADE: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The devices of a container. They give no access to the host.
pub const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Kernel file systems that belong to the container alone. Paths in them that must not be written are bound read-only.
const OPEN: [&str; 3] = ["/proc", "/dev/pts", "/dev/mqueue"];

/// The path with symbolic links followed in the part that exists.
fn resolve(host: &Host<'_>, path: &Path) -> PathBuf {
    let mut done = PathBuf::from("/");
    let mut rest: Vec<PathBuf> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part.as_os_str() == ".." {
            done.pop();
            continue;
        }
        match (host.kind)(&done.join(&part)) {
            Some(Kind::Link(target)) if links < 40 => {
                links += 1;
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                rest.extend(parts(&target));
            }
            _ => done.push(part),
        }
    }
    done
}

fn parts(path: &Path) -> Vec<PathBuf> {
    use std::path::Component::{Normal, ParentDir};
    path.components()
        .rev()
        .filter(|part| matches!(part, Normal(_) | ParentDir))
        .map(|part| part.as_os_str().into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn steps(entries: &[(&str, Kind)], mounts: &[(&str, &str)]) -> Vec<String> {
        let tree: BTreeMap<PathBuf, Kind> =
            entries.iter().map(|(path, kind)| (path.into(), kind.clone())).collect();
        let list = |folder: &Path| {
            tree.keys()
                .filter(|path| path.parent() == Some(folder))
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        let kind = |path: &Path| tree.get(path).cloned();
        let mounts: Vec<_> = mounts.iter().map(|(source, target)| mount(source, target, false)).collect();
        let plan = plan(&Host { list: &list, kind: &kind }, &mounts);
        let steps = plan.steps.into_iter().map(|step| match step {
            Step::Open(path) => format!("open {}", path.display()),
            Step::Folder(path) => format!("folder {}", path.display()),
            Step::File(path) => format!("file {}", path.display()),
            Step::Link { path, target } => format!("link {} {}", path.display(), target.display()),
        });
        let mounts = plan.mounts.into_iter();
        let mounts =
            mounts.map(|mount| format!("mount {} {}", mount.source.display(), mount.target.display()));
        steps.chain(mounts).collect()
    }

    fn mount(source: &str, target: &str, read_only: bool) -> Mount {
        Mount { target: target.into(), read_only, ..Mount::of(source) }
    }

    #[test]
    fn a_mount_on_an_existing_path_is_bound_over_the_host() {
        let host = [("/etc", Kind::Folder), ("/etc/hosts", Kind::File), ("/s", Kind::File)];
        assert_eq!(steps(&host, &[("/s", "/etc/hosts")]), ["folder /etc", "file /s", "mount /s /etc/hosts"]);
    }

    #[test]
    fn a_folder_without_the_mount_point_is_rebuilt_with_its_other_entries_bound() {
        let host = [("/etc", Kind::Folder), ("/etc/hosts", Kind::File), ("/etc/ssl", Kind::Folder)];
        assert_eq!(
            steps(&host, &[("/v", "/etc/istio/proxy")]),
            ["open /etc", "file /etc/hosts", "folder /etc/ssl", "mount /v /etc/istio/proxy"]
        );
    }

    #[test]
    fn links_are_followed_to_a_writable_folder_that_comes_first() {
        let host = [("/run", Kind::Folder), ("/var", Kind::Folder), ("/var/run", Kind::Link("/run".into()))];
        assert_eq!(
            steps(&host, &[("/v", "/var/run/secrets/token"), ("/scratch", "/run")]),
            ["folder /var", "mount /scratch /run", "mount /v /run/secrets/token"]
        );
        assert_eq!(
            steps(&host, &[("/v", "/var/run"), ("/scratch", "/run")]),
            ["folder /var", "mount /v /run"]
        );
    }

    #[test]
    fn the_hosts_processes_settings_and_devices_are_not_shown() {
        let host = ["/proc", "/sys", "/dev", "/usr"].map(|path| (path, Kind::Folder));
        assert_eq!(steps(&host, &[("/shm", "/dev/shm")]), ["folder /usr", "mount /shm /dev/shm"]);
    }

    #[test]
    fn the_innermost_mount_decides_whether_a_path_is_writable() {
        let mounts =
            [mount("/a", "/data", false), mount("/b", "/data/fixed", true), mount("/s", "/proc/sys", true)];
        let cases = [
            ("/", false),
            ("/usr/lib", false),
            ("/data", true),
            ("/data/x", true),
            ("/data/fixed/x", false),
            ("/database", false),
            ("/proc", true),
            ("/proc/sys/net", false),
            ("/dev", false),
            ("/dev/pts", true),
            ("/sys", false),
        ];
        for (place, expected) in cases {
            assert_eq!(is_writable(&mounts, Path::new(place)), expected, "{place}");
        }
    }
    #[test]
    fn devices_are_opened_where_the_container_has_its_own() {
        for (place, expected) in [
            ("/dev/null", true),
            ("/dev/pts", true),
            ("/proc/keys", true),
            ("/dev", false),
            ("/dev/sda", false),
            ("/", false),
            ("/host/dev", false),
        ] {
            assert_eq!(has_devices(Path::new(place)), expected, "{place}");
        }
    }
}
