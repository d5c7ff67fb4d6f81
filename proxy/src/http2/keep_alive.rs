//! Detects dead peers by PING after a time of silence, and frames that stay incomplete for too long: a byte now and then
//! is a sign of life, while nothing else on the connection moves.

use crate::io::Warden;
use h2::{Ping, PingPong};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// A connection's signs of life.
pub(super) struct KeepAlive {
    ping: PingPong,
    warden: Rc<Warden>,
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// A PING is under way.
    asked: bool,
    /// What a frame, or a block of headers, may take.
    whole: Option<Duration>,
}

impl KeepAlive {
    /// Asks after an `interval` of silence, and waits as long as `timeout` for the answer.
    pub(super) fn new(ping: PingPong, warden: Rc<Warden>, (interval, timeout): (Duration, Duration)) -> Self {
        Self { ping, warden, interval, timeout, timer: Box::pin(sleep(interval)), asked: false, whole: None }
    }

    /// The same, with a limit for a frame, or a block of headers, to be whole.
    #[must_use]
    pub(super) fn with_whole(self, limit: Option<Duration>) -> Self {
        Self { whole: limit, ..self }
    }

    /// Ready when the peer is gone, or keeps a frame from its end. Where `idle` says that nothing is under way, nobody
    /// asks whether it is gone.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, idle: impl Fn() -> bool) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            // Whatever comes is a sign of life, the answer to a PING or other frames.
            let heard = self.warden.heard();
            let left = self.left();
            if self.asked && !heard || left.is_some_and(|left| left.is_zero()) {
                return Poll::Ready(());
            }
            // Makes room for the next PING.
            let _ = self.ping.poll_pong(context);
            self.asked = !heard && !idle() && self.ping.send_ping(Ping::opaque()).is_ok();
            let wait =
                if self.asked { self.timeout } else { left.unwrap_or(self.interval).min(self.interval) };
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }

    /// What a frame that is not whole may still take.
    fn left(&self) -> Option<Duration> {
        let (limit, since) = (self.whole?, self.warden.unfinished()?);
        Some(limit.saturating_sub(Instant::now().into_std().saturating_duration_since(since)))
    }
}
