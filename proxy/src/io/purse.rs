//! Pure. Limits the HTTP/2 frames that carry no data and cost their sender nothing: PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE, RST_STREAM, empty and unknown frames. A peer has a budget of such frames; requests, responses,
//! their bodies and elapsed time refill it. A peer that exhausts it is flooding the connection.

use super::frames::*;
use std::time::{Duration, Instant};

/// The remaining budget of a peer.
#[derive(Debug)]
pub(super) struct Purse {
    left: u32,
    /// The peer is a server. Its HEADERS are responses, which our requests have paid for; interim responses cost a
    /// frame as well.
    server: bool,
    /// When time last refilled the budget. The clock is read only when the budget is exhausted.
    paid: Instant,
}

impl Purse {
    /// Creates the budget for a client's frames.
    pub(super) fn of_client(now: Instant) -> Self {
        Self { left: MOST, server: false, paid: now }
    }

    /// Creates the budget for a server's frames.
    pub(super) fn of_server(now: Instant) -> Self {
        Self { left: MOST, server: true, paid: now }
    }

    /// Charges a received frame. Returns the name of its kind if the budget is exhausted.
    pub(super) fn received(
        &mut self,
        head: FrameHead,
        now: impl FnOnce() -> Instant,
    ) -> Option<&'static str> {
        let answer = (self.server && head.kind == HEADERS).then_some("HEADERS");
        let Some(name) = answer.or_else(|| idle(head)) else {
            self.earn(if head.kind == HEADERS { PER_HEADERS } else { PER_DATA });
            return None;
        };
        if self.left == 0 {
            self.pay_out(now());
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                None
            }
            None => Some(name),
        }
    }

    /// Notes a sent frame: the peer may respond to each DATA or HEADERS frame with some frames that carry no data.
    pub(super) fn sent(&mut self, head: FrameHead) {
        if matches!(head.kind, DATA | HEADERS) {
            self.earn(PER_ANSWER);
        }
    }

    fn earn(&mut self, frames: u32) {
        self.left = (self.left + frames).min(MOST);
    }

    fn pay_out(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.paid).as_millis() / PAY.as_millis();
        if due > 0 {
            self.paid = now;
            self.earn(u32::try_from(due).unwrap_or(MOST).min(MOST));
        }
    }
}

/// The name of a frame that carries no data; `None`: it carries data.
fn idle(head: FrameHead) -> Option<&'static str> {
    let empty = head.length == 0 && head.flags & END_STREAM == 0;
    match head.kind {
        DATA | HEADERS | CONTINUATION if !empty => None,
        DATA => Some("empty DATA"),
        HEADERS => Some("empty HEADERS"),
        CONTINUATION => Some("empty CONTINUATION"),
        PRIORITY => Some("PRIORITY"),
        RST_STREAM => Some("RST_STREAM"),
        SETTINGS => Some("SETTINGS"),
        PING => Some("PING"),
        GOAWAY => Some("GOAWAY"),
        WINDOW_UPDATE => Some("WINDOW_UPDATE"),
        _ => Some("unknown"),
    }
}

/// The largest budget, which is also the initial one.
const MOST: u32 = 2000;
/// Frames earned by a request: it may be followed by its priority, window updates and its end.
const PER_HEADERS: u32 = 10;
const PER_DATA: u32 = 2;
/// Frames earned by each frame that we send: the peer updates windows and measures round trips for it.
const PER_ANSWER: u32 = 10;
/// The time that earns one frame.
const PAY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u8, length: u32) -> FrameHead {
        FrameHead { length, kind, flags: 0, stream: 1 }
    }

    fn spend(purse: &mut Purse, kind: u8, now: Instant) -> u32 {
        (0..u32::MAX).take_while(|_| purse.received(head(kind, 0), || now).is_none()).count() as u32
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_are_limited() {
        let now = tokio::time::Instant::now().into_std();
        for kind in [DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION, 0xbe] {
            assert_eq!(spend(&mut Purse::of_client(now), kind, now), MOST, "frames of kind {kind}");
        }
        let last = FrameHead { flags: END_STREAM, ..head(DATA, 0) };
        assert_eq!(idle(last), None, "the end of a body carries its end");
    }

    #[tokio::test(start_paused = true)]
    async fn work_and_time_earn_more() {
        let now = tokio::time::Instant::now().into_std();
        let mut purse = Purse::of_client(now);
        spend(&mut purse, PING, now);
        assert_eq!(spend(&mut purse, PING, now), 0);
        assert_eq!(spend(&mut purse, PING, now + Duration::from_secs(1)), 100);
        purse.received(head(HEADERS, 20), || now);
        purse.received(head(DATA, 20), || now);
        purse.sent(head(DATA, 20));
        assert_eq!(spend(&mut purse, WINDOW_UPDATE, now), 22);
        assert_eq!(spend(&mut purse, PING, now + Duration::from_secs(3600)), MOST, "not more is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn interim_answers_are_no_work() {
        let now = tokio::time::Instant::now().into_std();
        let mut purse = Purse::of_server(now);
        let interim = |purse: &mut Purse| {
            (0..u32::MAX).take_while(|_| purse.received(head(HEADERS, 9), || now).is_none()).count()
        };
        assert_eq!(interim(&mut purse), MOST as usize);
        purse.sent(head(HEADERS, 20));
        assert_eq!(interim(&mut purse), PER_ANSWER as usize, "a request earns its answer");
    }
}
