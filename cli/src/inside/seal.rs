//! Protects a container's root: hides the state folder wherever it is visible, and makes all mounts read-only that are
//! not the pod's own, including the mounts below them.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::beneath;
use crate::inside::bind::bind;
use crate::inside::{Error, file, kernel};
use crate::kubelet::mount::{has_devices, is_writable};
use crate::kubelet::mountinfo::{self, Mounted};
use crate::wire::{Launch, Mount};

/// Mounts an empty folder over each path where the state folder or the pod's processes are visible. Returns these
/// mounts.
pub fn hide(root: &OwnedFd, launch: &Launch) -> Result<Vec<Mount>, Error> {
    let mut covered = Vec::new();
    let mounts = mounts()?;
    // A volume of the host's `/proc` shows the pod's processes too, including its first process.
    let own = launch.root.join("proc");
    let processes = mountinfo::places(&mounts, Path::new("/proc"), &launch.root);
    let processes = processes.into_iter().filter(|place| *place != own);
    for place in mountinfo::places(&mounts, &launch.hidden, &launch.root).into_iter().chain(processes) {
        let place = place.strip_prefix(&launch.root).unwrap_or(&place);
        // A path that is not found is already covered by another mount.
        let Ok(found) = beneath::find(root, place) else { continue };
        let is_folder = beneath::is_folder(&found).map_err(file("looking for the state folder"))?;
        let cover = if is_folder { launch.empty.clone() } else { launch.root.join("dev/null") };
        bind(&cover, &found).map_err(kernel("hiding the state folder"))?;
        // The cover is read-only too, so that pods cannot exchange files through it.
        covered.push(Mount { target: Path::new("/").join(place), read_only: true, ..Mount::of(cover) });
    }
    Ok(covered)
}

/// Makes every mount of the root read-only unless it is in a writable volume, and blocks devices of the host. If a
/// mount cannot be restricted, the container does not start.
pub fn protect(launch: &Launch, volumes: &[Mount]) -> Result<(), Error> {
    for mounted in mounts()?.iter().filter(|mounted| mounted.point.starts_with(&launch.root)) {
        let place = Path::new("/").join(mounted.point.strip_prefix(&launch.root).unwrap_or(Path::new("")));
        let is_root = mounted.point == launch.root;
        let is_fixed = if is_root { launch.read_only_root } else { !is_writable(volumes, &place) };
        let mut wanted = MsFlags::empty();
        wanted.set(MsFlags::MS_RDONLY, is_fixed && !mounted.has("ro"));
        wanted.set(MsFlags::MS_NODEV, !has_devices(&place) && !mounted.has("nodev"));
        if wanted.is_empty() {
            continue;
        }
        match restrict(mounted, wanted) {
            // Another mount covers this one, so that it is unreachable.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOTDIR) => {}
            result => result.map_err(kernel(format!("restricting {}", place.display())))?,
        }
    }
    Ok(())
}

/// Makes all mounts at and below a path read-only. Pods cannot undo this, because they may not mount.
pub fn make_read_only(place: &Path) -> Result<(), Error> {
    let place = &std::fs::canonicalize(place).map_err(file(format!("looking for {}", place.display())))?;
    let mounts = mounts()?;
    let Some(mounted) = mounts.iter().rfind(|mounted| mounted.point == *place) else {
        return Err(kernel(format!("looking for the mount {}", place.display()))(Errno::ENOENT));
    };
    restrict(mounted, MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID)
        .map_err(kernel(format!("restricting {}", place.display())))
}

/// Adds options to one mount. Its current options are repeated, because the kernel does not let a user namespace remove
/// them.
fn restrict(mounted: &Mounted, wanted: MsFlags) -> Result<(), Errno> {
    let kept = OPTIONS.iter().filter(|(name, _)| mounted.has(name));
    let flags = kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | wanted, |all, (_, flag)| all | *flag);
    let nothing: Option<&str> = None;
    mount(nothing, &mounted.point, nothing, flags, nothing)
}

fn mounts() -> Result<Vec<Mounted>, Error> {
    let text = std::fs::read("/proc/self/mountinfo").map_err(file("reading the list of mounts"))?;
    Ok(mountinfo::parse(&String::from_utf8_lossy(&text)))
}

const OPTIONS: [(&str, MsFlags); 7] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
];
