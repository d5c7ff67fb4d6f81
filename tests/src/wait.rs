//! Waiting for a condition, the only place of the tests that sleeps.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Tries until it succeeds; ends the test with the last reason when `patience` is over.
pub fn until<T>(what: &str, patience: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    match within(patience, &mut attempt) {
        Ok(value) => value,
        Err(reason) => panic!("{what}: not within {patience:?}: {reason}"),
    }
}

/// Tries until it succeeds or `patience` is over; then the last reason.
pub fn within<T>(patience: Duration, attempt: &mut impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(reason) if begin.elapsed() >= patience => return Err(reason),
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Lets time pass that a promise speaks of, as in "within a second".
pub fn pause(time: Duration) {
    sleep(time);
}

const PAUSE: Duration = Duration::from_millis(20);
