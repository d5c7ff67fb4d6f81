//! The state folder as an open and checked folder: it belongs to the user of this process, no other user may write to
//! it, and no link leads to it. The content of another user's folder, such as the ids of processes to end, is never
//! trusted.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};
use rustix::fs::{FileType, fstat};

use crate::beneath::{self, Access};
use crate::failure::Failure;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another user owns the folder, or a part of the path to it.
    #[error("{} belongs to user {owner}, not to you", path.display())]
    Foreign {
        /// The folder or part of the path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Other users may write to it.
    #[error("{} can be written by other users (mode {mode:o})", path.display())]
    Writable {
        /// The folder or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is of another type than expected, such as a link.
    #[error("{} is not a {expected}", path.display())]
    Odd {
        /// The folder or file.
        path: PathBuf,
        /// The expected type.
        expected: &'static str,
    },
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Failed {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let next = match &error {
            Error::Writable { path, .. } => format!("run chmod go-w {}", path.display()),
            _ => "choose another folder with --state DIR".into(),
        };
        Self::blocked(format!("the state folder cannot be used: {error}"), next)
    }
}

/// An open state folder.
#[derive(Debug)]
pub struct Folder {
    file: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder; `None` if it does not exist.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Failed { path: path.into(), source };
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.is_dir() => {
                return Err(Error::Odd { path: path.into(), expected: "folder" });
            }
            Ok(_) => {}
        }
        check_parents(path)?;
        let file = beneath::folder(path).map_err(failed)?;
        own(&file, path, FileType::Directory)?;
        Ok(Some(Self { file, path: path.into() }))
    }

    /// Opens a folder, and creates it if it is missing.
    pub fn make(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Failed { path: path.into(), source };
        if path.symlink_metadata().is_err() {
            // Checked first, so that nothing is created at the target of another user's link.
            check_parents(path)?;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        }
        Self::open(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Creates a folder in this folder.
    pub fn add(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let made = beneath::make_folder(&self.file, Path::new(name), Access::own(0o700))
            .map_err(|source| Error::Failed { path: path.clone(), source })?;
        own(&made, &path, FileType::Directory)
    }

    /// Reads a file in this folder; `None` if it does not exist.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        let failed = |source| Error::Failed { path: path.clone(), source };
        match beneath::find(&self.file, Path::new(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(found) => own(&found, &path, FileType::RegularFile)?,
        }
        // No other user may write to the folder, so this opens the file that was checked.
        beneath::read(&self.file, Path::new(name)).map(Some).map_err(failed)
    }

    /// Writes a file in this folder atomically.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        beneath::replace(&self.file, name.as_ref(), content, Access::own(0o600))
    }
}

/// Checks that an open file belongs to the user of this process and that no other user may write to it.
fn own(file: &OwnedFd, path: &Path, kind: FileType) -> Result<(), Error> {
    let found = fstat(file).map_err(|error| Error::Failed { path: path.into(), source: error.into() })?;
    if FileType::from_raw_mode(found.st_mode) != kind {
        let expected = if kind == FileType::Directory { "folder" } else { "regular file" };
        return Err(Error::Odd { path: path.into(), expected });
    }
    if found.st_uid != geteuid().as_raw() {
        return Err(Error::Foreign { path: path.into(), owner: found.st_uid });
    }
    if found.st_mode & 0o022 != 0 {
        return Err(Error::Writable { path: path.into(), mode: found.st_mode & 0o7777 });
    }
    Ok(())
}

/// Refuses a path with a folder or link that belongs to a user other than this one and root, and a path through a
/// folder in which others can rename entries that they do not own: they could replace the rest of the path at any
/// moment.
fn check_parents(path: &Path) -> Result<(), Error> {
    let trusted =
        |owner: u32| owner == 0 || owner == geteuid().as_raw() || owner == UNMAPPED && is_in_user_namespace();
    for part in path.ancestors().skip(1) {
        // A part that this user cannot stat does not lead to a folder that this user can open.
        let Ok(found) = part.symlink_metadata() else { continue };
        if !trusted(found.uid()) {
            return Err(Error::Foreign { path: part.into(), owner: found.uid() });
        }
        if found.is_dir() && lets_others_swap(found.mode(), found.gid()) {
            return Err(Error::Writable { path: part.into(), mode: found.mode() & 0o7777 });
        }
        if found.is_symlink()
            && let Ok(target) = part.canonicalize()
        {
            // The last part is not checked itself, so a name is appended to have the target checked.
            check_parents(&target.join("_"))?;
        }
    }
    Ok(())
}

