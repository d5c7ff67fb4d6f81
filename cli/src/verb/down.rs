//! `ostria down`.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::failure::Failure;
use crate::state::State;
use crate::state::lock::{self, Lock, Process};

/// Ends the running mesh, or removes what a killed one left.
pub fn run(state: &State) -> Result<(), Failure> {
    let Some(lock) = Lock::read(state) else {
        println!("no mesh runs");
        return Ok(());
    };
    if !lock.supervisor.is_alive() {
        lock::sweep(state)?;
        println!("removed what a killed mesh had left");
        return Ok(());
    }
    lock.supervisor.signal(Signal::SIGTERM);
    if !gone(lock.supervisor, ORDERLY) {
        eprintln!("the mesh does not end by itself; it is killed");
        lock.supervisor.signal(Signal::SIGKILL);
        if !gone(lock.supervisor, KILL) {
            return Err(Failure::blocked(
                format!("process {} cannot be killed", lock.supervisor.pid),
                "try again as root",
            ));
        }
        lock::sweep(state)?;
    }
    println!("the mesh is down");
    Ok(())
}

fn gone(process: Process, patience: Duration) -> bool {
    let pause = Duration::from_millis(20);
    for _ in 0..patience.as_millis() / pause.as_millis() {
        if !process.is_alive() {
            return true;
        }
        std::thread::sleep(pause);
    }
    !process.is_alive()
}

const ORDERLY: Duration = Duration::from_secs(10);
const KILL: Duration = Duration::from_secs(2);
