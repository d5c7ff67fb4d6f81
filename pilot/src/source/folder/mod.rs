//! Watches a folder and sends facts about its objects: first all of them, then each change as it happens.
//!
//! Runs on its own thread, since watching and reading files blocks. A file is not read while a writer has it open, so
//! that a partial file is never taken as complete.

use crate::flow::Fact;
use crate::source::diff::Files;
use crate::source::scan::{Folder, holds_objects};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The folder cannot be listed.
    #[error("{0} is not a readable folder")]
    Folder(PathBuf, #[source] io::Error),
    /// The system refuses another watch.
    #[error("{0} cannot be watched")]
    Watch(PathBuf, #[source] notify::Error),
}

/// Reads a folder with its sub-folders and watches them until the receiver is dropped. The first group holds the facts
/// of all objects and ends with `Fact::Synced`; each later group holds changes that happened together.
pub fn watch(folder: &Path, facts: Sender<Vec<Fact>>) -> Result<(), WatchError> {
    let refused = |error| WatchError::Folder(folder.to_owned(), error);
    let root = fs::canonicalize(folder).map_err(refused)?;
    fs::read_dir(&root).map_err(refused)?;
    let mut source = Source::new(folder, facts)?;
    std::thread::Builder::new().name("folder".into()).spawn(move || source.run()).map_err(refused)?;
    Ok(())
}

struct Source {
    root: PathBuf,
    folder: Folder,
    files: Files,
    facts: Sender<Vec<Fact>>,
    watch: Watch,
    /// Files that are being written, with the time of the last write event.
    writing: BTreeMap<PathBuf, Instant>,
    lost: bool,
}

/// A watch and the identity of the folder that it watches.
struct Watch {
    events: Receiver<notify::Result<Event>>,
    of: Option<(u64, u64)>,
    // Dropping the watcher ends the watch.
    _watcher: RecommendedWatcher,
}

impl Watch {
    fn new(root: &Path) -> Result<Self, notify::Error> {
        let (send, events) = channel();
        let mut watcher = notify::recommended_watcher(send)?;
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(Self { events, of: identity(root), _watcher: watcher })
    }
}

fn identity(root: &Path) -> Option<(u64, u64)> {
    fs::metadata(root).ok().map(|m| (m.dev(), m.ino()))
}

impl Source {
    fn new(root: &Path, facts: Sender<Vec<Fact>>) -> Result<Self, WatchError> {
        let watch = Watch::new(root).map_err(|error| WatchError::Watch(root.to_owned(), error))?;
        Ok(Self {
            root: root.to_owned(),
            folder: Folder::new(root),
            files: Files::default(),
            facts,
            watch,
            writing: BTreeMap::new(),
            lost: false,
        })
    }

    fn run(&mut self) {
        let mut touched = BTreeSet::new();
        let mut first = true;
        loop {
            let mut facts = self.scan(&touched);
            if first {
                facts.push(Fact::Synced);
            }
            if !facts.is_empty() && self.facts.blocking_send(facts).is_err() {
                return;
            }
            first = false;
            touched = self.wait();
            if self.facts.is_closed() {
                return;
            }
            self.renew();
        }
    }

    fn scan(&mut self, touched: &BTreeSet<PathBuf>) -> Vec<Fact> {
        let writing = self.writing.keys().cloned().collect();
        match self.folder.scan(touched, &writing) {
            Ok(readings) => {
                self.lost = false;
                self.files.take(readings)
            }
            Err(error) => {
                // An unmounted folder must not remove the whole configuration.
                if !self.lost {
                    tracing::error!(folder = %self.root.display(), %error, "the folder cannot be read; the last configuration stays in force");
                }
                self.lost = true;
                vec![]
            }
        }
    }

    /// Waits for events and collects those that arrive together. Returns without any after `LOOK_AROUND`.
    #[expect(clippy::disallowed_methods, reason = "waits by the clock")]
    fn wait(&mut self) -> BTreeSet<PathBuf> {
        let mut touched = BTreeSet::new();
        let mut deadline = Instant::now() + if self.writing.is_empty() { LOOK_AROUND } else { PATIENCE };
        let mut collecting = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.watch.events.recv_timeout(left) {
                Ok(Ok(event)) => {
                    if self.note(event, &mut touched) && !collecting {
                        collecting = true;
                        deadline = Instant::now() + TOGETHER;
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "watching the folder failed; trying again"),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(left.min(PATIENCE));
                    break;
                }
            }
        }
        let now = Instant::now();
        let overdue: Vec<PathBuf> = self
            .writing
            .iter()
            .filter(|(_, at)| now.duration_since(**at) >= PATIENCE)
            .map(|(p, _)| p.clone())
            .collect();
        for path in overdue {
            self.writing.remove(&path);
            touched.insert(path);
        }
        touched
    }

    /// Processes an event. Returns whether files may have to be read because of it.
    #[expect(clippy::disallowed_methods, reason = "the shell notes when a write was seen")]
    fn note(&mut self, event: Event, touched: &mut BTreeSet<PathBuf>) -> bool {
        let begins = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            // Opening and reading, by this process too.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(CreateKind::File) => true,
            _ => false,
        };
        for path in event.paths {
            let regular = || fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
            if begins && holds_objects(&path) && regular() {
                self.writing.insert(path, Instant::now());
            } else {
                self.writing.remove(&path);
                touched.insert(path);
            }
        }
        !touched.is_empty()
    }

    /// Renews the watch if the path leads to another folder than before; the old watch would report no further events.
    fn renew(&mut self) {
        let now = identity(&self.root);
        if now.is_some() && now != self.watch.of {
            match Watch::new(&self.root) {
                Ok(watch) => self.watch = watch,
                Err(error) => tracing::warn!(%error, "the folder cannot be watched yet; trying again"),
            }
        }
    }
}

/// Events within this time form one change.
const TOGETHER: Duration = Duration::from_millis(8);
/// How long to wait for a writer that neither writes nor closes its file.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often the folder is scanned without an event, since a watch can miss changes.
const LOOK_AROUND: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
