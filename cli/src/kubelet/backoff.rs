//! Pure. How long a container that ended waits before it is started again, and when its past is forgotten.

use std::time::Duration;

/// The wait before restart number `restart` (0 is the first): at once, then ten seconds doubling up to five
/// minutes.
pub fn wait(restart: u32) -> Duration {
    match restart {
        0 => Duration::ZERO,
        _ => FIRST.saturating_mul(1 << (restart - 1).min(10)).min(LONGEST),
    }
}

/// The restart count after a run that lasted this long: a long run clears it.
pub fn after(restarts: u32, ran: Duration) -> u32 {
    if ran >= LONGEST * 2 { 0 } else { restarts }
}

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let seconds: Vec<_> = (0..8).map(|restart| wait(restart).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[test]
    fn a_long_run_clears_the_count() {
        assert_eq!(after(5, Duration::from_secs(599)), 5);
        assert_eq!(after(5, Duration::from_secs(600)), 0);
    }
}
