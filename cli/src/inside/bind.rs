//! Bind-mounts parts of the host's files into a container's root.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::beneath;

/// Bind-mounts a path, with all mounts below it, on an open folder or file.
pub fn bind(source: &Path, target: &OwnedFd) -> Result<(), Errno> {
    let nothing: Option<&str> = None;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), &beneath::path_of(target), nothing, flags, nothing)
}

/// Converts an absolute path to a path relative to the root.
pub fn inner(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
