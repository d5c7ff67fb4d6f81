//! Pure. Limits the HTTP/2 frames that carry no data and cost their sender nothing: PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE, RST_STREAM, empty and unknown frames. A peer has a budget of such frames; requests, responses,
//! their bodies and elapsed time refill it. A peer that exhausts it is flooding the connection.

use super::frames::*;
use std::time::{Duration, Instant};

/// The remaining budget of a peer.
#[derive(Debug)]
pub(super) struct FrameBudget {
    left: u32,
    /// The peer is a server. Its HEADERS are responses, which our requests have paid for; interim responses cost a
    /// frame as well.
    server: bool,
    /// When time last refilled the budget. The clock is read only when the budget is exhausted.
    refilled: Instant,
}

impl FrameBudget {
    /// Creates the budget for a client's frames.
    pub(super) fn of_client(now: Instant) -> Self {
        Self { left: MOST, server: false, refilled: now }
    }

    /// Creates the budget for a server's frames.
    pub(super) fn of_server(now: Instant) -> Self {
        Self { left: MOST, server: true, refilled: now }
    }

    /// Charges a received frame. Returns the name of its kind if the budget is exhausted.
    pub(super) fn received(
        &mut self,
        head: FrameHead,
        now: impl FnOnce() -> Instant,
    ) -> Option<&'static str> {
        let response = (self.server && head.kind == HEADERS).then_some("HEADERS");
        let Some(name) = response.or_else(|| idle(head)) else {
            self.add(if head.kind == HEADERS { PER_HEADERS } else { PER_DATA });
            return None;
        };
        if self.left == 0 {
            self.refill(now());
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
            self.add(PER_SENT_FRAME);
        }
    }

    fn add(&mut self, frames: u32) {
        self.left = (self.left + frames).min(MOST);
    }

    fn refill(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.refilled).as_millis() / REFILL.as_millis();
        if due > 0 {
            self.refilled = now;
            self.add(u32::try_from(due).unwrap_or(MOST).min(MOST));
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
const PER_SENT_FRAME: u32 = 10;
/// The time that earns one frame.
const REFILL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u8, length: u32) -> FrameHead {
        FrameHead { length, kind, flags: 0, stream: 1 }
    }

    fn spend(budget: &mut FrameBudget, kind: u8, now: Instant) -> u32 {
        (0..u32::MAX).take_while(|_| budget.received(head(kind, 0), || now).is_none()).count() as u32
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_data_are_limited() {
        let now = tokio::time::Instant::now().into_std();
        for kind in [DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION, 0xbe] {
            assert_eq!(spend(&mut FrameBudget::of_client(now), kind, now), MOST, "frames of kind {kind}");
        }
        let last = FrameHead { flags: END_STREAM, ..head(DATA, 0) };
        assert_eq!(idle(last), None, "the end of a body carries its end");
    }

    #[tokio::test(start_paused = true)]
    async fn traffic_and_time_refill_the_budget() {
        let now = tokio::time::Instant::now().into_std();
        let mut budget = FrameBudget::of_client(now);
        spend(&mut budget, PING, now);
        assert_eq!(spend(&mut budget, PING, now), 0);
        assert_eq!(spend(&mut budget, PING, now + Duration::from_secs(1)), 100);
        budget.received(head(HEADERS, 20), || now);
        budget.received(head(DATA, 20), || now);
        budget.sent(head(DATA, 20));
        assert_eq!(spend(&mut budget, WINDOW_UPDATE, now), 22);
        assert_eq!(spend(&mut budget, PING, now + Duration::from_secs(3600)), MOST, "not more is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn interim_responses_refill_nothing() {
        let now = tokio::time::Instant::now().into_std();
        let mut budget = FrameBudget::of_server(now);
        let interim = |budget: &mut FrameBudget| {
            (0..u32::MAX).take_while(|_| budget.received(head(HEADERS, 9), || now).is_none()).count()
        };
        assert_eq!(interim(&mut budget), MOST as usize);
        budget.sent(head(HEADERS, 20));
        assert_eq!(interim(&mut budget), PER_SENT_FRAME as usize, "a request earns its response");
    }
}
