//! Opens and creates files beneath a folder without following links. Pods, and on a shared machine other users, can
//! replace a part of a path with a link at any moment. So the kernel resolves a path once (openat2), and every later
//! step uses the descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, openat2,
    renameat, unlinkat,
};
use rustix::io::Errno;

/// Owner, group and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner; without it, the user of this process.
    pub user: Option<u32>,
    /// Group; without it, the group of this process.
    pub group: Option<u32>,
}

impl Access {
    /// Owned by the user of this process, with this mode.
    pub fn own(mode: u32) -> Self {
        Self { mode, user: None, group: None }
    }

    /// Sets owner, group and mode of an open file.
    pub fn give(self, file: impl AsFd) -> io::Result<()> {
        if self.user.is_some() || self.group.is_some() {
            fchown(&file, self.user.map(Uid::from_raw), self.group.map(Gid::from_raw))?;
        }
        // The mode is set last, because a change of the owner clears bits of the mode.
        Ok(fchmod(&file, Mode::from_raw_mode(self.mode))?)
    }
}

/// Opens a folder. The last part of the path must not be a link; links in the other parts are followed.
pub fn folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(rustix::fs::CWD, path, FOLDER, Mode::empty())?)
}

/// Opens the file or folder at a relative path beneath a folder.
pub fn find(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open(root, path, OFlags::PATH | OFlags::CLOEXEC)
}

/// Reads a file beneath a folder.
pub fn read(root: impl AsFd, path: &Path) -> io::Result<Vec<u8>> {
    // Without NONBLOCK, a pipe in place of the file would block this process.
    let file = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)?;
    if !is_file(&file)? {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut content = Vec::new();
    io::Read::read_to_end(&mut File::from(file), &mut content)?;
    Ok(content)
}

/// Opens the folder at a relative path beneath another folder, and creates the missing parts of the path.
pub fn make_folder(root: impl AsFd, path: &Path, access: Access) -> io::Result<OwnedFd> {
    let mut here = open(root, Path::new("."), FOLDER)?;
    for part in parts(path)? {
        here = match open(&here, part.as_ref(), FOLDER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&here, &part, Mode::RWXU) {
                    Ok(()) => {
                        let made = open(&here, part.as_ref(), FOLDER)?;
                        access.give(&made)?;
                        made
                    }
                    Err(Errno::EXIST) => open(&here, part.as_ref(), FOLDER)?,
                    Err(error) => return Err(error.into()),
                }
            }
            opened => opened?,
        };
    }
    Ok(here)
}

/// Opens the file at a relative path beneath a folder. Creates an empty file and the folders on the way if they are
/// missing.
pub fn make_file(root: impl AsFd, path: &Path, access: Access) -> io::Result<OwnedFd> {
    let (parent, name) = split(path)?;
    let parent = make_folder(root, &parent, Access { mode: access.mode | 0o111, ..access })?;
    match find(&parent, Path::new(&name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            access.give(openat(&parent, &name, flags, Mode::RUSR | Mode::WUSR)?)?;
            find(&parent, Path::new(&name))
        }
        found => found,
    }
}

/// Writes a file beneath a folder atomically: a reader sees the old or the new content, and the content is not readable
/// before the file has its owner and mode.
pub fn replace(root: impl AsFd, name: &OsStr, content: &[u8], access: Access) -> io::Result<()> {
    let mut part = OsStr::new(".").to_os_string();
    part.push(name);
    part.push(".part~");
    // A name of nearly 255 bytes leaves no room for a suffix.
    let part = if part.len() > 255 { ".part~".into() } else { part };
    // Removes the temporary file of an interrupted write.
    match unlinkat(&root, &part, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&root, &part, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file.write_all(content).and_then(|()| access.give(&file));
    let placed = written.and_then(|()| Ok(renameat(&root, &part, &root, name)?));
    if placed.is_err() {
        let _ = unlinkat(&root, &part, AtFlags::empty());
    }
    placed
}

/// Writes a file with mode 0600. The folder of the path must belong to the user of this process.
pub fn replace_own(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    replace(folder(path.parent().unwrap_or(Path::new("/")))?, name, content, Access::own(0o600))
}

/// Opens a log for appending, with mode 0600. Fails if a link is in its place.
pub fn append(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(rustix::fs::CWD, path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Whether an open file is a folder.
pub fn is_folder(file: impl AsFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Directory)
}

fn is_file(file: impl AsFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::RegularFile)
}

/// The `/proc` path of an open file, for system calls that take a path.
pub fn path_of(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Splits a relative path into its parent and its last part.
fn split(path: &Path) -> io::Result<(PathBuf, std::ffi::OsString)> {
    let mut parts = parts(path)?;
    let name = parts.pop().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok((parts.into_iter().collect(), name))
}

fn parts(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_os_string()),
            Component::CurDir => {}
            _ => return Err(io::Error::other("the path leaves its folder")),
        }
    }
    Ok(parts)
}

