//! The cluster's own processes, stopped and started as when a node or the API server fails.

use crate::cluster::{run, setting};

/// The variable that names the program.
pub(crate) const PROGRAM: &str = "E2E_DAEMONS";

/// A daemon that is started again when the test ends.
pub(crate) struct Stopped(Option<&'static str>);

impl Stopped {
    /// Kills a daemon.
    pub(crate) fn kill(name: &'static str) -> Self {
        run(&setting(PROGRAM), &["stop", name, "KILL"], "").unwrap_or_else(|error| panic!("{error}"));
        Self(Some(name))
    }

    /// Starts it again.
    pub(crate) fn start(mut self) {
        let name = self.0.take().expect("it is started once");
        run(&setting(PROGRAM), &["start", name], "").unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let Some(name) = self.0 else { return };
        if let Err(error) = run(&setting(PROGRAM), &["start", name], "") {
            eprintln!("{name} stays away: {error}");
        }
    }
}
