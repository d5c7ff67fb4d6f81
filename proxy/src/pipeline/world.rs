//! The state of one worker thread: its configuration, upstreams, open connections, clock and random numbers. It is held
//! by `Rc` and never shared with another thread.

use super::live::Registry;
use super::local::Local;
use super::upstream::Upstream;
use super::wheel::Wheel;
use crate::accept::handover::Virtual;
use crate::flow::node::Node;
pub(super) use crate::io::now;
use crate::snapshot::Snapshot;
use crate::snapshot::listener::{Listener, Routes};
use crate::snapshot::table::RouteTable;
use crate::telemetry::Sink;
use foldhash::HashMap;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

/// The state of one worker thread.
pub(super) struct Thread {
    local: Local,
    pub(super) node: Arc<Node>,
    pub(super) mark: Option<u32>,
    pub(super) live: Registry,
    config: RefCell<Rc<Config>>,
    upstreams: RefCell<HashMap<Arc<str>, Rc<Upstream>>>,
    wall: Cell<(Instant, SystemTime)>,
    wheel: RefCell<Wheel>,
    /// The origin of the wheel's ticks.
    began: Instant,
}

/// The configuration in force on a thread, with its index of listeners without a socket.
pub(super) struct Config {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) virtuals: Virtual,
}

/// A thread has its own metrics, random numbers and clock.
impl Deref for Thread {
    type Target = Local;

    fn deref(&self) -> &Local {
        &self.local
    }
}

impl Thread {
    pub(super) fn new(
        telemetry: Sink,
        node: Arc<Node>,
        mark: Option<u32>,
        snapshot: Arc<Snapshot>,
    ) -> Rc<Self> {
        let now = now();
        Rc::new(Self {
            local: Local::new(telemetry, now),
            node,
            mark,
            live: Registry::default(),
            config: RefCell::new(Rc::new(Config::new(snapshot))),
            upstreams: RefCell::default(),
            wall: Cell::new((now, wall_clock())),
            wheel: RefCell::new(Wheel::new()),
            began: now,
        })
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Rc<Config> {
        self.config.borrow().clone()
    }

    /// Switches to another configuration.
    pub(super) fn configure(&self, snapshot: Arc<Snapshot>) {
        let mut upstreams = self.upstreams.borrow_mut();
        upstreams.retain(|name, upstream| {
            let Some(cluster) = snapshot.cluster(name) else { return false };
            if !Arc::ptr_eq(cluster, upstream.cluster()) {
                *upstream = Upstream::new(cluster.clone(), Some(upstream), self);
            }
            true
        });
        let known = snapshot.clone();
        self.telemetry.retain_clusters(|name| known.has_cluster(name));
        *self.config.borrow_mut() = Rc::new(Config::new(snapshot));
    }

    /// A cluster's endpoints and connections on this thread; `None`: there is no such cluster.
    pub(super) fn upstream(&self, name: &str) -> Option<Rc<Upstream>> {
        if let Some(known) = self.upstreams.borrow().get(name) {
            return Some(known.clone());
        }
        let cluster = self.config.borrow().snapshot.cluster(name)?.clone();
        let upstream = Upstream::new(cluster, None, self);
        self.upstreams.borrow_mut().insert(upstream.cluster().name.clone(), upstream.clone());
        Some(upstream)
    }

    /// Replaces an upstream by a changed version, if `last` is still the current one.
    pub(super) fn replace(&self, last: &Rc<Upstream>, next: Rc<Upstream>) {
        if let Some(slot) = self.upstreams.borrow_mut().get_mut(&last.cluster().name)
            && Rc::ptr_eq(slot, last)
        {
            *slot = next;
        }
    }

    /// All upstreams used so far.
    pub(super) fn upstreams(&self) -> Vec<Rc<Upstream>> {
        self.upstreams.borrow().values().cloned().collect()
    }

    /// The route table that applies to a connection's requests at this moment.
    pub(super) fn table(&self, routes: &Routes) -> Option<Arc<RouteTable>> {
        match routes {
            Routes::Inline(table) => Some(table.clone()),
            Routes::Named(name) => self.config.borrow().snapshot.table(name).cloned(),
        }
    }

    /// The current version of a listener.
    pub(super) fn listener(&self, name: &str) -> Option<Arc<Listener>> {
        self.config.borrow().snapshot.compiled_listeners().get(name).cloned()
    }

    /// Updates the coarse clock.
    pub(super) fn tick(&self) -> Instant {
        let now = now();
        self.local.tick(now);
        self.wall.set((now, wall_clock()));
        let woken = self.wheel.borrow_mut().turn(self.ticks(now));
        woken.into_iter().for_each(Waker::wake);
        now
    }

    /// Wakes a waiter at most two ticks before `time` and never after it, unless cancelled. Returns its place in the
    /// wheel.
    pub(super) fn wake_before(&self, time: Instant, waiter: &Waker) -> u32 {
        // The clock may tick at any point within a tick, so only the previous tick is certain to be early enough.
        self.wheel.borrow_mut().set(self.ticks(time).saturating_sub(1), waiter.clone())
    }

    /// Whether a waiter's time has come. If not, replaces the waiter.
    pub(super) fn is_due(&self, place: u32, waiter: &Waker) -> bool {
        self.wheel.borrow_mut().is_due(place, waiter)
    }

    /// Removes a waiter.
    pub(super) fn cancel(&self, place: u32) {
        // Bound to a name, so that the waiter is dropped after the borrow of the wheel ends.
        let _waiter = self.wheel.borrow_mut().cancel(place);
    }

    fn ticks(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.began).as_millis() / TICK.as_millis()) as u64
    }

    /// The wall-clock time at an instant.
    pub(super) fn wall(&self, at: Instant) -> SystemTime {
        let (known, wall) = self.wall.get();
        wall + at.saturating_duration_since(known) - known.saturating_duration_since(at)
    }
}

impl Config {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { virtuals: Virtual::new(snapshot.compiled_listeners().values()), snapshot }
    }
}

/// How often the coarse clock is updated.
pub(super) const TICK: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "the pipeline is where time comes from")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
