//! Finds out that a connection has died without a word: after a time in which nothing came, a PING asks for an answer,
//! and where none comes in time, there is nobody left to give it.

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
}

impl KeepAlive {
    /// Asks after an `interval` of silence, and waits as long as `timeout` for the answer.
    pub(super) fn new(ping: PingPong, warden: Rc<Warden>, (interval, timeout): (Duration, Duration)) -> Self {
        Self { ping, warden, interval, timeout, timer: Box::pin(sleep(interval)), asked: false }
    }

    /// Ready when the peer is gone. Where `idle` says that nothing is under way, that does not matter.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, idle: impl Fn() -> bool) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            // Whatever comes is a sign of life, the answer to a PING or other frames.
            let heard = self.warden.heard();
            if self.asked && !heard {
                return Poll::Ready(());
            }
            // Makes room for the next PING.
            let _ = self.ping.poll_pong(context);
            self.asked = !heard && !idle() && self.ping.send_ping(Ping::opaque()).is_ok();
            let wait = if self.asked { self.timeout } else { self.interval };
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }
}
