//! Waits for conditions; the only module of the tests that sleeps.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Retries until `attempt` succeeds; fails the test with the last reason after `timeout`. Says how long it took if that is
/// long, so that a slow test tells where its time goes.
pub fn until<T>(what: &str, timeout: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    match within(timeout, &mut attempt) {
        Ok(value) => {
            if begin.elapsed() >= LONG {
                eprintln!("{what}: after {:.0?}", begin.elapsed());
            }
            value
        }
        Err(reason) => panic!("{what}: not within {timeout:?}: {reason}"),
    }
}

/// Retries until `attempt` succeeds; returns the last reason after `timeout`.
pub fn within<T>(timeout: Duration, attempt: &mut impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(reason) if begin.elapsed() >= timeout => return Err(reason),
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Waits for a time that a documented promise names, as in "within a second".
pub fn pause(time: Duration) {
    sleep(time);
}

/// A wait that is worth a line.
pub const LONG: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(20);
