//! A shell that runs the commands of a page one after the other and keeps its variables and background processes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cleanup;

/// A running bash in a process group of its own, which is ended with it.
pub(super) struct Shell {
    child: Child,
    /// The exit code of each command.
    codes: Receiver<String>,
    /// Holds the current command, and a file of output for each command: a background process keeps its file open.
    files: TempDir,
    /// Number of commands so far.
    count: usize,
}

impl Shell {
    /// Starts a shell in a folder, with additional environment variables.
    pub(super) fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("bash is installed");
        cleanup::end_group_when_killed(child.id());
        let out = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (sender, codes) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, codes, files: tempfile::tempdir().expect("a folder can be created"), count: 0 }
    }

    /// Runs a command. Returns its exit code, and what it printed on both of its outputs.
    pub(super) fn run(&mut self, command: &str, longest: Duration) -> Result<(i32, String), String> {
        self.count += 1;
        let script = self.files.path().join("command");
        let out = self.files.path().join(format!("output-{}", self.count));
        std::fs::write(&script, format!("{command}\n")).expect("the folder is writable");
        let line =
            format!(". {} >{} 2>&1 </dev/null; echo $?\n", cleanup::quoted(&script), cleanup::quoted(&out));
        let pipe = self.child.stdin.as_mut().expect("its input is a pipe");
        let code = pipe.write_all(line.as_bytes()).map_err(|error| error.to_string()).and_then(|()| {
            self.codes.recv_timeout(longest).map_err(|error| match error {
                std::sync::mpsc::RecvTimeoutError::Timeout => format!("has not ended after {longest:?}"),
                std::sync::mpsc::RecvTimeoutError::Disconnected => "has ended the shell".to_owned(),
            })
        });
        let printed = std::fs::read(&out).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let code = code.map_err(|reason| format!("{reason}:\n{printed}"))?;
        let code = code.parse().map_err(|_| format!("printed `{code}` where an exit code was expected"))?;
        Ok((code, printed))
    }
}

impl Drop for Shell {
    /// Ends the shell and the background processes of the page.
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids are small"));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
