//! Pure. The delay before an ended container is restarted, and when earlier restarts stop counting.

use std::time::Duration;

/// The delay before restart number `restart` (the first is 0): none at first, then ten seconds, doubling up to five
/// minutes.
pub fn wait(restart: u32) -> Duration {
    match restart {
        0 => Duration::ZERO,
        _ => FIRST.saturating_mul(1 << (restart - 1).min(10)).min(LONGEST),
    }
}

/// The number of counted restarts after a run of this duration. A long run resets the count.
pub fn after(restarts: u32, ran: Duration) -> u32 {
    if ran >= LONGEST * 2 { 0 } else { restarts }
}

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_five_minutes() {
        let seconds: Vec<_> = (0..8).map(|restart| wait(restart).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[test]
    fn a_long_run_resets_the_backoff() {
        assert_eq!(after(5, Duration::from_secs(599)), 5);
        assert_eq!(after(5, Duration::from_secs(600)), 0);
    }
}
