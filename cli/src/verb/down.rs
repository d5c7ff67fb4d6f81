//! `ostria down`.

use std::time::Duration;

use rustix::process::Signal;

use crate::failure::Failure;
use crate::state::State;
use crate::state::lock::{self, Lock};

/// Ends the running mesh, or removes what a killed one left.
pub fn run(state: &State) -> Result<(), Failure> {
    let Some(lock) = Lock::read(state)? else {
        println!("no mesh runs");
        return Ok(());
    };
    if !lock.is_held() {
        lock::sweep(state)?;
        println!("removed what a killed mesh had left");
        return Ok(());
    }
    lock.signal(lock.supervisor, Signal::TERM);
    if !gone(&lock, ORDERLY) {
        eprintln!("the mesh does not end by itself; it is killed");
        lock.signal(lock.supervisor, Signal::KILL);
        if !gone(&lock, KILL) {
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

fn gone(lock: &Lock, patience: Duration) -> bool {
    let pause = Duration::from_millis(20);
    for _ in 0..patience.as_millis() / pause.as_millis() {
        if !lock.is_held() {
            return true;
        }
        std::thread::sleep(pause);
    }
    !lock.is_held()
}

const ORDERLY: Duration = Duration::from_secs(10);
const KILL: Duration = Duration::from_secs(2);
