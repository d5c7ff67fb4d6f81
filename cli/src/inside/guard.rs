//! Runs a program that is killed when its parent ends, for whatever reason: the control plane must not outlive a killed
//! supervisor.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::inside::{Error, file, kernel};

/// Sets the signal that this process gets when its parent ends.
pub fn tie(parent: Option<u32>) -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(kernel("setting the parent-death signal"))?;
    let now = getppid().as_raw().cast_unsigned();
    if parent.is_some_and(|parent| parent != now) {
        // The parent ended before the signal was set, so it would never arrive.
        std::process::exit(1);
    }
    Ok(())
}

/// Executes the command, which is killed when the parent ends.
pub fn run(parent: u32, command: &[String]) -> Result<(), Error> {
    tie(Some(parent))?;
    let (program, arguments) = command.split_first().expect("the command line requires a command");
    Err(file(format!("starting {program}"))(Command::new(program).args(arguments).exec()))
}
