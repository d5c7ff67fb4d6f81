//! Reads a folder: which files hold objects, and which of them differ from the last time.

use super::diff::Reading;
use api::resource::document::{Place, Refusal};
use api::resource::parse::{self, MAX_FILE};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file looked like when it was read; a file that looks alike is not read again.
type Look = (u64, u64, u64, i64, i64, i64, i64);

/// A folder and how its files looked.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    looks: BTreeMap<PathBuf, Look>,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), looks: BTreeMap::new() }
    }

    /// Reads what differs; files in `touched` are read however they look, files in `writing` not yet.
    ///
    /// An error means that the folder itself cannot be listed: nothing is known then of any file.
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
                // It vanished between being listed and being read: the next scan sees it gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                reading => readings.push((name(&path), content(&path, reading))),
            }
            self.looks.insert(path, look);
        }
        Ok(readings)
    }

    /// The files that are there, of all or of those that were touched; what is gone becomes a reading.
    fn found(
        &mut self,
        touched: &BTreeSet<PathBuf>,
        readings: &mut Vec<(Arc<str>, Reading)>,
    ) -> io::Result<BTreeMap<PathBuf, Look>> {
        let mut found = BTreeMap::new();
        // Among thousands of files it would take long to look at all of them because of one.
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

    /// Whether this is a file that listing would find, or was one, and no folder.
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

/// One byte more than is allowed is enough for the parser to refuse the file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files that hold objects. Hidden ones are passed over: editors' copies, and the `..data` folders behind the
/// links of a mounted ConfigMap.
fn list(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Look>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        // A link may lead nowhere, or the file be gone already: then there is nothing to read.
        let Some(metadata) = (!hidden).then(|| fs::metadata(&path).ok()).flatten() else { continue };
        if metadata.is_dir() && depth < MAX_DEPTH {
            // A folder within may vanish meanwhile, or be closed to us; its files are then gone.
            let _ = list(&path, depth + 1, found);
        } else if metadata.is_file() && holds_objects(&path) {
            found.insert(path, look(&metadata));
        }
    }
    Ok(())
}

/// Whether objects are looked for in a file of that name.
pub(super) fn holds_objects(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    !hidden && ["yaml", "yml", "json"].contains(&extension)
}

fn look(metadata: &fs::Metadata) -> Look {
    let m = metadata;
    (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
}

/// Links can make folders contain themselves.
const MAX_DEPTH: usize = 16;
