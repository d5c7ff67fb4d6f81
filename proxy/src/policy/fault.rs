//! Pure. Faults that a configuration asks for: which requests wait, which are answered with an error.

use api::model::route::{AbortStatus, Fault};
use std::time::Duration;

/// What happens to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// Wait this long first.
    pub delay: Option<Duration>,
    /// Then answer with this.
    pub abort: Option<AbortStatus>,
}

/// Decides by two random numbers.
pub fn decide(fault: &Fault, random_delay: u32, random_abort: u32) -> Injected {
    Injected {
        delay: fault.delay.filter(|d| d.fraction.selects(random_delay)).map(|d| d.duration),
        abort: fault.abort.filter(|a| a.fraction.selects(random_abort)).map(|a| a.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::matcher::Fraction;
    use api::model::route::{FaultAbort, FaultDelay};

    #[test]
    fn shares_are_kept() {
        let share = |percent| Fraction { numerator: percent, denominator: 100 };
        let fault = Fault {
            delay: Some(FaultDelay { duration: Duration::from_secs(7), fraction: share(20) }),
            abort: Some(FaultAbort { status: AbortStatus::Http(500), fraction: share(0) }),
        };
        let all: Vec<_> = (0..100).map(|n| decide(&fault, n, n)).collect();
        assert_eq!(all.iter().filter(|i| i.delay == Some(Duration::from_secs(7))).count(), 20);
        assert_eq!(all.iter().filter(|i| i.abort.is_some()).count(), 0);
    }

    #[test]
    fn delay_and_abort_are_independent() {
        let always = Fraction { numerator: 1, denominator: 1 };
        let fault = Fault {
            delay: Some(FaultDelay { duration: Duration::from_millis(1), fraction: always }),
            abort: Some(FaultAbort { status: AbortStatus::Grpc(14), fraction: always }),
        };
        let injected = decide(&fault, 5, 9);
        assert_eq!(injected.delay, Some(Duration::from_millis(1)));
        assert_eq!(injected.abort, Some(AbortStatus::Grpc(14)));
    }
}
