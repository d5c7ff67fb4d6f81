//! Schedules requests: numbered tickets, at a fixed rate if there is one.
//!
//! A separate thread keeps the time, because the runtime's timers count whole milliseconds. At thousands of requests a
//! second they would release requests in bursts, and the bursts would show in the latencies.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The schedule of a run, shared by the workers.
pub(super) struct Schedule {
    plan: Turns,
    tickets: AtomicU64,
    /// One permit for each request that is due; `None` without a rate.
    due: Option<Arc<Semaphore>>,
    stopped: AtomicBool,
}

/// The number of requests and the times at which they are due.
#[derive(Clone, Copy)]
struct Turns {
    start: Instant,
    count: Option<u64>,
    end: Option<Instant>,
    rate: Option<f64>,
}

impl Schedule {
    /// Starts a schedule: a number of requests, or requests for a duration; at a rate, or as fast as responses arrive.
    pub(super) fn start(count: Option<u64>, duration: Option<Duration>, rate: Option<f64>) -> Self {
        let start = Instant::now();
        let plan = Turns { start, count, end: duration.map(|duration| start + duration), rate };
        let due = rate.map(|_| Arc::new(Semaphore::new(0)));
        if let Some(due) = &due {
            let due = Arc::downgrade(due);
            std::thread::spawn(move || keep_time(plan, &due));
        }
        Self { plan, tickets: AtomicU64::new(0), due, stopped: AtomicBool::new(false) }
    }

    /// Lets no further request start.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(due) = &self.due {
            due.close();
        }
    }

    /// Waits until the next request is due. Returns false if there is none.
    pub(super) async fn next(&self) -> bool {
        if self.stopped.load(Ordering::Relaxed) {
            return false;
        }
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let Some(turn) = self.plan.turn(ticket) else { return false };
        if self.plan.end.is_some_and(|end| turn.max(Instant::now()) >= end) {
            return false;
        }
        // Permits are added in the order of the tickets, so each ticket takes one permit.
        match &self.due {
            Some(due) => due.acquire().await.map(tokio::sync::SemaphorePermit::forget).is_ok(),
            None => true,
        }
    }
}

impl Turns {
    fn turn(&self, ticket: u64) -> Option<Instant> {
        if self.count.is_some_and(|count| ticket >= count) {
            return None;
        }
        let offset = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(ticket as f64 / rate));
        let turn = self.start + offset;
        self.end.is_none_or(|end| turn < end).then_some(turn)
    }
}

/// Adds a permit when a request is due, until there are no more requests or no workers.
fn keep_time(plan: Turns, due: &Weak<Semaphore>) {
    for turn in (0..).map_while(|ticket| plan.turn(ticket)) {
        std::thread::sleep(turn.saturating_duration_since(Instant::now()));
        match due.upgrade() {
            Some(due) => due.add_permits(1),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(schedule: &Schedule) -> Vec<Duration> {
        let mut turns = vec![];
        while schedule.next().await {
            turns.push(schedule.plan.start.elapsed());
        }
        turns
    }

    #[tokio::test]
    async fn requests_are_spread_evenly_below_a_millisecond() {
        let turns = taken(&Schedule::start(Some(100), None, Some(4000.0))).await;
        assert_eq!(turns.len(), 100);
        for (number, turn) in turns.iter().enumerate() {
            let due = Duration::from_micros(250 * number as u64);
            assert!(*turn >= due, "request {number} came at {turn:?}, before {due:?}");
        }
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_begins_no_further_request() {
        for rate in [None, Some(1.0)] {
            let schedule = Schedule::start(None, Some(Duration::from_secs(3600)), rate);
            assert!(schedule.next().await, "the first turn is at once");
            let (waiting, ()) = tokio::join!(schedule.next(), async { schedule.stop() });
            assert!(!waiting || rate.is_none());
            assert!(!schedule.next().await);
        }
    }

    #[tokio::test]
    async fn a_run_ends_by_count_or_by_time() {
        assert_eq!(taken(&Schedule::start(Some(3), None, None)).await.len(), 3);
        let limited = Schedule::start(Some(1000), Some(Duration::from_millis(20)), Some(500.0));
        let count = taken(&limited).await.len();
        assert!((1..=10).contains(&count), "{count} requests in 20 ms at 500 a second");
        assert!(taken(&Schedule::start(None, Some(Duration::ZERO), None)).await.is_empty());
    }
}
