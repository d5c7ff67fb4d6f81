//! What `up` says while it works: one line for each step with the time since the start.

use std::io::Write;
use std::time::Instant;

/// Tells steps on standard error.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    begun: Instant,
}

impl Progress {
    /// Begins to count.
    #[expect(clippy::disallowed_methods, reason = "progress is told with real time")]
    pub fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// Tells a step.
    pub fn step(&self, text: &str) {
        // The mesh goes on when nobody listens any more.
        let _ = writeln!(std::io::stderr(), "[{:5.1}s] {text}", self.begun.elapsed().as_secs_f64());
    }
}
