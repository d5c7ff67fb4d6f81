//! The lock of a state folder: the mesh's processes by id, start time and program, so that a reused process id is never
//! mistaken for one of them.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::failure::Failure;
use crate::state::State;
use crate::state::folder::{self, Folder};

/// A process, identified so that it can be verified before it gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process that has this id, if there is one.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse(&stat)
            .map(|(state, started)| (state, Self { pid, started }))
            .and_then(|(state, process)| if matches!(state, 'Z' | 'X') { None } else { Some(process) })
    }
}

/// The file of a program. It distinguishes the mesh's processes from unrelated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    device: u64,
    inode: u64,
}

impl Program {
    /// The program at this path.
    pub fn at(path: impl AsRef<std::path::Path>) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }

    /// The program that a process runs.
    pub fn of(pid: u32) -> Option<Self> {
        Self::at(format!("/proc/{pid}/exe"))
    }
}

/// The content of `lock.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The supervisor.
    pub supervisor: Process,
    /// Processes that the supervisor started and that hold namespaces.
    pub children: Vec<Process>,
    /// The programs that these processes run.
    pub programs: Vec<Program>,
    /// Host address of the gateway.
    pub gateway: String,
    /// Whether the pods' network is connected to the host's network.
    pub egress: bool,
    /// The control group of the mesh.
    #[serde(default)]
    pub control_group: Option<PathBuf>,
}

impl Lock {
    /// Reads the lock of a folder; `None` if there is no lock. Fails if another user can write to the folder or the
    /// lock.
    pub fn read(state: &State) -> Result<Option<Self>, folder::Error> {
        let Some(folder) = Folder::open(state.root())? else { return Ok(None) };
        let text = folder.read(FILE)?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Writes the lock atomically.
    pub fn write(&self, folder: &Folder) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("a lock is plain data");
        folder.write(FILE, &text)
    }

    /// Whether the supervisor runs.
    pub fn is_held(&self) -> bool {
        self.is_ours(self.supervisor)
    }

    /// Sends a signal to the supervisor or one of its children, if the process with this id is the recorded one.
    pub fn signal(&self, process: Process, signal: Signal) {
        if let Some(held) = self.hold(process) {
            // The process may have ended meanwhile, which needs no signal.
            let _ = pidfd_send_signal(&held, signal);
        }
    }

    /// A pidfd of exactly this process. The kernel may reuse the id for another process, but the pidfd keeps its
    /// meaning.
    fn hold(&self, process: Process) -> Option<OwnedFd> {
        let pid = Pid::from_raw(process.pid.cast_signed())?;
        let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        self.is_ours(process).then_some(held)
    }

    fn is_ours(&self, process: Process) -> bool {
        Process::find(process.pid) == Some(process)
            && Program::of(process.pid).is_some_and(|program| self.programs.contains(&program))
    }
}

/// The lock of the running mesh; fails if no mesh is running.
pub fn running(state: &State) -> Result<Lock, Failure> {
    match Lock::read(state)? {
        Some(lock) if lock.is_held() => Ok(lock),
        _ => Err(foreign(state).unwrap_or_else(|| {
            Failure::blocked(
                format!("no mesh is running with the state folder {}", state.root().display()),
                "start one with `ostria up FOLDER`, or select its folder with --state",
            )
        })),
    }
}

/// The failure for a user who has no mesh while another user has one.
pub fn foreign(state: &State) -> Option<Failure> {
    let other = state.others().into_iter().next()?;
    let owner = other.symlink_metadata().map_or(0, |found| found.uid());
    let next = if owner == 0 { "run the command with sudo" } else { "run the command as that user" };
    Some(Failure::blocked(
        format!("permission denied: the mesh in {} belongs to user {owner}", other.display()),
        format!("{next}, or start a mesh of your own with `ostria up FOLDER`"),
    ))
}

/// Removes what a killed supervisor left; fails while the supervisor runs. Returns whether there was anything to
/// remove.
pub fn sweep(state: &State) -> Result<bool, Failure> {
    let Some(lock) = Lock::read(state)? else {
        return Ok(false);
    };
    if lock.is_held() {
        return Err(Failure::blocked(
            format!(
                "a mesh is already running with the state folder {} (process {})",
                state.root().display(),
                lock.supervisor.pid
            ),
            "check it with `ostria status`, stop it with `ostria down`, or choose another folder with --state DIR",
        ));
    }
    for child in &lock.children {
        lock.signal(*child, Signal::KILL);
    }
    if let Some(group) = &lock.control_group {
        cgroup::clear(group).map_err(|error| {
            let reason =
                format!("control group {} of a killed mesh cannot be removed: {error}", group.display());
            Failure::blocked(reason, "end its processes, then run the command again")
        })?;
    }
    if lock.egress {
        // The table does not exist after a reboot; the error is ignored.
        let _ = std::process::Command::new("nft").args(["delete", "table", "ip", EGRESS_TABLE]).output();
    }
    remove(state).map_err(|error| {
        Failure::blocked(
            format!("remains of a killed mesh in {} cannot be removed: {error}", state.root().display()),
            "remove the folder",
        )
    })?;
    Ok(true)
}

