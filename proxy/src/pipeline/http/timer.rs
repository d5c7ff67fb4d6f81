//! Timeouts that start when the request has been read completely, as in Envoy, so that a slow client does not use up
//! the upstream's time.

use crate::pipeline::world::Thread;
use crate::send::body::Meter;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A timeout.
pub(super) struct Timer {
    limit: Duration,
    meter: Rc<Meter>,
    thread: Rc<Thread>,
    state: State,
}

enum State {
    /// The request is still being read.
    Reading,
    /// Distant enough to use the thread's timer wheel.
    Far {
        until: Instant,
        place: u32,
    },
    Near(Pin<Box<Sleep>>),
}

impl Timer {
    pub(super) fn new(limit: Duration, meter: &Rc<Meter>, thread: &Rc<Thread>) -> Self {
        Self { limit, meter: meter.clone(), thread: thread.clone(), state: State::Reading }
    }

    /// Ready when the timeout has passed.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Reading = self.state {
            ready!(self.meter.poll_ended(context));
            self.begin(context);
        }
        if let State::Far { until, place } = self.state {
            if !self.thread.is_due(place, context.waker()) {
                return Poll::Pending;
            }
            self.thread.cancel(place);
            self.state = near(until);
        }
        match &mut self.state {
            State::Near(sleep) => sleep.as_mut().poll(context),
            State::Reading | State::Far { .. } => Poll::Pending,
        }
    }

    fn begin(&mut self, context: &Context<'_>) {
        let until = Instant::now() + self.limit;
        self.state = if self.limit >= FAR {
            State::Far { until, place: self.thread.wake_before(until.into_std(), context.waker()) }
        } else {
            near(until)
        };
    }
}

fn near(until: Instant) -> State {
    State::Near(Box::pin(tokio::time::sleep_until(until)))
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let State::Far { place, .. } = self.state {
            self.thread.cancel(place);
        }
    }
}

/// Time limits for reading a request: an idle timeout and a limit for the whole request.
pub(super) struct ReadLimits {
    meter: Rc<Meter>,
    idle: Option<Duration>,
    until: Option<Instant>,
    /// Bytes read at the last check, and the time since which there were no more.
    seen: (u64, Instant),
    sleep: Option<Pin<Box<Sleep>>>,
}

impl ReadLimits {
    /// `None`: the request has been read already, or has no time limit.
    pub(super) fn new(meter: &Rc<Meter>, idle: Option<Duration>, until: Option<Instant>) -> Option<Self> {
        if meter.ended() || (idle.is_none() && until.is_none()) {
            return None;
        }
        let seen = (meter.bytes(), Instant::now());
        Some(Self { meter: meter.clone(), idle, until, seen, sleep: None })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        loop {
            if self.meter.ended() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if self.meter.bytes() != self.seen.0 {
                self.seen = (self.meter.bytes(), now);
            }
            if self.until.is_some_and(|until| now >= until) {
                return Poll::Ready(Expired::RequestTimeout);
            }
            if self.idle.is_some_and(|idle| now >= self.seen.1 + idle) {
                return Poll::Ready(Expired::RequestIdle);
            }
            // Bytes that arrive do not wake this task, so check four times within each idle timeout.
            let check = self.idle.map(|idle| now + (idle / 4).max(MIN_CHECK));
            let Some(next) = self.until.into_iter().chain(check).min() else { return Poll::Pending };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if sleep.is_elapsed() {
                sleep.as_mut().reset(next);
            }
            ready!(sleep.as_mut().poll(context));
        }
    }
}

/// The time limit that ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The timeout for the whole response.
    Whole,
    /// The timeout of one attempt.
    Attempt,
    /// The idle timeout of a stream.
    Idle,
    /// The idle timeout, before the request was read completely.
    RequestIdle,
    /// The limit for reading the whole request.
    RequestTimeout,
}

/// Time limits of one wait. Unset limits cost nothing.
#[derive(Default)]
pub(super) struct Limits<'a> {
    pub(super) whole: Option<&'a mut Timer>,
    pub(super) attempt: Option<Timer>,
    pub(super) idle: Option<Timer>,
    pub(super) request: Option<&'a mut ReadLimits>,
}

impl Limits<'_> {
    /// Waits for a future within the limits. Takes a pinned reference, because an `async fn` would store the future
    /// twice.
    pub(super) fn wait<F: Future>(
        &mut self,
        mut future: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, Expired>> {
        std::future::poll_fn(move |context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            if self.whole.as_mut().is_some_and(|t| t.poll(context).is_ready()) {
                return Poll::Ready(Err(Expired::Whole));
            }
            if self.attempt.as_mut().is_some_and(|t| t.poll(context).is_ready()) {
                return Poll::Ready(Err(Expired::Attempt));
            }
            if self.idle.as_mut().is_some_and(|t| t.poll(context).is_ready()) {
                return Poll::Ready(Err(Expired::Idle));
            }
            if let Some(Poll::Ready(expired)) = self.request.as_mut().map(|a| a.poll(context)) {
                return Poll::Ready(Err(expired));
            }
            Poll::Pending
        })
    }
}

/// Timeouts from this length on use the timer wheel, which wakes up to two ticks early.
const FAR: Duration = Duration::from_secs(1);
const MIN_CHECK: Duration = Duration::from_millis(10);
