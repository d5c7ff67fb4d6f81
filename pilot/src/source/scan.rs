//! Scans a folder: which files hold objects, and which of them changed since the last scan.

use super::diff::Reading;
use api::resource::document::{Place, Refusal};
use api::resource::parse::{self, MAX_FILE};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file's metadata when it was read. A file with the same metadata is not read again.
type FileStamp = (u64, u64, u64, i64, i64, i64, i64);

/// A folder and the metadata of its files.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    looks: BTreeMap<PathBuf, FileStamp>,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), looks: BTreeMap::new() }
    }

    /// Reads the files that changed. Reads files in `touched` regardless of their metadata; skips files in `writing`.
    ///
    /// An error means that the folder itself cannot be listed, so the state of every file is unknown.
    pub(super) fn scan(
        &mut self,
        touched: &BTreeSet<PathBuf>,
        writing: &BTreeSet<PathBuf>,
    ) -> io::Result<Vec<(Arc<str>, Reading)>> {
        let mut readings = vec![];
        for (path, look) in self.found(touched, &mut readings)? {
            if writing.contains(&path) || (!touched.contains(&path) && self.looks.get(&path) == Some(&look)) {
                continue;
            }
            match read(&path) {
                // It vanished between listing and reading; the next scan reports it as removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                reading => readings.push((name(&path), content(&path, reading))),
            }
            self.looks.insert(path, look);
        }
        Ok(readings)
    }

    /// Finds the existing files, of all or of the touched ones only. Removed files become readings.
    fn found(
        &mut self,
        touched: &BTreeSet<PathBuf>,
        readings: &mut Vec<(Arc<str>, Reading)>,
    ) -> io::Result<BTreeMap<PathBuf, FileStamp>> {
        let mut found = BTreeMap::new();
        // Looking at thousands of files because one changed would take too long.
        let only_files = !touched.is_empty() && touched.iter().all(|path| self.is_plain(path));
        let gone: Vec<PathBuf> = if only_files {
            fs::read_dir(&self.root)?;
            for path in touched {
                let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file);
                found.extend(metadata.map(|metadata| (path.clone(), look(&metadata))));
            }
            touched
                .iter()
                .filter(|p| !found.contains_key(*p) && self.looks.contains_key(*p))
                .cloned()
                .collect()
        } else {
            list(&self.root, 0, &mut found)?;
            self.looks.keys().filter(|p| !found.contains_key(*p)).cloned().collect()
        };
        for path in gone {
            self.looks.remove(&path);
            readings.push((name(&path), Reading::Gone));
        }
        Ok(found)
    }

    /// Whether the path is, or was, a file that a listing would include, and not a folder.
    fn is_plain(&self, path: &Path) -> bool {
        let Ok(inner) = path.strip_prefix(&self.root) else { return false };
        let hidden = |part: std::path::Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
        holds_objects(path)
            && inner.components().count() <= MAX_DEPTH
            && !inner.components().any(hidden)
            && fs::symlink_metadata(path).map_or(true, |metadata| metadata.is_file())
    }
}

fn name(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

fn content(path: &Path, read: io::Result<Vec<u8>>) -> Reading {
    let file = path.display().to_string();
    let unreadable = |reason: String, next: &str| {
        Reading::Unreadable(Refusal {
            place: Place::new(&file, 0),
            reason,
            next: next.to_owned(),
            ..Refusal::default()
        })
    };
    match read {
        Err(error) => unreadable(format!("the file cannot be read: {error}"), "check its permissions"),
        Ok(bytes) => match String::from_utf8(bytes) {
            Err(_) => unreadable("the file is not UTF-8 text".into(), "save it as UTF-8"),
            Ok(text) => Reading::Content(parse::parse(&file, text.trim_start_matches('\u{feff}'))),
        },
    }
}

/// One byte over the limit is enough for the parser to refuse the file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Lists the files that hold objects. Skips hidden ones: editors' temporary files, and the `..data` folders behind the
/// links of a mounted ConfigMap.
fn list(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, FileStamp>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        // A dangling link, or a file that was removed meanwhile, is skipped.
        let Some(metadata) = (!hidden).then(|| fs::metadata(&path).ok()).flatten() else { continue };
        if metadata.is_dir() && depth < MAX_DEPTH {
            // A sub-folder may have vanished or be unreadable; its files then count as removed.
            let _ = list(&path, depth + 1, found);
        } else if metadata.is_file() && holds_objects(&path) {
            found.insert(path, look(&metadata));
        }
    }
    Ok(())
}

/// Whether a file with this name can hold objects.
pub(super) fn holds_objects(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    !hidden && ["yaml", "yml", "json"].contains(&extension)
}

fn look(metadata: &fs::Metadata) -> FileStamp {
    let m = metadata;
    (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
}

/// Links can make a folder contain itself.
const MAX_DEPTH: usize = 16;
