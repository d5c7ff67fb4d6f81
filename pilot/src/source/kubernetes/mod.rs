//! Watches a cluster and sends facts about its objects: first all of them, then each change as it happens.
//!
//! Each kind has a watch of its own, which resumes by itself. One task compares what the watches report with what was
//! reported before (`observed`), so that a watch that starts again changes nothing. No proxy is served before every
//! kind has been listed: a cluster that is read in part would lack policies that are in force.

mod definition;

mod unsupported;
mod watch;

mod observed;

pub mod kept;
mod watched;

use crate::flow::Fact;
use crate::revision::Revision;
use kube::Client;
use observed::{Event, Observed};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// A cluster and the names of the mesh in it.
#[derive(Clone)]
pub struct Cluster {
    /// A client of its API server.
    pub client: Client,
    /// Its name in messages.
    pub name: String,
    /// Namespace of the mesh configuration.
    pub root_namespace: String,
    /// Name of the ConfigMap with the mesh configuration.
    pub config_map: String,
    /// The revision that reads it: the mesh's objects of others are left out.
    pub revision: Revision,
}

/// Which kinds have not been listed yet, and why; empty once all have been.
pub type Waiting = tokio::sync::watch::Sender<String>;

/// Reads a cluster and watches it until the receiver is dropped. `Fact::Synced` follows the facts of all objects that
/// exist at the beginning. Until then, `waiting` says which kinds cannot be listed, and why. A kind that is never listed
/// keeps proxies from being served: without it, they would lack policies and certificates that are in force.
pub async fn run(cluster: Cluster, facts: Sender<Vec<Fact>>, waiting: Waiting) {
    let (send, events) = channel(QUEUE);
    let mut watches = JoinSet::new();
    let core = watched::core(&cluster.root_namespace, &cluster.config_map);
    let all = core.iter().map(|watched| watched.id).chain(watched::mesh());
    let observed = Observed::new(&cluster.name, cluster.revision.clone(), all);
    for watched in core {
        watches.spawn(watch::core(cluster.client.clone(), watched, send.clone()));
    }
    watches.spawn(definition::follow(cluster.client, cluster.revision, send));
    collect(events, observed, &facts, &waiting).await;
}

/// Turns events into facts until one side ends. Events that have arrived together become one group.
async fn collect(
    mut events: Receiver<Event>,
    mut observed: Observed,
    facts: &Sender<Vec<Fact>>,
    waiting: &Waiting,
) {
    let mut together = Vec::with_capacity(GROUP);
    let mut reminder = tokio::time::interval(REMINDER);
    reminder.set_missed_tick_behavior(MissedTickBehavior::Delay);
    reminder.reset();
    loop {
        tokio::select! {
            received = events.recv_many(&mut together, GROUP) => {
                let group = observed.take(together.drain(..));
                let sent = group.is_empty() || facts.send(group).await.is_ok();
                if received == 0 || !sent {
                    return;
                }
                waiting.send_if_modified(|known| {
                    let now = observed.waiting();
                    *known != now && { *known = now; true }
                });
            }
            () = facts.closed() => return,
            _ = reminder.tick(), if !observed.is_synced() => {
                let kinds = observed.waiting();
                tracing::warn!(kinds, "proxies are not served until these kinds have been listed");
            }
        }
    }
}

/// The number of events that may wait for their comparison.
const QUEUE: usize = 1024;
/// The largest number of events that become one group of facts.
const GROUP: usize = 512;
/// How often the log names the kinds that are waited for.
const REMINDER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
