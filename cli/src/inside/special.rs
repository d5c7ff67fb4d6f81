//! A container's kernel file systems: its own `/proc`, `/sys` and `/dev`. Paths that reveal or change the host's state
//! are hidden or read-only, as in container runtimes.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::beneath::{self, Access};
use crate::inside::bind::{bind, inner};
use crate::inside::{Error, file, kernel};
use crate::kubelet::mount::DEVICES;
use crate::wire::{Launch, Mount};

/// Mounts the file systems beneath the new root. Returns the paths that must be made read-only.
pub fn make(root: &OwnedFd, path: &Path, launch: &Launch) -> Result<Vec<Mount>, Error> {
    for name in ["proc", "sys", "dev"] {
        let made = beneath::make_folder(root, Path::new(name), Access::own(0o755));
        made.map_err(file(format!("creating folder /{name}")))?;
    }
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    attach("proc", &path.join("proc"), quiet, None).map_err(kernel("mounting /proc"))?;
    system(root, path, quiet)?;
    devices(root, path)?;
    let mut kept = Vec::new();
    for place in READ_ONLY {
        if let Ok(found) = beneath::find(root, inner(Path::new(place))) {
            bind(&beneath::path_of(&found), &found).map_err(kernel(format!("binding {place}")))?;
            kept.push(Mount { target: place.into(), read_only: true, ..Mount::of(place) });
        }
    }
    for place in hidden() {
        let Ok(found) = beneath::find(root, inner(&place)) else { continue };
        let is_folder = beneath::is_folder(&found).map_err(file(format!("hiding {}", place.display())))?;
        let cover = if is_folder { launch.empty.clone() } else { path.join("dev/null") };
        bind(&cover, &found).map_err(kernel(format!("hiding {}", place.display())))?;
        kept.push(Mount { target: place, read_only: true, ..Mount::of(cover) });
    }
    Ok(kept)
}

/// Mounts `/sys`, as the pod's network namespace shows it, and the container's own control group.
fn system(root: &OwnedFd, path: &Path, quiet: MsFlags) -> Result<(), Error> {
    let flags = quiet | MsFlags::MS_RDONLY;
    let place = path.join("sys");
    if attach("sysfs", &place, flags, None).is_err() {
        // The kernel refuses this mount in a user namespace if parts of the host's `/sys` are covered.
        let found = beneath::find(root, Path::new("sys")).map_err(file("mounting /sys"))?;
        return bind(Path::new("/sys"), &found).map_err(kernel("mounting /sys"));
    }
    let groups = Path::new("/sys/fs/cgroup");
    if statfs(groups).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        // If this fails, programs see the resources of the whole machine; nothing else depends on it.
        let _ = attach("cgroup2", &path.join(inner(groups)), flags, None);
    }
    Ok(())
}

/// Creates the devices that give no access to the host, and the container's own terminals.
fn devices(root: &OwnedFd, path: &Path) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    attach("tmpfs", &path.join("dev"), flags, Some("mode=0755,size=64k")).map_err(kernel("mounting /dev"))?;
    for name in DEVICES {
        let place = Path::new("dev").join(name);
        let made = beneath::make_file(root, &place, Access::own(0o666));
        let made = made.map_err(file(format!("creating /dev/{name}")))?;
        bind(&Path::new("/dev").join(name), &made).map_err(kernel(format!("mounting /dev/{name}")))?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        let made = beneath::make_folder(root, &Path::new("dev").join(name), Access::own(mode));
        made.map_err(file(format!("creating /dev/{name}")))?;
    }
    attach("devpts", &path.join("dev/pts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))
        .map_err(kernel("mounting /dev/pts"))?;
    // Few programs use message queues, and some kernels do not support them, so errors are ignored.
    let _ = attach("mqueue", &path.join("dev/mqueue"), flags | MsFlags::MS_NODEV, None);
    for (name, target) in LINKS {
        std::os::unix::fs::symlink(target, path.join("dev").join(name))
            .map_err(file(format!("creating link /dev/{name}")))?;
    }
    Ok(())
}

fn attach(kind: &str, place: &Path, flags: MsFlags, options: Option<&str>) -> Result<(), Errno> {
    mount(Some(kind), place, Some(kind), flags, options)
}

/// Paths that reveal the state of the whole machine.
fn hidden() -> impl Iterator<Item = PathBuf> {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let heat = (0..count).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle").into());
    HIDDEN.iter().map(PathBuf::from).chain(heat)
}

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const READ_ONLY: [&str; 8] = [
    "/proc/bus",
    "/proc/driver",
    "/proc/dynamic_debug",
    "/proc/fs",
    "/proc/irq",
    "/proc/mtrr",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const HIDDEN: [&str; 17] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/kernel/debug",
];
