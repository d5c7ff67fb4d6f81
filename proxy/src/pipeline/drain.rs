//! When to stop: a phase that the shell sets and that listeners and connections watch.

use std::time::Instant;
use tokio::sync::watch;

/// How the proxy's life stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are taken.
    Running,
    /// No connection is taken; what runs may end until the deadline, when it is cut.
    Draining {
        /// When what still runs is cut.
        deadline: Instant,
        /// Only inbound listeners drain.
        inbound_only: bool,
    },
}

/// Sets the phase.
#[derive(Debug, Clone)]
pub struct Drainer(watch::Sender<Phase>);

/// Watches the phase.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Phase>);

/// Both ends, running.
pub fn drain() -> (Drainer, Drain) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Drainer(sender), Drain(receiver))
}

impl Drainer {
    /// Stops taking connections, and cuts those that are left at the deadline.
    pub fn start(&self, deadline: Instant, inbound_only: bool) {
        self.0.send_replace(Phase::Draining { deadline, inbound_only });
    }
}

impl Drain {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns when the phase has changed.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody can set it any more: it never changes.
            std::future::pending::<()>().await;
        }
    }
}
