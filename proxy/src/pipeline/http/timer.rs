//! A limit of time that begins when the request has been read to its end, as Envoy counts: a client that sends slowly
//! does not use up the upstream's time.

use crate::send::body::Meter;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A limit of time.
pub(super) struct Timer {
    limit: Duration,
    meter: Rc<Meter>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn new(limit: Duration, meter: &Rc<Meter>) -> Self {
        Self { limit, meter: meter.clone(), sleep: None }
    }

    /// Ready when the time is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() {
            ready!(self.meter.poll_ended(context));
            self.sleep = Some(Box::pin(tokio::time::sleep_until(Instant::now() + self.limit)));
        }
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(context))
    }
}

/// Which limit ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The limit for the whole response.
    Whole,
    /// The limit for one attempt.
    Attempt,
    /// The limit for a stream without activity.
    Idle,
}

/// Limits of one wait; those that are not set cost nothing.
#[derive(Default)]
pub(super) struct Limits<'a> {
    pub(super) whole: Option<&'a mut Timer>,
    pub(super) attempt: Option<Timer>,
    pub(super) idle: Option<Timer>,
}

impl Limits<'_> {
    /// Waits for a future within the limits.
    pub(super) async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, Expired> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
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
            Poll::Pending
        })
        .await
    }
}
