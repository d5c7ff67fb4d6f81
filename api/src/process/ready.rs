//! Readiness as a set of open gates. Exists so that each part of a process has a gate of its own, `/readyz` can name
//! the missing parts, and tests wait for a server instead of sleeping.

use std::sync::Arc;
use tokio::sync::watch;

/// The gates that must be done before the process is ready. Clones share the set.
#[derive(Clone)]
pub struct Readiness {
    pending: Arc<watch::Sender<Vec<String>>>,
}

impl Readiness {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self { pending: Arc::new(watch::Sender::new(Vec::new())) }
    }

    /// Adds a gate: the process is not ready until the gate is done or dropped.
    pub fn wait_for(&self, what: &str) -> Gate {
        self.pending.send_modify(|pending| pending.push(what.to_owned()));
        Gate { readiness: self.clone(), what: what.to_owned() }
    }

    /// Whether all gates are done.
    pub fn is_ready(&self) -> bool {
        self.pending.borrow().is_empty()
    }

    /// The names of the open gates, in the order in which they were added.
    pub fn pending(&self) -> Vec<String> {
        self.pending.borrow().clone()
    }

    /// Waits until all gates are done.
    pub async fn until_ready(&self) {
        self.pending
            .subscribe()
            .wait_for(Vec::is_empty)
            .await
            .map(drop)
            .expect("self holds the sender, so the channel is open");
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

/// A part of the process that must be ready. Dropping the gate marks it as done.
#[must_use = "a gate that is dropped at once has no effect"]
pub struct Gate {
    readiness: Readiness,
    what: String,
}

impl Gate {
    /// Marks the part as ready.
    pub fn done(self) {}

    /// Says what the part waits for: `/readyz` shows it behind the part's name. Empty text shows the name alone.
    pub fn explain(&mut self, reason: &str) {
        let what = match (self.what.split(": ").next().unwrap_or_default(), reason) {
            (name, "") => name.to_owned(),
            (name, reason) => format!("{name}: {reason}"),
        };
        self.readiness.pending.send_modify(|pending| {
            if let Some(part) = pending.iter_mut().find(|part| **part == self.what) {
                part.clone_from(&what);
            }
        });
        self.what = what;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.readiness.pending.send_modify(|pending| {
            if let Some(index) = pending.iter().position(|other| *other == self.what) {
                pending.remove(index);
            }
        });
        let pending = self.readiness.pending();
        tracing::info!(
            done = self.what,
            ?pending,
            "{}",
            if pending.is_empty() { "ready" } else { "not ready yet" }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_waits_for_all_gates_and_names_the_open_ones() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (first, second, twin) =
            (readiness.wait_for("root"), readiness.wait_for("certificate"), readiness.wait_for("root"));
        assert_eq!(readiness.pending(), ["root", "certificate", "root"]);
        first.done();
        assert_eq!(readiness.pending(), ["certificate", "root"]);
        drop(second);
        assert!(!readiness.is_ready());
        twin.done();
        assert!(readiness.is_ready());
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_last_gate_is_done() {
        let readiness = Readiness::new();
        let gate = readiness.wait_for("root");
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.until_ready().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        gate.done();
        waiter.await.unwrap();
    }

    #[test]
    fn a_gate_says_what_it_waits_for() {
        let readiness = Readiness::new();
        let (mut one, other) = (readiness.wait_for("configuration"), readiness.wait_for("certificate"));
        one.explain("Pods: forbidden: no");
        assert_eq!(readiness.pending(), ["configuration: Pods: forbidden: no", "certificate"]);
        one.explain("Secrets");
        assert_eq!(readiness.pending(), ["configuration: Secrets", "certificate"]);
        one.explain("");
        assert_eq!(readiness.pending(), ["configuration", "certificate"]);
        one.explain("Pods");
        one.done();
        other.done();
        assert!(readiness.is_ready());
    }
}
