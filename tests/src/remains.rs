//! Records the resources that a running mesh holds on this machine, and checks after its end that none of them remain.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The recorded resources of a mesh.
#[derive(Debug)]
pub struct Holdings {
    state: PathBuf,
    interfaces: BTreeSet<String>,
    processes: BTreeMap<(u32, u64), String>,
    /// Held open, because the kernel reuses the number of a namespace that is gone.
    namespaces: BTreeMap<String, File>,
}

impl Holdings {
    /// Records, before the mesh starts, what exists on the host anyway.
    pub fn before(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            interfaces: interfaces(),
            processes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
        }
    }

    /// Adds the current resources of the mesh with this supervisor.
    pub fn observe(&mut self, supervisor: u32) {
        let all = processes();
        let mut family = BTreeSet::from([supervisor]);
        loop {
            let more: Vec<u32> = all
                .iter()
                .filter(|process| family.contains(&process.parent) && !family.contains(&process.id))
                .map(|process| process.id)
                .collect();
            if more.is_empty() {
                break;
            }
            family.extend(more);
        }
        let own = namespaces("self");
        for process in all.into_iter().filter(|process| family.contains(&process.id)) {
            for (name, path) in namespaces(&process.id.to_string()) {
                if !own.contains_key(&name)
                    && let Entry::Vacant(unseen) = self.namespaces.entry(name)
                    && let Ok(held) = File::open(path)
                {
                    unseen.insert(held);
                }
            }
            self.processes.insert((process.id, process.started), process.name);
        }
    }

    /// The number of recorded namespaces, to check that any were recorded.
    pub fn namespaces(&self) -> usize {
        self.namespaces.len()
    }

    /// The recorded processes with this name that still run: process ID and resident memory in MiB.
    pub fn running(&self, name: &str) -> Vec<(u32, f64)> {
        // The kernel keeps only 15 bytes of a process name.
        let short: String = name.chars().take(15).collect();
        let own = self.processes.iter().filter(|(_, known)| **known == short);
        own.filter_map(|((id, _), _)| Some((*id, resident(*id)?))).collect()
    }

    /// Whether this recorded process still runs.
    pub fn is_running(&self, id: u32) -> bool {
        processes().iter().any(|one| one.id == id && self.processes.contains_key(&(id, one.started)))
    }

    /// The recorded resources that still exist.
    pub fn left(&self) -> Vec<String> {
        let mut left = vec![];
        for process in processes() {
            let id = process.id;
            if self.processes.contains_key(&(id, process.started)) {
                left.push(format!("process {id} ({})", process.name));
            } else if namespaces(&id.to_string()).keys().any(|name| self.namespaces.contains_key(name)) {
                left.push(format!("process {id} ({}) in a namespace of the mesh", process.name));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let state = self.state.display().to_string();
        let held =
            |line: &&str| line.contains(&state) || self.namespaces.keys().any(|one| line.contains(one));
        left.extend(mounts.lines().filter(held).map(|line| format!("mount {line}")));
        left.extend(interfaces().difference(&self.interfaces).map(|name| format!("interface {name}")));
        if self.state.exists() {
            left.push(format!("folder {state} with {:?}", entries(&self.state)));
        }
        left
    }
}

struct Process {
    id: u32,
    parent: u32,
    started: u64,
    name: String,
}

/// All processes except zombies, which have ended but were not yet reaped by their parent.
fn processes() -> Vec<Process> {
    let ids = entries(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
    ids.filter_map(|id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        let name = head.split_once('(')?.1.to_owned();
        (!matches!(state, "Z" | "X")).then_some(Process { id, parent, started, name })
    })
    .collect()
}

/// Processor time that a process has used, in seconds.
pub fn processor(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    // Linux reports hundredths of a second to user space, whatever its internal clock is.
    Some((ticks()? + ticks()?) / 100.0)
}

/// Resident memory of a process in MiB.
pub fn resident(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// The namespaces of a process: their names, such as `net:[4026531840]`, and the paths to open them.
fn namespaces(process: &str) -> BTreeMap<String, PathBuf> {
    let kinds = ["net", "mnt", "pid", "uts", "ipc", "user"];
    let paths = kinds.iter().map(|kind| PathBuf::from(format!("/proc/{process}/ns/{kind}")));
    paths.filter_map(|path| Some((fs::read_link(&path).ok()?.display().to_string(), path))).collect()
}

fn interfaces() -> BTreeSet<String> {
    entries(Path::new("/sys/class/net")).into_iter().collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
