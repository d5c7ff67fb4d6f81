//! The process that becomes a container: it builds its root, changes its user and executes the program.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::cgroup;
use crate::inside::{Error, confine, file, kernel, root};
use crate::wire::Launch;

/// Becomes the container that the file describes. Returns only if this fails.
pub fn run(spec: &Path) -> Result<(), Error> {
    // Until the program is executed, other processes of the container must not ptrace this process or open its files:
    // it has files of the host open.
    prctl::set_dumpable(false).map_err(kernel("protecting the process from other users"))?;
    umask(Mode::from_bits_truncate(0o022));
    let text = std::fs::read(spec).map_err(file("reading the container's description"))?;
    let launch: Launch = serde_json::from_slice(&text).map_err(Error::Order)?;
    std::fs::remove_file(spec).map_err(file("removing the container's description"))?;
    setsid().map_err(kernel("creating a session"))?;
    if let Some(terminal) = &launch.terminal {
        take(terminal)?;
    }
    if let Some(group) = &launch.control_group {
        cgroup::join(group).map_err(file("joining the container's control group"))?;
    }
    // The container's own group is the top of what it sees.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)
        .map_err(kernel("creating the container's mount namespace"))?;
    root::build(&launch)?;
    std::env::set_current_dir(&launch.directory)
        .map_err(file(format!("entering workingDir {}", launch.directory.display())))?;
    confine::become_user(&launch)?;
    let (program, arguments) =
        launch.command.split_first().expect("the supervisor checks that there is a command");
    let path = launch.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
    let found = find(program, path.unwrap_or_default());
    let mut command = Command::new(found.as_deref().unwrap_or(Path::new(program)));
    command
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)));
    Err(file(format!("starting {program}"))(command.exec()))
}

/// Makes a terminal the controlling terminal of this session, and its input and output.
fn take(terminal: &Path) -> Result<(), Error> {
    let step = || file("opening the terminal");
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(terminal).map_err(step())?;
    dup2_stdin(&opened).map_err(kernel("attaching the terminal"))?;
    dup2_stdout(&opened).map_err(kernel("attaching the terminal"))?;
    dup2_stderr(&opened).map_err(kernel("attaching the terminal"))
}

fn find(program: &str, path: &str) -> Option<std::path::PathBuf> {
    if program.contains('/') {
        return None;
    }
    path.split(':').map(|folder| Path::new(folder).join(program)).find(|candidate| candidate.is_file())
}
