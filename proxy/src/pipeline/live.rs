//! Open connections of a thread. They are drained when their listener or chain is removed or the proxy drains, closed
//! when idle for too long, and cut at a deadline. Each connection has one entry here, and one ticker checks all of
//! them; that is cheaper than timers for each connection.

use super::silence::Watches;
use crate::snapshot::listener::Chain;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The open connections of a thread.
#[derive(Default)]
pub(super) struct Registry {
    entries: RefCell<Vec<Weak<Entry>>>,
    counts: Rc<ConnectionCounts>,
    /// When to look for idle connections again.
    scan: Cell<ScanPacing>,
    /// Set once the proxy drains; connections added later are drained too.
    drain: Cell<Option<ProxyDrain>>,
}

/// Number of connections, counted as they open and close, because accepting a connection must not scan all of them.
#[derive(Default)]
struct ConnectionCounts {
    open: Cell<usize>,
    /// Connections asked to close to make room for others.
    leaving: Cell<usize>,
}

/// A connection's share in the count, released on drop.
struct CountedConnection {
    all: Rc<ConnectionCounts>,
    leaves: Cell<bool>,
}

impl CountedConnection {
    fn take(all: &Rc<ConnectionCounts>) -> Self {
        all.open.set(all.open.get() + 1);
        Self { all: all.clone(), leaves: Cell::new(false) }
    }

    fn leave(&self) {
        if !self.leaves.replace(true) {
            self.all.leaving.set(self.all.leaving.get() + 1);
        }
    }

    /// The connection has work again and is counted again.
    fn stay(&self) {
        if self.leaves.replace(false) {
            self.all.leaving.set(self.all.leaving.get() - 1);
        }
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.all.open.set(self.all.open.get() - 1);
        if self.leaves.get() {
            self.all.leaving.set(self.all.leaving.get() - 1);
        }
    }
}

/// When to look for idle connections. Each look scans all connections. A scan that finds as many as requested has paid
/// for itself. After one that finds fewer, the next scan waits; otherwise each refused connection would cost a scan.
#[derive(Debug, Clone, Copy, Default)]
struct ScanPacing {
    not_before: Option<Instant>,
}

impl ScanPacing {
    fn is_due(self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    fn after(found: usize, wanted: usize, now: Instant) -> Self {
        Self { not_before: (found < wanted).then(|| now + SCAN_PAUSE) }
    }
}

/// How the proxy drains.
#[derive(Debug, Clone, Copy)]
struct ProxyDrain {
    cut_at: Instant,
    inbound_only: bool,
}

impl ProxyDrain {
    fn concerns(self, entry: &Entry) -> bool {
        entry.inbound || !self.inbound_only
    }
}

/// One open connection.
pub(super) struct Entry {
    pub(super) listener: Arc<str>,
    /// `None`: the chain is not chosen yet.
    pub(super) chain: Option<Arc<Chain>>,
    pub(super) inbound: bool,
    limits: Limits,
    counted: CountedConnection,
    began: Instant,
    last: Cell<Instant>,
    busy: Cell<u32>,
    state: Cell<State>,
    /// Set when bytes of a request body move; the entry does not see each piece.
    moved: Rc<Cell<bool>>,
    /// Whether the connection, or a stream of it, was ended because nothing moved.
    silent: Cell<bool>,
    pub(super) streams: Watches,
    resets: Resets,
    /// Whether draining can be announced at once (HTTP/2 and TCP) instead of with the next response (HTTP/1).
    announces_at_once: Cell<bool>,
    cut_at: Cell<Option<Instant>>,
    /// Since when the connection is idle and asked to close.
    closing_since: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
    flush: RefCell<Option<Box<dyn Fn()>>>,
}

/// Counts requests that the client resets soon after they begin, as in a rapid reset attack.
#[derive(Default)]
struct Resets {
    ended: Cell<u32>,
    premature: Cell<u32>,
    /// Counting has ended.
    over: Cell<bool>,
}

/// Time limits of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    /// Time without requests (HTTP) or bytes (TCP).
    pub(super) idle: Option<Duration>,
    /// Time without bytes while a request is active.
    pub(super) stream_idle: Option<Duration>,
    /// Total lifetime.
    pub(super) duration: Option<Duration>,
}

/// What a connection has to do. Later states are more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Continue.
    Open,
    /// Accept no request after the current ones. Idle connections stay open for a moment.
    Draining,
    /// Close as soon as no request is active.
    Closing,
    /// Close now.
    Cut,
}

