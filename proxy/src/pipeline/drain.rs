//! The drain phase of the proxy. The process sets it; listeners and connections watch it.

use std::time::Instant;
use tokio::sync::watch;

/// Whether the proxy runs or drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Running,
    /// No connection is accepted. Open connections may finish until the deadline.
    Draining {
        /// Time at which open connections are cut.
        deadline: Instant,
        /// Whether only inbound listeners drain.
        inbound_only: bool,
    },
}

/// Sets the drain phase.
#[derive(Debug, Clone)]
pub struct Drainer(watch::Sender<Phase>);

/// Watches the drain phase.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Phase>);

/// Creates both ends, in the phase `Running`.
pub fn drain() -> (Drainer, Drain) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Drainer(sender), Drain(receiver))
}

impl Drainer {
    /// Stops accepting connections. Those still open at the deadline are cut.
    pub fn start(&self, deadline: Instant, inbound_only: bool) {
        self.0.send_replace(Phase::Draining { deadline, inbound_only });
    }
}

impl Drain {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase changes.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Every `Drainer` is dropped, so the phase never changes.
            std::future::pending::<()>().await;
        }
    }
}
