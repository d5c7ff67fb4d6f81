//! `ostria up`, in the foreground or detached.

use std::process::{Command, Stdio};

use crate::arguments::Up;
use crate::failure::Failure;
use crate::state::State;
use crate::up::supervise;

/// Starts a mesh; detached, returns when it is ready.
pub fn run(state: State, up: &Up) -> Result<(), Failure> {
    if !up.detach || up.background {
        return supervise::run(state, up);
    }
    let failed = |error: std::io::Error| {
        Failure::blocked(format!("`ostria` cannot start itself: {error}"), "start it by its path")
    };
    let own = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(own)
        .args(std::env::args_os().skip(1))
        .arg("--background")
        .env("OSTRIA_STATE", state.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut words = child.stdout.take().expect("output is piped");
    // The child closes its output when it is ready, or ends.
    std::io::copy(&mut words, &mut std::io::stdout()).map_err(failed)?;
    if lives(&mut child) { Ok(()) } else { Err(Failure::Exit(ended(&mut child))) }
}

/// A child that closed its output because it ended can be collected at once or soon.
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
