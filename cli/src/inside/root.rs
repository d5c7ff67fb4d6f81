//! Builds a container's root: executes the plan of `kubelet::mount` and makes the result this process's root. Paths
//! that a pod may have created are resolved beneath their folder, without following links, and bound by descriptor,
//! because the pod could replace a path between its check and its use.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chroot, pivot_root};

use crate::beneath::{self, Access};
use crate::inside::bind::{bind, inner};
use crate::inside::{Error, file, kernel, seal, special};
use crate::kubelet::mount::{Host, Kind, Step, plan};
use crate::wire::{Launch, Mount};

/// Builds the root and makes it the root of this process.
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
    let plan = plan(&Host { list: &list, kind: &kind }, &launch.mounts);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("ostria"), &launch.root, Some("tmpfs"), flags, Some("mode=0755"))
        .map_err(kernel("mounting the container's root"))?;
    let root = beneath::folder(&launch.root).map_err(file("opening the container's root"))?;
    for step in &plan.steps {
        show(&root, step)?;
    }
    let mut mounts = special::make(&root, &launch.root, launch)?;
    for mount in &plan.mounts {
        place(&root, mount, &launch.hidden)?;
    }
    mounts.extend(plan.mounts);
    mounts.extend(seal::hide(&root, launch)?);
    seal::protect(launch, &mounts)?;
    enter(&launch.root)
}

/// Executes a step that shows a part of the host's files.
fn show(root: &OwnedFd, step: &Step) -> Result<(), Error> {
    match step {
        Step::Open(path) => {
            let mode = std::fs::symlink_metadata(path).map_or(0o755, |found| found.permissions().mode());
            beneath::make_folder(root, inner(path), Access::own(mode & 0o7777))
                .map(drop)
                .map_err(file(format!("creating folder {}", path.display())))
        }
        Step::Folder(path) => {
            let made = beneath::make_folder(root, inner(path), Access::own(0o755));
            own(path, &made.map_err(file(format!("creating folder {}", path.display())))?)
        }
        Step::File(path) => {
            let made = beneath::make_file(root, inner(path), Access::own(0o644));
            own(path, &made.map_err(file(format!("creating file {}", path.display())))?)
        }
        Step::Link { path, target } => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let made = beneath::make_folder(root, inner(parent), Access::own(0o755)).and_then(|parent| {
                let name = path.file_name().unwrap_or_default();
                Ok(rustix::fs::symlinkat(target, &parent, name)?)
            });
            made.map_err(file(format!("creating link {}", path.display())))
        }
    }
}

/// Binds a path of the host into the root.
fn own(path: &Path, target: &OwnedFd) -> Result<(), Error> {
    match bind(path, target) {
        // Files of the host that this user cannot access are left out.
        Err(Errno::EACCES | Errno::ENOENT) => Ok(()),
        result => result.map_err(kernel(format!("mounting {}", path.display()))),
    }
}

/// Binds a mount over the existing files.
fn place(root: &OwnedFd, mount: &Mount, hidden: &Path) -> Result<(), Error> {
    let shown = || format!("mounting a volume at {}", mount.target.display());
    let source = source(mount, hidden).map_err(file(shown()))?;
    let made = beneath::is_folder(&source).and_then(|is_folder| {
        if is_folder {
            beneath::make_folder(root, inner(&mount.target), Access::own(0o755))
        } else {
            beneath::make_file(root, inner(&mount.target), Access::own(0o644))
        }
    });
    bind(&beneath::path_of(&source), &made.map_err(file(shown()))?).map_err(kernel(shown()))
}

/// Opens the source of a mount.
fn source(mount: &Mount, hidden: &Path) -> std::io::Result<OwnedFd> {
    if let Some(kind) = &mount.host {
        make(&mount.source, kind)?;
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let base = rustix::fs::openat(rustix::fs::CWD, &mount.source, flags, rustix::fs::Mode::empty())?;
    if let Some(kind) = &mount.host {
        // The descriptor's real path is compared, because links may lead to the state folder.
        if std::fs::read_link(beneath::path_of(&base))?.starts_with(hidden) {
            return Err(std::io::Error::other("hostPath leads into the state folder of the mesh"));
        }
        fits(&base, kind)?;
    }
    let Some(below) = &mount.sub_path else { return Ok(base) };
    let wrong = |error: std::io::Error| {
        std::io::Error::new(error.kind(), format!("subPath {}: {error}", below.display()))
    };
    match beneath::find(&base, below) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && mount.makes => {
            let like = rustix::fs::fstat(&base)?;
            let access = Access { mode: like.st_mode & 0o7777, user: None, group: Some(like.st_gid) };
            beneath::make_folder(&base, below, access).map_err(wrong)
        }
        found => found.map_err(wrong),
    }
}

/// Creates a missing `hostPath` if its type requires it.
fn make(path: &Path, kind: &str) -> std::io::Result<()> {
    match kind {
        "" | "DirectoryOrCreate" if !path.exists() => {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
        }
        "FileOrCreate" if !path.exists() => std::fs::File::create_new(path).map(drop),
        _ => Ok(()),
    }
}

/// Checks that a `hostPath` has its type. Devices are refused, because a read-only mount does not prevent writes to a
/// device.
fn fits(base: &OwnedFd, kind: &str) -> std::io::Result<()> {
    let found = std::fs::metadata(beneath::path_of(base))?.file_type();
    let fits = match kind {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        _ => !found.is_block_device() && !found.is_char_device(),
    };
    if fits { Ok(()) } else { Err(std::io::Error::other(format!("hostPath is not of type {kind}"))) }
}

fn enter(root: &Path) -> Result<(), Error> {
    let step = || file("entering the container's root");
    std::env::set_current_dir(root).map_err(step())?;
    match pivot_root(".", ".") {
        Ok(()) => umount2(".", MntFlags::MNT_DETACH).map_err(kernel("leaving the host's root"))?,
        // pivot_root fails if the current root is an initial RAM disk. The container's root is then moved to its place,
        // so that chroot in the container cannot leave it.
        Err(_) => {
            let nothing: Option<&str> = None;
            mount(Some("."), "/", nothing, MsFlags::MS_MOVE, nothing)
                .map_err(kernel("moving the container's root"))?;
            chroot(".").map_err(kernel("changing the root"))?;
        }
    }
    std::env::set_current_dir("/").map_err(step())
}
