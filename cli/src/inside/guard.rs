//! A program that ends when its parent ends, however the parent ends: the control plane must not outlive a
//! killed supervisor.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::inside::{Error, file, kernel};

/// Ties this process to its parent.
pub fn tie(parent: Option<u32>) -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(kernel("tying a process to its parent"))?;
    let now = getppid().as_raw().cast_unsigned();
    if parent.is_some_and(|parent| parent != now) {
        // The parent ended before the tie: nobody would ever end this process.
        std::process::exit(1);
    }
    Ok(())
}

/// Becomes the command, tied to the parent.
pub fn run(parent: u32, command: &[String]) -> Result<(), Error> {
    tie(Some(parent))?;
    let (program, arguments) = command.split_first().expect("the command line requires a command");
    Err(file(format!("starting {program}"))(Command::new(program).args(arguments).exec()))
}
