//! Idle timeouts for each stream of a connection that carries several. A stream that the client stalls, by a closed
//! window or an unfinished body, ends alone while the others continue.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// The open streams of a connection, each with its idle time.
#[derive(Default)]
pub(super) struct Watches {
    all: RefCell<Vec<Weak<Watch>>>,
    /// The stream whose step is running.
    current: RefCell<Option<Rc<Watch>>>,
}

/// The idle time of one stream.
pub(super) struct Watch {
    /// Set by each step and each piece of a request's body.
    moved: Rc<Cell<bool>>,
    last: Cell<Instant>,
    silent: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watches {
    /// Adds a stream.
    pub(super) fn add(&self, now: Instant) -> Rc<Watch> {
        let watch = Watch {
            moved: Rc::default(),
            last: Cell::new(now),
            silent: Cell::new(false),
            waker: RefCell::default(),
        };
        let watch = Rc::new(watch);
        let mut all = self.all.borrow_mut();
        // Remove dead entries only when the vector is full, so that adding stays cheap.
        if all.len() == all.capacity() {
            all.retain(|watch| watch.strong_count() > 0);
        }
        all.push(Rc::downgrade(&watch));
        watch
    }

    /// Runs one step of a stream and counts it as activity.
    pub(super) fn step<T>(&self, watch: &Rc<Watch>, step: impl FnOnce() -> T) -> T {
        watch.moved.set(true);
        *self.current.borrow_mut() = Some(watch.clone());
        let result = step();
        self.current.borrow_mut().take();
        result
    }

    /// The flag that body pieces of the current stream set, if its connection carries several streams.
    pub(super) fn moved(&self) -> Option<Rc<Cell<bool>>> {
        self.current.borrow().as_ref().map(|watch| watch.moved.clone())
    }

    /// Ends streams that have been idle for longer than `limit`. Returns whether any stream was active.
    pub(super) fn tick(&self, now: Instant, limit: Option<Duration>) -> bool {
        let mut any = false;
        self.all.borrow_mut().retain(|watch| {
            let Some(watch) = watch.upgrade() else { return false };
            if watch.moved.take() {
                any = true;
                watch.last.set(now);
            } else if limit.is_some_and(|limit| now.saturating_duration_since(watch.last.get()) >= limit) {
                watch.silent.set(true);
                watch.waker.take().into_iter().for_each(Waker::wake);
            }
            true
        });
        any
    }
}

impl Watch {
    /// Whether the stream has to end. Wakes the task when that changes.
    pub(super) fn is_silent(&self, context: &Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.silent.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_ends_alone() {
        let start = tokio::time::Instant::now().into_std();
        let limit = Some(Duration::from_secs(10));
        let watches = Watches::default();
        let (still, busy) = (watches.add(start), watches.add(start));
        let body = watches.step(&busy, || watches.moved()).unwrap();
        assert!(watches.moved().is_none(), "no step runs");
        let context = Context::from_waker(Waker::noop());
        for second in 0..30 {
            body.set(true);
            assert!(watches.tick(start + Duration::from_secs(second), limit));
            assert_eq!(still.is_silent(&context), second >= 10, "after {second} s");
            assert!(!busy.is_silent(&context));
        }
        drop((still, busy));
        assert!(!watches.tick(start, limit), "dropped streams are forgotten");
    }
}
