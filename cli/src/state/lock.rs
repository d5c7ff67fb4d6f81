//! Who owns a state folder: process ids with start times, so that a recycled id is never taken for ours.

use std::io;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::state::State;

/// A process that is verified before it is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process with this id, if there is one.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse(&stat)
            .map(|(state, started)| (state, Self { pid, started }))
            .and_then(|(state, process)| if matches!(state, 'Z' | 'X') { None } else { Some(process) })
    }

    /// Whether exactly this process is there.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Sends a signal, if exactly this process is there.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may end between the check and the signal; that is as good as a delivered signal.
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }
}

/// The content of `lock.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The process that runs the mesh.
    pub supervisor: Process,
    /// Processes that it started and that hold namespaces.
    pub children: Vec<Process>,
    /// Where the gateway listens.
    pub gateway: String,
    /// A table of the host's packet filter to remove.
    pub host_table: Option<String>,
}

impl Lock {
    /// Reads the lock of a folder, if there is one.
    pub fn read(state: &State) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(state.lock()).ok()?).ok()
    }

    /// Writes it in one step.
    pub fn write(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("a lock is plain data");
        replace(&state.lock(), &text)
    }
}

/// The running mesh's lock, or why there is none.
pub fn running(state: &State) -> Result<Lock, Failure> {
    match Lock::read(state) {
        Some(lock) if lock.supervisor.is_alive() => Ok(lock),
        _ => Err(Failure::blocked(
            format!("no mesh runs with the state folder {}", state.root().display()),
            "start one with `ostria up FOLDER`, or name its folder with --state",
        )),
    }
}

/// Removes what a killed supervisor left; refuses while it runs. Says whether there was anything.
pub fn sweep(state: &State) -> Result<bool, Failure> {
    let Some(lock) = Lock::read(state) else {
        return Ok(false);
    };
    if lock.supervisor.is_alive() {
        return Err(Failure::blocked(
            format!(
                "a mesh already runs with the state folder {} (process {})",
                state.root().display(),
                lock.supervisor.pid
            ),
            "look at it with `ostria status`, end it with `ostria down`, or give this one a folder of its own with --state DIR",
        ));
    }
    for child in &lock.children {
        child.signal(Signal::SIGKILL);
    }
    if let Some(table) = &lock.host_table {
        // Absent after a reboot, which is what is wanted.
        let _ = std::process::Command::new("nft").args(["delete", "table", "ip", table]).output();
    }
    remove(state).map_err(|error| {
        Failure::blocked(
            format!("remains of a killed mesh in {} cannot be removed: {error}", state.root().display()),
            "remove the folder by hand",
        )
    })?;
    Ok(true)
}

/// Removes what `ostria` puts into the folder, and the folder if nothing else is in it: a folder that a user
/// named may hold files that are not ours.
pub fn remove(state: &State) -> io::Result<()> {
    for entry in OURS {
        let path = state.root().join(entry);
        let result = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match std::fs::remove_dir(state.root()) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Writes a file so that a reader sees the old or the new content, never a part.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(format!(".{}", name.to_string_lossy()));
    std::fs::write(&part, content)?;
    std::fs::rename(&part, path)
}

fn parse(stat: &str) -> Option<(char, u64)> {
    // The command's name may hold spaces and brackets; fields are counted after its last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// All that `ostria` puts into a state folder; the lock last, so that an interrupted removal can be repeated.
const OURS: &[&str] = &[
    "config",
    "logs",
    "private",
    "citadel",
    "keys",
    "up.log",
    "ostria.sock",
    ".lock.json.part",
    "lock.json",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_read_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse(stat), Some(('S', 4242)));
    }

    #[test]
    fn this_process_is_alive_and_a_recycled_id_is_not() {
        let mut process = Process::find(std::process::id()).unwrap();
        assert!(process.is_alive());
        process.started += 1;
        assert!(!process.is_alive());
    }

    #[test]
    fn remains_of_a_dead_supervisor_are_swept_and_a_live_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::new(Some(folder.path().join("state")));
        std::fs::create_dir_all(state.config()).unwrap();
        let me = Process::find(std::process::id()).unwrap();
        let mut lock = Lock { supervisor: me, children: vec![], gateway: String::new(), host_table: None };
        lock.write(&state).unwrap();
        assert!(sweep(&state).unwrap_err().to_string().contains("already runs"));
        lock.supervisor.started += 1;
        lock.write(&state).unwrap();
        assert_eq!(sweep(&state), Ok(true));
        assert!(!state.root().exists());
        assert_eq!(sweep(&state), Ok(false));
    }
}
