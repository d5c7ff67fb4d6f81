//! Progress of `up`: one line for each step, with the time since the start.

use std::io::Write;
use std::time::Instant;

/// Prints steps to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    begun: Instant,
}

impl Progress {
    /// Starts the clock.
    #[expect(clippy::disallowed_methods, reason = "progress shows real time")]
    pub fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// Prints a step.
    pub fn step(&self, text: &str) {
        // The mesh continues if standard error is closed.
        let _ = writeln!(std::io::stderr(), "[{:5.1}s] {text}", self.begun.elapsed().as_secs_f64());
    }
}
