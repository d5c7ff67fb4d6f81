//! Watches a folder and sends facts about its objects: all of them first, then every change as it happens.
//!
//! A thread of its own, since watching and reading files blocks. A file that is being written is not read before
//! its writer closes it, so that half a file is never taken for a whole one.

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
    /// It cannot be listed.
    #[error("{0} is no folder that can be read")]
    Folder(PathBuf, #[source] io::Error),
    /// The system takes no further watch.
    #[error("{0} cannot be watched")]
    Watch(PathBuf, #[source] notify::Error),
}

/// Reads a folder and its sub-folders and keeps watching them until the receiver is dropped. The first group of
/// facts is all there is, also when there is nothing; a group holds what changed together.
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
    /// Files that are being written, with the time of the last sign of it.
    writing: BTreeMap<PathBuf, Instant>,
    lost: bool,
}

/// A watch of the folder that had this identity.
struct Watch {
    events: Receiver<notify::Result<Event>>,
    of: Option<(u64, u64)>,
    // Watching ends when it is dropped.
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
            let facts = self.scan(&touched);
            if (first || !facts.is_empty()) && self.facts.blocking_send(facts).is_err() {
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
                // An unmounted folder must not take the whole configuration with it.
                if !self.lost {
                    tracing::error!(folder = %self.root.display(), %error, "the folder cannot be read; everything stays as it was");
                }
                self.lost = true;
                vec![]
            }
        }
    }

    /// Waits for events and collects those that come together; from time to time looks without one.
    #[expect(clippy::disallowed_methods, reason = "the shell waits by the clock")]
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
                Ok(Err(error)) => tracing::warn!(%error, "watching the folder failed once"),
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

    /// Takes an event; whether something may have to be read because of it.
    #[expect(clippy::disallowed_methods, reason = "the shell notes when a write was seen")]
    fn note(&mut self, event: Event, touched: &mut BTreeSet<PathBuf>) -> bool {
        let begins = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            // Opening and reading, also our own.
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

    /// Watches anew when the folder is another one than before: the old watch would never say a word again.
    fn renew(&mut self) {
        let now = identity(&self.root);
        if now.is_some() && now != self.watch.of {
            match Watch::new(&self.root) {
                Ok(watch) => self.watch = watch,
                Err(error) => tracing::warn!(%error, "the folder cannot be watched again yet"),
            }
        }
    }
}

/// Events that come within this time are one change.
const TOGETHER: Duration = Duration::from_millis(8);
/// A writer that neither writes nor closes for this long is not waited for any more.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often the folder is looked through without an event, for what a watch can miss.
const LOOK_AROUND: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
