//! `ostria down`.

use std::time::Duration;

use clap::Args;
use rustix::process::Signal;

use crate::failure::Failure;
use crate::place::Place;
use crate::state::State;
use crate::state::last;
use crate::state::lock::{self, Lock};
use crate::verb::entry::Verb;

/// `ostria down`
#[derive(Debug, Args)]
pub struct Down {}

impl Verb for Down {
    const NAME: &'static str = "down";
    const ABOUT: &'static str = "Stop the running mesh";
    const EXAMPLES: &'static [&'static str] = &["down"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        run(place.local("down", "remove the mesh there with `ostria uninstall`")?)
    }
}

/// Ends the running mesh, or removes what a killed mesh left.
fn run(state: &State) -> Result<(), Failure> {
    let Some(lock) = Lock::read(state)? else {
        if let Some(failure) = lock::foreign(state) {
            return Err(failure);
        }
        println!("no mesh is running");
        return Ok(());
    };
    if !lock.is_held() {
        keep(state);
        lock::sweep(state)?;
        println!("removed the remains of a killed mesh");
        return Ok(());
    }
    lock.signal(lock.supervisor, Signal::TERM);
    if !gone(&lock, ORDERLY) {
        eprintln!("the mesh did not stop in time and is killed");
        lock.signal(lock.supervisor, Signal::KILL);
        if !gone(&lock, KILL) {
            return Err(Failure::blocked(
                format!("process {} cannot be killed", lock.supervisor.pid),
                "try again as root",
            ));
        }
        keep(state);
        lock::sweep(state)?;
    }
    println!("the mesh is down");
    Ok(())
}

/// Saves the last logs of a killed mesh, which could not save them itself.
fn keep(state: &State) {
    if let Err(error) = last::keep(state) {
        eprintln!("the last logs cannot be saved: {error}");
    }
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
