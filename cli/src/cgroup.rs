//! The file system of control groups (cgroup v2): changes, joins, ends and removes a group.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Writes a value to a file of a group.
pub fn write(group: &Path, file: &str, value: &str) -> io::Result<()> {
    // The kernel takes a value as a whole, so it is written at once, and the file is never created.
    std::fs::OpenOptions::new().write(true).open(group.join(file))?.write_all(value.as_bytes())
}

/// Moves this process into a group.
pub fn join(group: &Path) -> io::Result<()> {
    write(group, "cgroup.procs", "0")
}

/// How many processes of a group the kernel has ended because memory was short.
pub fn memory_kills(group: &Path) -> u64 {
    let events = std::fs::read_to_string(group.join("memory.events")).unwrap_or_default();
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Ends all processes of a group and its descendants.
pub fn kill(group: &Path) -> io::Result<()> {
    match write(group, "cgroup.kill", "1") {
        // The group is gone, or the kernel is older than 5.14.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes a group and its descendants. Returns whether that is done; otherwise processes of it have not ended yet.
pub fn remove(group: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !remove(&entry.path())? {
            return Ok(false);
        }
    }
    match std::fs::remove_dir(group) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends all processes of a mesh's group and removes it. Only the file system of control groups is changed, whatever the
/// path is.
pub fn clear(group: &Path) -> io::Result<()> {
    match statfs(group) {
        Err(nix::errno::Errno::ENOENT) => return Ok(()),
        Ok(found) if found.filesystem_type() == CGROUP2_SUPER_MAGIC => {}
        Ok(_) => return Err(io::Error::other("is no control group")),
        Err(error) => return Err(error.into()),
    }
    kill(group)?;
    for _ in 0..TRIES {
        if remove(group)? {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(ErrorKind::ResourceBusy.into())
}

/// How often the removal of a group is tried while its processes end.
pub const TRIES: u32 = 200;
/// The time between two tries.
pub const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_to_files_that_exist_and_counts_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path();
        assert_eq!(write(group, "memory.max", "1").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(group).unwrap().count(), 0, "no file is created");
        std::fs::write(group.join("memory.max"), "").unwrap();
        write(group, "memory.max", "4096").unwrap();
        assert_eq!(std::fs::read_to_string(group.join("memory.max")).unwrap(), "4096");
        assert_eq!(memory_kills(group), 0);
        std::fs::write(group.join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 1\n").unwrap();
        assert_eq!(memory_kills(group), 2);
    }

    #[test]
    fn a_tree_of_groups_is_removed_from_below_and_a_missing_one_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("mesh");
        std::fs::create_dir_all(group.join("pods/a/b")).unwrap();
        std::fs::create_dir_all(group.join("pods/c")).unwrap();
        assert!(remove(&group).unwrap());
        assert!(!group.exists());
        assert!(remove(&group).unwrap());
        kill(&group).unwrap();
        clear(&group).unwrap();
    }

    #[test]
    fn a_folder_that_is_no_control_group_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(clear(folder.path()).unwrap_err().to_string(), "is no control group");
        assert!(folder.path().exists());
    }
}