/// Removes the files that `ostria` creates in the folder, then the folder if it is empty. A folder that the user named
/// may contain other files.
pub fn remove(state: &State) -> io::Result<()> {
    for entry in OURS {
        let path = state.root().join(entry);
        // A link itself is removed, not its target.
        let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let result = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
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

fn parse(stat: &str) -> Option<(char, u64)> {
    // The name of the command may contain spaces and brackets, so fields are counted after its last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Everything that `ostria` creates in a state folder. The lock is last, so that an interrupted removal can be
/// repeated.
const OURS: &[&str] = &[
    "config",
    "logs",
    "private",
    "citadel",
    "keys",
    "up.log",
    "ostria.sock",
    ".lock.json.part",
    ".lock.json.part~",
    FILE,
];

const FILE: &str = "lock.json";
/// Name of the nftables table on the host for `--egress`.
pub const EGRESS_TABLE: &str = "ostria-egress";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_follows_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse(stat), Some(('S', 4242)));
    }

    fn lock_of(supervisor: Process) -> Lock {
        let programs = Program::of(std::process::id()).into_iter().collect();
        Lock {
            supervisor,
            children: vec![],
            programs,
            gateway: String::new(),
            egress: false,
            control_group: None,
        }
    }

    #[test]
    fn this_process_is_alive_and_a_reused_id_or_another_program_is_not() {
        let process = Process::find(std::process::id()).unwrap();
        assert!(lock_of(process).is_held());
        assert!(!lock_of(Process { started: process.started + 1, ..process }).is_held());
        let mut other = lock_of(process);
        other.programs = Program::at("/").into_iter().collect();
        assert!(!other.is_held());
    }

    #[test]
    fn a_process_with_a_reused_id_is_not_ended() {
        let mut sleeper = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::find(sleeper.id()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = State::new(Some(folder.path().join("state")));
        let own = Process::find(std::process::id()).unwrap();
        let dead = Process { started: own.started + 1, ..own };
        // First a process with another start time, then a process with another program.
        for child in [Process { started: process.started + 1, ..process }, process] {
            let lock = Lock { children: vec![child], ..lock_of(dead) };
            lock.write(&Folder::make(state.root()).unwrap()).unwrap();
            assert_eq!(sweep(&state), Ok(true));
            assert_eq!(sleeper.try_wait().unwrap(), None, "another process was killed");
        }
        let lock = Lock { programs: Program::of(sleeper.id()).into_iter().collect(), ..lock_of(dead) };
        Lock { children: vec![process], ..lock }.write(&Folder::make(state.root()).unwrap()).unwrap();
        assert_eq!(sweep(&state), Ok(true));
        assert!(!sleeper.wait().unwrap().success());
    }

    #[test]
    fn a_folder_that_others_can_write_is_neither_trusted_nor_removed() {
        let place = tempfile::tempdir().unwrap();
        let state = State::new(Some(place.path().join("state")));
        let own = Process::find(std::process::id()).unwrap();
        lock_of(Process { started: own.started + 1, ..own })
            .write(&Folder::make(state.root()).unwrap())
            .unwrap();
        std::fs::set_permissions(state.root(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let words = sweep(&state).unwrap_err().to_string();
        assert!(words.contains("can be written by other users") && words.contains("chmod go-w"), "{words}");
        assert!(running(&state).unwrap_err().to_string().contains("can be written"));
        assert!(state.root().join("lock.json").exists());
    }

    #[test]
    fn links_in_the_folder_are_removed_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let state = State::new(Some(place.path().join("state")));
        Folder::make(state.root()).unwrap();
        std::fs::create_dir(place.path().join("kept")).unwrap();
        std::fs::write(place.path().join("kept/file"), "").unwrap();
        std::os::unix::fs::symlink(place.path().join("kept"), state.root().join("logs")).unwrap();
        remove(&state).unwrap();
        assert!(place.path().join("kept/file").exists() && !state.root().exists());
    }

    #[test]
    fn remains_of_a_dead_supervisor_are_removed_and_a_running_one_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let state = State::new(Some(place.path().join("state")));
        let folder = Folder::make(state.root()).unwrap();
        folder.add("logs").unwrap();
        let me = Process::find(std::process::id()).unwrap();
        lock_of(me).write(&folder).unwrap();
        assert!(sweep(&state).unwrap_err().to_string().contains("already running"));
        lock_of(Process { started: me.started + 1, ..me }).write(&folder).unwrap();
        assert_eq!(sweep(&state), Ok(true));
        assert!(!state.root().exists());
        assert_eq!(sweep(&state), Ok(false));
    }
}