impl Registry {
    pub(super) fn add(
        &self,
        (listener, chain, inbound): (Arc<str>, Option<Arc<Chain>>, bool),
        limits: Limits,
        now: Instant,
    ) -> Rc<Entry> {
        let entry = Rc::new(Entry {
            listener,
            chain,
            inbound,
            limits,
            counted: CountedConnection::take(&self.counts),
            began: now,
            last: Cell::new(now),
            busy: Cell::new(0),
            state: Cell::new(State::Open),
            moved: Rc::default(),
            silent: Cell::new(false),
            streams: Watches::default(),
            resets: Resets::default(),
            announces_at_once: Cell::new(false),
            cut_at: Cell::new(None),
            closing_since: Cell::new(None),
            waker: RefCell::default(),
            flush: RefCell::default(),
        });
        // The connection was accepted before draining began, but is only added now that its client has sent bytes.
        if let Some(drain) = self.drain.get().filter(|drain| drain.concerns(&entry)) {
            entry.drain(drain.cut_at);
        }
        let mut entries = self.entries.borrow_mut();
        // Remove dead entries only when the vector is full, so that adding stays cheap.
        if entries.len() == entries.capacity() {
            entries.retain(|e| e.strong_count() > 0);
        }
        entries.push(Rc::downgrade(&entry));
        entry
    }

    /// Number of open connections.
    pub(super) fn count(&self) -> usize {
        self.counts.open.get()
    }

    /// Number of open connections without those that were asked to close to make room.
    pub(super) fn staying(&self) -> usize {
        self.counts.open.get() - self.counts.leaving.get()
    }

    /// Drains the connections that `which` selects. Those still open at `cut_at` are cut.
    pub(super) fn drain(&self, cut_at: Instant, which: impl Fn(&Entry) -> bool) {
        for entry in self.all() {
            if which(&entry) {
                entry.drain(cut_at);
            }
        }
    }

    /// Drains all connections, or only the inbound ones, including those that are added later. Those still open at
    /// `cut_at` are cut.
    pub(super) fn end(&self, cut_at: Instant, inbound_only: bool) {
        let drain = ProxyDrain { cut_at, inbound_only };
        self.drain.set(Some(drain));
        self.drain(cut_at, |entry| drain.concerns(entry));
    }

    /// Asks up to `wanted` idle connections to close, to make room for others: first those that never had a request,
    /// then those that have been idle longest. Returns whether any connection was asked to close. After a scan that
    /// found fewer than `wanted`, returns false without another scan for `SCAN_PAUSE`.
    pub(super) fn make_room(&self, wanted: usize, now: Instant) -> bool {
        if !self.scan.get().is_due(now) {
            return false;
        }
        let mut idle = self.all();
        idle.retain(|entry| entry.busy.get() == 0 && entry.state.get() == State::Open);
        self.scan.set(ScanPacing::after(idle.len(), wanted, now));
        if idle.len() > wanted {
            idle.select_nth_unstable_by_key(wanted, |entry| {
                let last = entry.last.get();
                (last != entry.began, last)
            });
            idle.truncate(wanted);
        }
        for entry in &idle {
            entry.counted.leave();
            entry.become_at_least(State::Closing);
        }
        !idle.is_empty()
    }

    /// Applies time limits. Called about every 100 ms.
    pub(super) fn tick(&self, now: Instant) {
        self.all().iter().for_each(|entry| entry.tick(now));
    }

    /// Has long-lived connections record the bytes that they moved so far.
    pub(super) fn flush(&self) {
        for entry in self.all() {
            if let Some(flush) = &*entry.flush.borrow() {
                flush();
            }
        }
    }

