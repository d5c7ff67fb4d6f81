//! Builds a container's root: carries out the plan of `kubelet::mount` and makes it this process's root.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chroot, pivot_root};

use crate::inside::{Error, file, kernel};
use crate::kubelet::mount::{Host, Kind, Step, plan};
use crate::wire::Launch;

/// Builds the root and enters it.
pub fn build(launch: &Launch) -> Result<(), Error> {
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let kind = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some(if metadata.is_dir() {
            Kind::Folder
        } else if metadata.is_symlink() {
            Kind::Link(std::fs::read_link(path).ok()?)
        } else {
            Kind::File
        })
    };
    let steps = plan(&Host { list: &list, kind: &kind }, &launch.mounts);
    let root = &launch.root;
    mount(Some("ostria"), root, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .map_err(kernel("mounting the container's root"))?;
    for step in &steps {
        perform(root, step)?;
    }
    for step in &steps {
        if let Step::Bind { target, writable: false, .. } = step {
            protect(&inside(root, target));
        }
    }
    enter(root)
}

fn perform(root: &Path, step: &Step) -> Result<(), Error> {
    match step {
        Step::Folder(path) => {
            let path = inside(root, path);
            std::fs::create_dir_all(&path).map_err(file(format!("making folder {}", path.display())))
        }
        Step::File(path) => {
            let path = inside(root, path);
            let parent = path.parent().unwrap_or(root);
            std::fs::create_dir_all(parent).map_err(file(format!("making folder {}", parent.display())))?;
            if path.symlink_metadata().is_ok() {
                return Ok(());
            }
            std::fs::write(&path, "").map_err(file(format!("making file {}", path.display())))
        }
        Step::Link { path, target } => {
            let path = inside(root, path);
            std::os::unix::fs::symlink(target, &path).map_err(file(format!("making link {}", path.display())))
        }
        Step::Bind { source, target, .. } => {
            let nothing: Option<&str> = None;
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            match mount(Some(source), &inside(root, target), nothing, flags, nothing) {
                // Files of the host that this user may not see are not shown either.
                Err(Errno::EACCES | Errno::ENOENT) if source == target => Ok(()),
                result => {
                    result.map_err(kernel(format!("mounting {} at {}", source.display(), target.display())))
                }
            }
        }
    }
}

/// Makes a bind read-only. What is mounted below it keeps its own mode, and so does what the kernel locks.
fn protect(path: &Path) {
    let Ok(status) = statvfs(path) else { return };
    let keep = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = keep
        .iter()
        .filter(|(from, _)| status.flags().contains(*from))
        .fold(MsFlags::empty(), |all, (_, to)| all | *to);
    let nothing: Option<&str> = None;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept;
    let _ = mount(nothing, path, nothing, flags, nothing);
}

fn enter(root: &Path) -> Result<(), Error> {
    std::env::set_current_dir(root).map_err(file("entering the container's root"))?;
    match pivot_root(".", ".") {
        Ok(()) => umount2(".", MntFlags::MNT_DETACH).map_err(kernel("leaving the host's root"))?,
        // An initial ram disk cannot be left by pivot_root.
        Err(_) => chroot(".").map_err(kernel("changing the root"))?,
    }
    std::env::set_current_dir("/").map_err(file("entering the container's root"))
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
