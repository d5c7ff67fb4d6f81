//! Pure. Parses the kernel's list of mounts (`/proc/self/mountinfo`), and finds the mounts to hide in a container.

use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The device, as `major:minor`.
    pub device: String,
    /// The folder of the device's file system that is mounted.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
    /// Its options, such as `rw,nosuid`.
    pub options: String,
    /// Type of its file system, such as `ext4`.
    pub kind: String,
    /// Options of its file system.
    pub data: String,
}

impl Mounted {
    /// Whether an option is set.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }
}

/// Parses the kernel's list.
pub fn parse(text: &str) -> Vec<Mounted> {
    text.lines()
        .filter_map(|line| {
            let (mount, system) = line.split_once(" - ").unwrap_or((line, ""));
            let mut fields = mount.split(' ').skip(2);
            let mut system = system.split(' ');
            Some(Mounted {
                device: fields.next()?.into(),
                root: plain(fields.next()?),
                point: plain(fields.next()?),
                options: fields.next()?.into(),
                kind: system.next().unwrap_or_default().into(),
                data: system.nth(1).unwrap_or_default().into(),
            })
        })
        .collect()
}

/// The paths below `top` that show a folder or a part of it. A folder is visible at every mount of its file system that
/// contains it, not only at its own path.
pub fn places(mounts: &[Mounted], folder: &Path, top: &Path) -> Vec<PathBuf> {
    let holds = |mount: &&Mounted| !mount.point.starts_with(top) && folder.starts_with(&mount.point);
    // Of two mounts at one mount point, the later one is visible.
    let Some(holder) = mounts.iter().filter(holds).max_by_key(|mount| mount.point.components().count())
    else {
        return Vec::new();
    };
    let below = folder.strip_prefix(&holder.point).unwrap_or(Path::new(""));
    let inner = join(&holder.root, below);
    let mounts = mounts.iter().filter(|mount| mount.point.starts_with(top) && mount.device == holder.device);
    mounts
        .filter_map(|mount| {
            if mount.root.starts_with(&inner) {
                return Some(mount.point.clone());
            }
            inner.strip_prefix(&mount.root).ok().map(|below| join(&mount.point, below))
        })
        .collect()
}

/// Joins two paths without the trailing slash of joining an empty path.
fn join(folder: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { folder.into() } else { folder.join(below) }
}

/// Replaces the octal escapes of a field.
fn plain(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /run rw,nosuid - tmpfs tmpfs rw
24 22 8:2 /sub /home\\040dir ro,nodev - ext4 /dev/sda2 rw
30 22 8:1 / /new/host rw - ext4 /dev/sda1 rw
31 22 8:1 /var /new/data rw - ext4 /dev/sda1 rw
32 22 8:1 /var/lib/mesh/logs /new/logs rw - ext4 /dev/sda1 rw
33 22 0:20 / /new/run rw - tmpfs tmpfs rw
34 22 8:1 /etc /new/etc rw - ext4 /dev/sda1 rw
";

    #[test]
    fn fields_are_read_with_their_escapes() {
        let mounts = parse(LIST);
        assert_eq!(mounts[2].point, Path::new("/home dir"));
        assert_eq!((mounts[2].device.as_str(), mounts[2].root.as_path()), ("8:2", Path::new("/sub")));
        assert!(mounts[2].has("nodev") && !mounts[2].has("rw"));
        assert_eq!((mounts[2].kind.as_str(), mounts[2].data.as_str()), ("ext4", "rw"));
    }

    #[test]
    fn a_folder_is_found_at_every_mount_that_shows_it() {
        let found = |folder: &str| places(&parse(LIST), Path::new(folder), Path::new("/new"));
        let expected = ["/new/host/var/lib/mesh", "/new/data/lib/mesh", "/new/logs"].map(PathBuf::from);
        assert_eq!(found("/var/lib/mesh"), expected);
        assert_eq!(found("/run/mesh"), [PathBuf::from("/new/run/mesh")]);
        assert_eq!(found("/home dir/x"), Vec::<PathBuf>::new());
    }
}
