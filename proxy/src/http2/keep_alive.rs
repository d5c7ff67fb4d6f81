//! Detects dead peers by a PING after a period of silence, and frames that stay incomplete for too long: single
//! bytes now and then look like life, while nothing else on the connection makes progress.

use crate::io::Monitor;
use h2::{Ping, PingPong};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The keep-alive state of a connection.
pub(super) struct KeepAlive {
    ping: PingPong,
    monitor: Rc<Monitor>,
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// A PING awaits its acknowledgement.
    ping_sent: bool,
    /// The most time a frame, or a block of headers, may take.
    frame_limit: Option<Duration>,
}

impl KeepAlive {
    /// Sends a PING after an `interval` of silence, and waits for up to `timeout` for its acknowledgement.
    pub(super) fn new(
        ping: PingPong,
        monitor: Rc<Monitor>,
        (interval, timeout): (Duration, Duration),
    ) -> Self {
        Self {
            ping,
            monitor,
            interval,
            timeout,
            timer: Box::pin(sleep(interval)),
            ping_sent: false,
            frame_limit: None,
        }
    }

    /// Adds a time limit for receiving a whole frame, or a whole block of headers.
    #[must_use]
    pub(super) fn with_frame_limit(self, limit: Option<Duration>) -> Self {
        Self { frame_limit: limit, ..self }
    }

    /// Ready when the peer is dead, or withholds the rest of a frame. While `idle` returns true no PING is sent.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, idle: impl Fn() -> bool) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            // Any frame is a sign of life, not only the acknowledgement of a PING.
            let active = self.monitor.take_activity();
            let left = self.left();
            if self.ping_sent && !active || left.is_some_and(|left| left.is_zero()) {
                return Poll::Ready(());
            }
            // Makes room for the next PING.
            let _ = self.ping.poll_pong(context);
            self.ping_sent = !active && !idle() && self.ping.send_ping(Ping::opaque()).is_ok();
            let wait =
                if self.ping_sent { self.timeout } else { left.unwrap_or(self.interval).min(self.interval) };
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }

    /// The time that an incomplete frame has left.
    fn left(&self) -> Option<Duration> {
        let (limit, since) = (self.frame_limit?, self.monitor.unfinished()?);
        Some(limit.saturating_sub(Instant::now().into_std().saturating_duration_since(since)))
    }
}
