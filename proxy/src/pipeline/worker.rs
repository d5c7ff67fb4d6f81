//! Runs one worker: follows the configuration, ticks, and drains.

use super::bound::Bound;
use super::drain::{Drain, Phase};
use super::listen::Listeners;
use super::resolve;
use super::world::{TICK, Thread, now};
use crate::credentials::Store;
use crate::flow::node::Node;
use crate::snapshot::Snapshot;
use crate::telemetry::Sink;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// The inputs of one worker thread.
pub struct Worker {
    /// Index of this worker. Worker 0 chooses the port where the configuration asks for port 0.
    pub index: usize,
    /// The configuration in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// This thread's metrics.
    pub telemetry: Sink,
    /// The proxy's certificates and keys.
    pub credentials: Arc<Store>,
    /// The workload that this proxy belongs to.
    pub node: Arc<Node>,
    /// Signals when to drain.
    pub drain: Drain,
    /// `SO_MARK` of the proxy's own sockets, so that the capture rules do not redirect them.
    pub socket_mark: Option<u32>,
    /// The addresses that listeners are bound to.
    pub bound: Bound,
}

/// See `pipeline::serve`.
pub(super) async fn run(worker: Worker) {
    let Worker { index, mut snapshot, telemetry, credentials: _, node, mut drain, socket_mark, bound } =
        worker;
    let current = snapshot.borrow_and_update().clone();
    let thread = Thread::new(telemetry, node, socket_mark, current.clone());
    let mut listeners = Listeners::new(thread.clone(), index, bound);
    let ticking = tokio::task::spawn_local(tick(thread.clone()));
    let resolving = tokio::task::spawn_local(resolve::run(thread.clone()));
    let mut last = current.clone();
    if drain.phase() == Phase::Running {
        listeners.follow(&current);
    }
    loop {
        tokio::select! {
            () = changed(&mut snapshot) => {
                let next = snapshot.borrow_and_update().clone();
                thread.configure(next.clone());
                if drain.phase() == Phase::Running {
                    listeners.follow(&next);
                }
                retire(&thread, &last, &next);
                last = next;
            }
            () = drain.changed() => {
                if let Phase::Draining { deadline, inbound_only } = drain.phase() {
                    listeners.close(inbound_only);
                    thread.live.end(deadline, inbound_only);
                    if !inbound_only {
                        break;
                    }
                }
            }
        }
    }
    finish(&thread, &mut drain).await;
    ticking.abort();
    resolving.abort();
    thread.telemetry.flush_logs();
}

async fn changed(snapshot: &mut watch::Receiver<Arc<Snapshot>>) {
    if snapshot.changed().await.is_err() {
        // If the sender of the configuration is gone, the last configuration stays in force.
        std::future::pending::<()>().await;
    }
}

/// Drains connections whose listener was removed, or whose chain was removed or changed; all others stay. A connection
/// whose chain is not chosen yet stays as well, and uses the configuration that its listener has when the chain is chosen.
fn retire(thread: &Thread, last: &Snapshot, next: &Snapshot) {
    let same = |name: &str| match (last.compiled_listeners().get(name), next.compiled_listeners().get(name)) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    thread.live.drain(now() + RETIRED, |entry| {
        !same(&entry.listener)
            && !next.compiled_listeners().get(&*entry.listener).is_some_and(|listener| {
                let is_there = |chain| listener.chains().any(|known| Arc::ptr_eq(known, chain));
                entry.chain.as_ref().is_none_or(is_there)
            })
    });
}

/// Waits until no connection is open, or the deadline has passed.
async fn finish(thread: &Thread, drain: &mut Drain) {
    loop {
        let Phase::Draining { deadline, .. } = drain.phase() else { return };
        if thread.live.count() == 0 {
            return;
        }
        if now() >= deadline + AFTER_DEADLINE {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = drain.changed() => {
                if let Phase::Draining { deadline, .. } = drain.phase() {
                    thread.live.end(deadline, false);
                }
            }
        }
    }
}

/// Periodic work that needs no exact time.
async fn tick(thread: Rc<Thread>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = now();
    let mut flushed = swept;
    let due = |now: Instant, last: &mut Instant, every: Duration| {
        let due = now.saturating_duration_since(*last) >= every;
        if due {
            *last = now;
        }
        due
    };
    loop {
        interval.tick().await;
        let now = thread.tick();
        thread.telemetry.flush_logs();
        thread.live.tick(now);
        if due(now, &mut swept, SWEEP) {
            thread.upstreams().iter().for_each(|upstream| upstream.sweep(now));
            return_memory();
        }
        if due(now, &mut flushed, FLUSH) {
            thread.live.flush();
        }
    }
}

/// Makes the allocator return memory. It keeps free pages for a second for reuse, and next checks them only when a
/// large block is freed, which may never happen in a proxy without load.
fn return_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// Never written to, so allocating it costs no physical memory.
const LARGE: usize = 1024 * 1024;
const SWEEP: Duration = Duration::from_secs(1);
const FLUSH: Duration = Duration::from_secs(5);
/// Time after which connections of a removed listener or chain are cut.
const RETIRED: Duration = Duration::from_secs(600);
/// Time for connections that were cut to record their end.
const AFTER_DEADLINE: Duration = Duration::from_millis(500);