fn open(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // The kernel returns EAGAIN when something was renamed during the look-up.
    for _ in 0..TRIES {
        match openat2(&root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            Err(Errno::LOOP) => return Err(io::Error::other("a part of the path is a link")),
            Err(Errno::XDEV) => return Err(io::Error::other("the path leaves its folder")),
            opened => return Ok(opened?),
        }
    }
    Err(Errno::AGAIN.into())
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const TRIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn paths_out_of_the_folder_or_through_links_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let root = folder(inside.path()).unwrap();
        std::fs::create_dir(inside.path().join("real")).unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink("real", inside.path().join("near")).unwrap();
        symlink("/proc/self/root", inside.path().join("magic")).unwrap();
        let own = Access::own(0o755);
        for path in [
            "..",
            "../x",
            "real/../..",
            "/etc",
            "link",
            "link/secret",
            "link/made",
            "near",
            "near/x",
            "magic/etc",
        ] {
            let path = Path::new(path);
            assert!(find(&root, path).is_err(), "{path:?} is found");
            assert!(read(&root, path).is_err(), "{path:?} is read");
            assert!(make_folder(&root, path, own).is_err(), "{path:?} is made");
            assert!(make_file(&root, path, own).is_err(), "{path:?} is made");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert!(find(&root, Path::new("real")).is_ok());
        assert!(folder(&inside.path().join("link")).is_err());
    }

    #[test]
    fn a_folder_that_is_repeatedly_replaced_by_a_link_never_leads_outside() {
        use rustix::fs::{RenameFlags, renameat_with};
        use std::sync::atomic::{AtomicBool, Ordering};
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("below")).unwrap();
        let inside = tempfile::tempdir().unwrap();
        let root = folder(inside.path()).unwrap();
        std::fs::create_dir_all(inside.path().join("real/below")).unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        let own = fstat(find(&root, Path::new("real/below")).unwrap()).unwrap().st_ino;
        let (done, swapped) = (AtomicBool::new(false), folder(inside.path()).unwrap());
        let mut foreign = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(&swapped, "real", &swapped, "link", RenameFlags::EXCHANGE).unwrap();
                }
            });
            for _ in 0..2_000 {
                if let Ok(found) = find(&root, Path::new("real/below")) {
                    foreign += u32::from(fstat(found).unwrap().st_ino != own);
                }
                // The folder is created, or the call fails at a link.
                let _ = make_folder(&root, Path::new("real/made"), Access::own(0o700));
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!((foreign, std::fs::read_dir(outside.path()).unwrap().count()), (0, 1));
    }

    #[test]
    fn missing_parts_are_made_with_the_wanted_mode() {
        let inside = tempfile::tempdir().unwrap();
        let root = folder(inside.path()).unwrap();
        make_folder(&root, Path::new("a/b"), Access::own(0o2770)).unwrap();
        assert_eq!((mode(&inside.path().join("a")), mode(&inside.path().join("a/b"))), (0o2770, 0o2770));
        make_file(&root, Path::new("a/c/file"), Access::own(0o640)).unwrap();
        assert_eq!(mode(&inside.path().join("a/c/file")), 0o640);
        assert!(is_folder(find(&root, Path::new("a")).unwrap()).unwrap());
    }

    #[test]
    fn a_replaced_file_is_never_written_through_a_link() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let root = folder(inside.path()).unwrap();
        symlink(outside.path(), inside.path().join("key")).unwrap();
        symlink(outside.path(), inside.path().join(".key.part~")).unwrap();
        replace(&root, OsStr::new("key"), b"new", Access::own(0o400)).unwrap();
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
        assert_eq!(read(&root, Path::new("key")).unwrap(), b"new");
        assert_eq!(mode(&inside.path().join("key")), 0o400);
        let long = "k".repeat(253);
        replace(&root, OsStr::new(&long), b"", Access::own(0o600)).unwrap();
        assert_eq!(std::fs::read_dir(inside.path()).unwrap().count(), 2);
    }
}