    fn all(&self) -> Vec<Rc<Entry>> {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|e| e.strong_count() > 0);
        entries.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Entry {
    /// The connection's state. Wakes the task when the state changes.
    pub(super) fn state(&self, context: &Context<'_>) -> State {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.state.get()
    }

    /// Runs `waiting`, a wait for the client's first bytes or its handshake; `None`: the connection reached the state `end`
    /// first.
    pub(super) async fn before<T>(&self, end: State, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        std::future::poll_fn(|context| match self.state(context) {
            state if state < end => waiting.as_mut().poll(context).map(Some),
            _ => Poll::Ready(None),
        })
        .await
    }

    /// Whether responses have to announce that the connection closes.
    pub(super) fn is_draining(&self) -> bool {
        self.state.get() >= State::Draining
    }

    /// Whether the connection was cut because nothing moved.
    pub(super) fn is_timed_out(&self) -> bool {
        self.silent.get()
    }

    /// The flag to set when bytes of a request move.
    pub(super) fn moved(&self) -> Rc<Cell<bool>> {
        self.streams.moved().unwrap_or_else(|| self.moved.clone())
    }

    /// Drops a stream because nothing moved on it.
    pub(super) fn drop_idle_stream<T>(&self, stream: T) {
        let before = self.silent.replace(true);
        drop(stream);
        self.silent.set(before);
    }

    /// Counts the end of a request; `premature` if the client reset it soon after it began. Returns whether the
    /// connection must be closed because the client resets too many requests: at least half of them, judged once
    /// `RESET_SAMPLE` have ended, or earlier if good requests cannot outweigh the bad ones by then.
    pub(super) fn count_reset(&self, premature: bool) -> bool {
        let resets = &self.resets;
        if resets.over.get() {
            return false;
        }
        resets.ended.set(resets.ended.get().saturating_add(1));
        resets.premature.set(resets.premature.get().saturating_add(u32::from(premature)));
        premature && resets.premature.get().saturating_mul(2) >= resets.ended.get().max(RESET_SAMPLE)
    }

    /// Cuts the connection.
    pub(super) fn cut(&self) {
        self.become_at_least(State::Cut);
    }

    /// Stops counting resets: the connection is ending, so they say nothing about the client.
    pub(super) fn stop_counting_resets(&self) {
        self.resets.over.set(true);
    }

    /// Whether counting has stopped because the connection ends.
    pub(super) fn counts_no_resets(&self) -> bool {
        self.resets.over.get()
    }

    /// Declares that the protocol can announce the end of requests without closing (HTTP/2), or has no requests (TCP).
    pub(super) fn announce_drain_at_once(&self) {
        self.announces_at_once.set(true);
        // The connection may have begun to drain during its TLS handshake.
        if self.is_draining() {
            self.become_at_least(State::Closing);
        }
    }

    /// Records activity.
    pub(super) fn touch(&self, now: Instant) {
        self.last.set(now);
    }

    /// Records that a request begins.
    pub(super) fn begin(&self, now: Instant) {
        self.counted.stay();
        self.busy.set(self.busy.get() + 1);
        self.last.set(now);
    }

    /// Records that a request ends.
    pub(super) fn end(&self, now: Instant) {
        self.busy.set(self.busy.get().saturating_sub(1));
        self.last.set(now);
    }

    /// Sets a function, called about every five seconds, that records the bytes that a long-lived connection has
    /// moved.
    pub(super) fn on_flush(&self, flush: Box<dyn Fn()>) {
        *self.flush.borrow_mut() = Some(flush);
    }

    /// Drops that function, which holds a reference cycle to this entry.
    pub(super) fn forget_flush(&self) {
        self.flush.borrow_mut().take();
    }

    fn drain(&self, cut_at: Instant) {
        let cut_at = self.cut_at.get().map_or(cut_at, |known| known.min(cut_at));
        self.cut_at.set(Some(cut_at));
        self.last.set(self.last.get().max(self.began));
        self.become_at_least(if self.announces_at_once.get() { State::Closing } else { State::Draining });
    }

    fn tick(&self, now: Instant) {
        let streams_moved = self.streams.tick(now, self.limits.stream_idle);
        if self.moved.take() || streams_moved {
            self.touch(now);
        }
        let quiet = now.saturating_duration_since(self.last.get());
        let past = |limit: Option<Duration>, time: Duration| limit.is_some_and(|limit| time >= limit);
        if self.cut_at.get().is_some_and(|at| now >= at) {
            return self.become_at_least(State::Cut);
        }
        if past(self.limits.duration, now.saturating_duration_since(self.began)) {
            self.become_at_least(State::Closing);
        }
        if self.busy.get() > 0 {
            self.closing_since.set(None);
            if past(self.limits.stream_idle, quiet) {
                self.silent.set(true);
                self.become_at_least(State::Cut);
            }
        } else if past(self.limits.idle, quiet) || (self.is_draining() && quiet >= DRAIN_GRACE) {
            self.become_at_least(State::Closing);
            // An HTTP/2 peer is pinged to confirm that it has seen the GOAWAY. One that does not respond is cut too.
            let since = self.closing_since.get().unwrap_or(now);
            self.closing_since.set(Some(since));
            if now.saturating_duration_since(since) >= CLOSE_GRACE {
                self.become_at_least(State::Cut);
            }
        }
    }

    fn become_at_least(&self, state: State) {
        if self.state.get() < state {
            self.state.set(state);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// How long an idle HTTP/1 connection of a draining listener stays open. A request already on its way is served, and
/// its response announces the close; otherwise it would meet a closed connection.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// Pause between scans for idle connections when there are few, so that scanning takes at most a few percent of the
/// time.
const SCAN_PAUSE: Duration = Duration::from_millis(100);
/// How long an idle connection has to close before it is cut.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Number of requests after which an HTTP/2 connection is judged by its share of early resets, as in Envoy.
const RESET_SAMPLE: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::now;

    fn add(registry: &Registry, inbound: bool, now: Instant) -> Rc<Entry> {
        registry.add(("in".into(), None, inbound), Limits::default(), now)
    }

    #[tokio::test(start_paused = true)]
    async fn connections_added_while_closing_are_closed_as_well() {
        let now = now();
        let context = Context::from_waker(Waker::noop());
        for (inbound_only, outbound) in [(true, State::Open), (false, State::Draining)] {
            let registry = Registry::default();
            let there = [add(&registry, true, now), add(&registry, false, now)];
            registry.end(now + Duration::from_secs(10), inbound_only);
            let later = [add(&registry, true, now), add(&registry, false, now)];
            for [inbound, other] in [&there, &later] {
                assert_eq!(inbound.state(&context), State::Draining);
                assert_eq!(other.state(&context), outbound);
            }
            registry.tick(now + Duration::from_secs(10));
            assert_eq!(later[0].state(&context), State::Cut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_make_room_before_idle_ones_and_busy_ones_never_do() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let registry = Registry::default();
        let idle_long = add(&registry, true, start);
        let busy = add(&registry, true, start);
        let (silent, silent_late) = (add(&registry, true, after(1)), add(&registry, true, after(2)));
        busy.begin(after(2));
        idle_long.begin(after(3));
        idle_long.end(after(3));
        let idle = add(&registry, true, after(3));
        idle.begin(after(4));
        idle.end(after(4));
        let open = |entry: &Rc<Entry>| entry.state.get() == State::Open;
        let order = [&silent, &silent_late, &idle_long, &idle];
        for (number, next) in order.iter().enumerate() {
            assert!(order[number..].iter().all(|entry| open(entry)), "{number}");
            assert!(registry.make_room(1, after(5)));
            assert!(!open(next), "{number}");
        }
        assert!(!registry.make_room(1, after(5)) && open(&busy));
        assert_eq!(silent.before(State::Closing, std::future::pending::<()>()).await, None);
        assert_eq!(busy.before(State::Closing, std::future::ready(1)).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_without_idle_connections_is_looked_through_once_in_a_while() {
        let start = now();
        let registry = Registry::default();
        let busy: Vec<_> = (0..10).map(|_| add(&registry, true, start)).collect();
        for entry in &busy {
            entry.begin(start);
        }
        assert!(!registry.make_room(2, start));
        // A connection that becomes idle meanwhile is found by the next scan, and no scan happens before.
        busy[0].end(start);
        let again = start + SCAN_PAUSE;
        let before = again.checked_sub(Duration::from_millis(1)).unwrap();
        assert!(!registry.make_room(2, before) && busy[0].state.get() == State::Open);
        assert!(registry.make_room(2, again) && busy[0].state.get() == State::Closing);
        assert!(!registry.make_room(2, again), "there was one where two were wanted");
        // It counts as closed although closing takes time, so that no other connection is closed in its place.
        assert_eq!((registry.count(), registry.staying()), (10, 9));
        // A client that sends more requests instead keeps its connection.
        busy[0].begin(again);
        assert_eq!((registry.count(), registry.staying()), (10, 10));
        drop(busy);
        assert_eq!((registry.count(), registry.staying()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_gets_goaway_even_before_its_first_request() {
        let now = now();
        let context = Context::from_waker(Waker::noop());
        for greeted_first in [true, false] {
            let registry = Registry::default();
            let entry = add(&registry, true, now);
            if greeted_first {
                entry.announce_drain_at_once();
            }
            registry.drain(now + Duration::from_secs(10), |_| true);
            if !greeted_first {
                entry.announce_drain_at_once();
            }
            assert_eq!(entry.state(&context), State::Closing);
        }
    }
}
