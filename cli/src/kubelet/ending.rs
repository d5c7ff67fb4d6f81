//! Pure. The end of a pod, as in the kubelet of Kubernetes 1.34: all containers begin to end at the same moment, and
//! each runs its `preStop` hook at once. A sidecar then waits for its turn, until the application containers and the
//! sidecars that started after it have ended. Hook and wait count against the grace period.

use std::time::Duration;

/// The time that a container has between SIGTERM and SIGKILL when `spent` of its grace period is over. There is a
/// minimum, so that a container can end in order even if hooks or other containers have used the whole period.
pub fn left(grace: Duration, spent: Duration) -> Duration {
    grace.saturating_sub(spent).max(SHORTEST)
}

const SHORTEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_grace_period_is_at_least_two_seconds() {
        let seconds = Duration::from_secs;
        for (grace, spent, expected) in
            [(30, 0, 30), (30, 12, 18), (30, 29, 2), (30, 40, 2), (1, 0, 2), (0, 0, 2)]
        {
            assert_eq!(left(seconds(grace), seconds(spent)), seconds(expected), "{grace} {spent}");
        }
    }
}
