//! Shutdown of the process. The proxy becomes not ready at once and accepts connections for a moment longer,
//! because clients learn of the shutdown with a delay. Then inbound listeners drain, then the outbound ones, which
//! the application may still need, and finally the open connections are awaited.

use crate::config::DrainTimes;
use crate::control::removal::Departure;
use crate::pipeline::drain::Drainer;
use crate::telemetry::Telemetry;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// When each step of the shutdown begins, counted from the request to shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    /// When inbound listeners stop accepting connections.
    pub(super) inbound: Duration,
    /// When outbound listeners stop, too; `None`: once no connection is open.
    pub(super) outbound: Option<Duration>,
    /// When the remaining connections are closed.
    pub(super) end: Duration,
}

/// Pure. Computes the steps from the settings.
pub(super) fn steps(times: DrainTimes) -> Steps {
    let earliest = if times.until_idle { times.minimum } else { times.termination };
    Steps {
        inbound: NOTICE.min(earliest),
        outbound: (!times.until_idle).then_some(times.termination),
        end: earliest + times.limit,
    }
}

/// Pure. The times of a shutdown that an earlier drain announced. Clients already know of it, so only active
/// requests and connections are awaited.
pub(super) fn announced(times: DrainTimes) -> DrainTimes {
    DrainTimes { termination: Duration::ZERO, minimum: Duration::ZERO, ..times }
}

/// Drains without ending the process: at once or, if `graceful`, after clients have had time to learn of it; and not before
/// the `departure` of the pod is announced, if there is one.
#[allow(clippy::disallowed_methods, reason = "this is the shell that knows the time")]
pub(super) async fn later(
    drainer: Drainer,
    limit: Duration,
    (inbound_only, graceful): (bool, bool),
    departure: Option<Departure>,
) {
    let notice = if graceful { NOTICE } else { Duration::ZERO };
    let announced = async {
        if let Some(departure) = departure {
            departure.announced().await;
        }
    };
    tokio::join!(announced, tokio::time::sleep(notice));
    drainer.start(Instant::now() + limit, inbound_only);
}

/// Performs the steps. Returns when all workers have ended, or at the deadline.
#[allow(clippy::disallowed_methods, reason = "this is the shell that knows the time")]
pub(super) async fn run(
    times: DrainTimes,
    drainer: &Drainer,
    telemetry: &Arc<Telemetry>,
    workers: &mut mpsc::Receiver<usize>,
) {
    let steps = steps(times);
    let began = Instant::now();
    let deadline = began + steps.end;
    tokio::time::sleep(steps.inbound).await;
    drainer.start(deadline, true);
    match steps.outbound {
        Some(outbound) => tokio::time::sleep(outbound.saturating_sub(began.elapsed())).await,
        None => {
            tokio::time::sleep(times.minimum.saturating_sub(began.elapsed())).await;
            while telemetry.downstream_active() > 0 && Instant::now() < deadline {
                tokio::time::sleep(POLL).await;
            }
        }
    }
    drainer.start(deadline, false);
    let left = deadline.saturating_duration_since(Instant::now()) + GRACE;
    let ended = async { while workers.recv().await.is_some() {} };
    if tokio::time::timeout(left, ended).await.is_err() {
        tracing::warn!("closing the connections that are still open at the end of the drain");
    }
}

/// How long clients need to learn that the workload is shutting down.
const NOTICE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_follow_the_settings() {
        let seconds = Duration::from_secs;
        let times = DrainTimes {
            termination: seconds(5),
            limit: seconds(45),
            until_idle: false,
            minimum: seconds(3),
            removal: seconds(5),
        };
        let table = [
            (times, Steps { inbound: seconds(1), outbound: Some(seconds(5)), end: seconds(50) }),
            (
                DrainTimes { until_idle: true, ..times },
                Steps { inbound: seconds(1), outbound: None, end: seconds(48) },
            ),
            (
                DrainTimes { termination: Duration::ZERO, ..times },
                Steps { inbound: Duration::ZERO, outbound: Some(Duration::ZERO), end: seconds(45) },
            ),
        ];
        let at_once = Steps { inbound: Duration::ZERO, outbound: Some(Duration::ZERO), end: seconds(45) };
        assert_eq!(steps(announced(times)), at_once);
        for (times, expected) in table {
            assert_eq!(steps(times), expected, "{times:?}");
        }
    }
}
