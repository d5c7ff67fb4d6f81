//! Finds the built programs, and runs them with a time limit, so that a program cannot hang a test.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{cleanup, wait};

/// The folder of the binaries under test: `OSTRIA_TEST_BIN`, or else the folder into which cargo built this test.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os(GIVEN) {
        return std::path::absolute(PathBuf::from(folder)).expect("the folder has a path");
    }
    let own = std::env::current_exe().expect("this test has a path");
    own.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps").to_path_buf()
}

/// Whether the binaries are release builds, as users get them, so that times and sizes are meaningful.
pub fn is_release() -> bool {
    std::env::var_os(GIVEN).is_some() || folder().ends_with("release")
}

/// The path of a program under test; if it is not built, fails the test and names the next step.
pub fn path(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.is_file(),
        "{} is not built: run `cargo build --workspace --bins --tests` first, or `make test`, which does",
        path.display()
    );
    path
}

/// The path of a file in the repository.
pub fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").join(file)
}

/// Sends SIGTERM to a process. It is not an error if the process has already ended: its exit status shows that.
pub fn terminate(process: u32) {
    let id = i32::try_from(process).expect("process ids are small");
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
}

/// The outcome of a program.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line.
    pub line: String,
    /// The exit code; 128 plus the number for a signal.
    pub code: i32,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error output.
    pub err: String,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Outcome {
    /// Its standard output; fails the test unless the program succeeded.
    pub fn text(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Its standard error output; fails the test if the program succeeded.
    pub fn refusal(self) -> String {
        assert_ne!(self.code, 0, "should have been refused: {self}");
        self.err
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out = String::from_utf8_lossy(&self.out);
        write!(f, "`{}` ended with {} after {:?}\n{out}\n{}", self.line, self.code, self.elapsed, self.err)
    }
}

/// A running program.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    begin: Instant,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts a program.
    pub fn start<A: AsRef<OsStr>>(program: &Path, arguments: &[A], environment: &[(&str, &str)]) -> Self {
        let shown: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let begin = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove("OSTRIA_STATE")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        cleanup::end_when_killed(child.id());
        let out = child.stdout.take().map(collect);
        let err = child.stderr.take().map(collect);
        Self { line: format!("{name} {}", shown.join(" ")), child, begin, out, err }
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub fn feed(&mut self, input: &[u8]) {
        let pipe = self.child.stdin.as_mut().expect("the input is still open");
        pipe.write_all(input).expect("the program reads its input");
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether the program has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_some()
    }

    /// Ends the program with SIGTERM, and returns its outcome.
    pub fn end(self) -> Outcome {
        terminate(self.child.id());
        self.finish(Duration::from_secs(15))
    }

    /// Waits for the program to end; fails the test if that takes longer than `timeout`.
    pub fn finish(mut self, timeout: Duration) -> Outcome {
        self.close_input();
        let ended = wait::within(timeout, &mut || {
            self.child.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| "still runs".to_owned())
        });
        if ended.is_err() {
            // Its output shows why it hangs.
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("a child can be waited for");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let outcome = Outcome {
            line: self.line.clone(),
            code: status.code().unwrap_or_else(|| 128 + signal.unwrap_or_default()),
            out: read(self.out.take()),
            err: String::from_utf8_lossy(&read(self.err.take())).into_owned(),
            elapsed: self.begin.elapsed(),
        };
        assert!(ended.is_ok(), "not within {timeout:?}: {outcome}");
        outcome
    }
}

impl Drop for Running {
    /// A failed test leaves no process running.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program until it ends.
pub fn run<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Outcome {
    Running::start(program, arguments, &[]).finish(TIMEOUT)
}

fn read(pipe: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    pipe.map(|pipe| pipe.join().expect("reading does not panic")).unwrap_or_default()
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = vec![];
        // On an error, the output so far is all that can be shown.
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

const GIVEN: &str = "OSTRIA_TEST_BIN";
/// Longer than any program that a test runs in the foreground.
pub const TIMEOUT: Duration = Duration::from_secs(100);