/// Whether users other than the owner can rename the entries of a folder. In a folder with the sticky bit, such as
/// `/tmp`, they cannot. The group of this process and root's group count as trusted.
fn lets_others_swap(mode: u32, group: u32) -> bool {
    let own_group = group == 0 || group == getegid().as_raw() || group == UNMAPPED && is_in_user_namespace();
    let writers = if own_group { 0o002 } else { 0o022 };
    mode & 0o1000 == 0 && mode & writers != 0
}

/// The id that a user namespace shows for users that it does not map, root among them.
const UNMAPPED: u32 = 65_534;

fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_link_or_file_instead_of_the_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state");
        assert!(Folder::open(&path).unwrap().is_none());
        std::fs::create_dir(place.path().join("real")).unwrap();
        symlink("real", &path).unwrap();
        assert!(matches!(Folder::open(&path), Err(Error::Odd { .. })));
        assert!(matches!(Folder::make(&path), Err(Error::Odd { .. })));
        std::fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        assert!(Folder::make(&path).is_err(), "a dangling link");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Folder::make(&path), Err(Error::Odd { .. })));
    }

    #[test]
    fn files_that_others_may_write_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state");
        let folder = Folder::make(&path).unwrap();
        folder.write("lock.json", b"{}").unwrap();
        assert_eq!(folder.read("lock.json").unwrap().unwrap(), b"{}");
        for mode in [0o666, 0o620, 0o602] {
            chmod(&path.join("lock.json"), mode);
            assert!(matches!(folder.read("lock.json"), Err(Error::Writable { .. })), "{mode:o}");
        }
        for mode in [0o777, 0o770, 0o1777] {
            chmod(&path, mode);
            assert!(matches!(Folder::open(&path), Err(Error::Writable { .. })), "{mode:o}");
        }
        chmod(&path, 0o755);
        assert!(Folder::open(&path).unwrap().is_some());
    }

    #[test]
    fn a_folder_in_which_others_can_swap_the_state_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let around = place.path().join("around");
        let path = around.join("deep/state");
        Folder::make(&path).unwrap();
        for (mode, good) in [(0o777, false), (0o702, false), (0o1777, true), (0o770, true), (0o755, true)] {
            chmod(&around, mode);
            let found = Folder::open(&path);
            assert_eq!(found.is_ok(), good, "{mode:o}: {found:?}");
        }
        if geteuid().is_root() {
            chmod(&around, 0o770);
            chown(&around, None, Some(1234)).unwrap();
            assert!(matches!(Folder::open(&path), Err(Error::Writable { .. })), "a group of others");
        }
    }

    #[test]
    fn a_linked_file_and_a_pipe_are_not_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::make(&place.path().join("state")).unwrap();
        std::fs::write(place.path().join("other"), "{}").unwrap();
        symlink(place.path().join("other"), place.path().join("state/lock.json")).unwrap();
        assert!(folder.read("lock.json").is_err());
        nix::unistd::mkfifo(&place.path().join("state/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(folder.read("pipe"), Err(Error::Odd { .. })));
        assert!(folder.read("nothing").unwrap().is_none());
    }

    #[test]
    fn files_of_other_users_are_refused() {
        if !geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let foreign = place.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        let inner = foreign.join("state");
        Folder::make(&inner).unwrap();
        chown(&foreign, Some(1234), None).unwrap();
        assert!(matches!(Folder::open(&foreign), Err(Error::Foreign { owner: 1234, .. })));
        assert!(matches!(Folder::open(&inner), Err(Error::Foreign { owner: 1234, .. })), "the way to it");
        symlink(&foreign, place.path().join("link")).unwrap();
        assert!(matches!(Folder::open(&place.path().join("link/state")), Err(Error::Foreign { .. })));
        assert!(matches!(Folder::make(&place.path().join("link/other")), Err(Error::Foreign { .. })));
        assert!(!foreign.join("other").exists(), "made at the end of a link");
        let own = place.path().join("own");
        let folder = Folder::make(&own).unwrap();
        folder.write("lock.json", b"{}").unwrap();
        chown(own.join("lock.json"), Some(1234), None).unwrap();
        assert!(matches!(folder.read("lock.json"), Err(Error::Foreign { owner: 1234, .. })));
    }
}
