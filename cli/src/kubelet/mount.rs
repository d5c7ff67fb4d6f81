//! Pure. What a container's root looks like: the host's files read-only, with the pod's volumes and a few
//! writable folders laid over them. It plans binds on an empty root rather than an overlay, because an overlay
//! hides what is mounted below `/` and user namespaces may not have it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::wire::Mount;

/// What a path of the host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A symbolic link with its target.
    Link(PathBuf),
    /// Anything else.
    File,
}

/// How the plan looks at the host's files.
pub struct Host<'a> {
    /// The names in a folder.
    pub list: &'a dyn Fn(&Path) -> Vec<String>,
    /// What a path is; nothing where there is none.
    pub kind: &'a dyn Fn(&Path) -> Option<Kind>,
}

/// One step of building the root; paths are absolute, as the container sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a folder.
    Folder(PathBuf),
    /// Make an empty file to bind on.
    File(PathBuf),
    /// Make a symbolic link.
    Link {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// Bind a path of the host.
    Bind {
        /// The host's path.
        source: PathBuf,
        /// The container's.
        target: PathBuf,
        /// Whether it may be written.
        writable: bool,
    },
}

/// The steps that show the host's files with the mounts over them.
pub fn plan(host: &Host<'_>, mounts: &[Mount]) -> Vec<Step> {
    let mut mounts: Vec<Mount> =
        mounts.iter().map(|mount| Mount { target: resolve(host, &mount.target), ..mount.clone() }).collect();
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
    for mount in &mounts {
        let point = match (host.kind)(&mount.source) {
            Some(Kind::Folder) | None => Step::Folder(mount.target.clone()),
            _ => Step::File(mount.target.clone()),
        };
        steps.push(point);
        steps.push(Step::Bind {
            source: mount.source.clone(),
            target: mount.target.clone(),
            writable: !mount.read_only,
        });
    }
    steps
}

/// Binds a folder's entries, and goes into those in which a mount needs a place that the host lacks.
fn walk(host: &Host<'_>, folder: &Path, targets: &BTreeSet<&Path>, steps: &mut Vec<Step>) {
    for name in (host.list)(folder) {
        let path = folder.join(name);
        if targets.contains(path.as_path()) {
            continue;
        }
        let lacking = targets.iter().any(|target| target.starts_with(&path) && (host.kind)(target).is_none());
        match (host.kind)(&path) {
            Some(Kind::Folder) if lacking => {
                steps.push(Step::Folder(path.clone()));
                walk(host, &path, targets, steps);
            }
            Some(Kind::Folder) => {
                steps.push(Step::Folder(path.clone()));
                steps.push(Step::Bind { source: path.clone(), target: path, writable: false });
            }
            Some(Kind::Link(target)) => steps.push(Step::Link { path, target }),
            Some(Kind::File) => {
                steps.push(Step::File(path.clone()));
                steps.push(Step::Bind { source: path.clone(), target: path, writable: false });
            }
            None => {}
        }
    }
}

/// The path with the symbolic links of its existing part followed.
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
        let mounts: Vec<_> = mounts
            .iter()
            .map(|(source, target)| Mount { source: source.into(), target: target.into(), read_only: false })
            .collect();
        plan(&Host { list: &list, kind: &kind }, &mounts)
            .into_iter()
            .map(|step| match step {
                Step::Folder(path) => format!("folder {}", path.display()),
                Step::File(path) => format!("file {}", path.display()),
                Step::Link { path, target } => format!("link {} {}", path.display(), target.display()),
                Step::Bind { source, target, writable } => {
                    format!("bind {} {} {writable}", source.display(), target.display())
                }
            })
            .collect()
    }

    #[test]
    fn a_mount_on_an_existing_path_is_bound_over_the_host() {
        let host = [("/etc", Kind::Folder), ("/etc/hosts", Kind::File), ("/s", Kind::File)];
        assert_eq!(
            steps(&host, &[("/s", "/etc/hosts")]),
            [
                "folder /etc",
                "bind /etc /etc false",
                "file /s",
                "bind /s /s false",
                "file /etc/hosts",
                "bind /s /etc/hosts true"
            ]
        );
    }

    #[test]
    fn a_folder_that_lacks_the_place_is_opened_and_its_other_entries_are_bound() {
        let host = [("/etc", Kind::Folder), ("/etc/hosts", Kind::File), ("/etc/ssl", Kind::Folder)];
        assert_eq!(
            steps(&host, &[("/v", "/etc/istio/proxy")]),
            [
                "folder /etc",
                "file /etc/hosts",
                "bind /etc/hosts /etc/hosts false",
                "folder /etc/ssl",
                "bind /etc/ssl /etc/ssl false",
                "folder /etc/istio/proxy",
                "bind /v /etc/istio/proxy true"
            ]
        );
    }

    #[test]
    fn links_are_followed_to_a_writable_folder_that_comes_first() {
        let host = [("/run", Kind::Folder), ("/var", Kind::Folder), ("/var/run", Kind::Link("/run".into()))];
        assert_eq!(
            steps(&host, &[("/v", "/var/run/secrets/token"), ("/scratch", "/run")]),
            [
                "folder /var",
                "bind /var /var false",
                "folder /run",
                "bind /scratch /run true",
                "folder /run/secrets/token",
                "bind /v /run/secrets/token true"
            ]
        );
    }
}
