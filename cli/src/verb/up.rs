//! `ostria up`, in the foreground or detached.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::arguments::Up;
use crate::failure::Failure;
use crate::place::Place;
use crate::state::State;
use crate::up::supervise;
use crate::verb::entry::Verb;

impl Verb for Up {
    const NAME: &'static str = "up";
    const ABOUT: &'static str = "Start a mesh from folders of Kubernetes YAML";
    const EXAMPLES: &'static [&'static str] =
        &["up samples/bookinfo", "up -d samples/bookinfo --gateway 127.0.0.1:9080"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        run(place.local("up", "install the mesh there with `ostria install`")?.clone(), &self)
    }
}

/// Starts a mesh. In detached mode it returns when the mesh is ready.
fn run(state: State, up: &Up) -> Result<(), Failure> {
    if !up.detach || up.background {
        return supervise::run(state, up);
    }
    let failed = |error: std::io::Error| {
        Failure::blocked(format!("`ostria` cannot start itself: {error}"), "start it by its path")
    };
    let own = std::env::current_exe().map_err(failed)?;
    let typed = std::env::args_os().next().unwrap_or_else(|| "ostria".into());
    let mut child = Command::new(own)
        .arg0(typed)
        .args(std::env::args_os().skip(1))
        .arg("--background")
        .env("OSTRIA_STATE", state.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut words = child.stdout.take().expect("output is piped");
    // The child closes its output when the mesh is ready or the child ends.
    let mut startup = Startup::default();
    std::io::copy(&mut words, &mut startup).map_err(failed)?;
    match (lives(&mut child), startup.unready) {
        (true, false) => Ok(()),
        (true, true) => Err(Failure::Exit(1)),
        (false, _) => Err(Failure::Exit(ended(&mut child))),
    }
}

/// Prints the child's start-up messages, and records the byte that reports that not all pods are ready.
#[derive(Default)]
struct Startup {
    unready: bool,
}

impl Write for Startup {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.unready |= bytes.contains(&supervise::UNREADY);
        let words: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != supervise::UNREADY).collect();
        std::io::stdout().write_all(&words)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

/// Whether the child still runs. A child that closed its output because it ended has exited, or does so shortly.
fn lives(child: &mut std::process::Child) -> bool {
    for _ in 0..10 {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    true
}

fn ended(child: &mut std::process::Child) -> u8 {
    child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
