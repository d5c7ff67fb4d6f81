//! Pure. Decides from a Lease who leads: which replica may write, and what this one does about it.
//!
//! As Kubernetes' own leader election: a holder renews; when it has not renewed for the Lease's duration, another takes
//! over. The duration counts from when this replica saw the Lease change, by its own clock, so that clocks of different
//! nodes need not agree.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use std::time::{Duration, Instant};

/// How long a leader leads without renewing.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often a leader renews, and how often another looks.
pub const RENEWAL: Duration = Duration::from_secs(5);

/// What a replica has seen of a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The Lease's version.
    pub version: String,
    /// When this replica first saw that version.
    pub at: Instant,
}

/// What a replica does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It writes this Lease, and leads when the write succeeds.
    Write(Box<Lease>),
    /// Another leads.
    Follow,
}

/// Decides what the replica `me` does when it finds `lease`, which it has seen as `seen` says. `clock` is the wall
/// clock, which is only written for people to read.
pub fn decide(lease: &Lease, seen: &Seen, me: &str, now: Instant, clock: Timestamp) -> Step {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let stated = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
    let expired = now.duration_since(seen.at) >= stated.unwrap_or(DURATION);
    if holder != me && !holder.is_empty() && !expired {
        return Step::Follow;
    }
    let mut next = lease.clone();
    let changes = holder != me;
    next.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        renew_time: Some(MicroTime(clock)),
        acquire_time: if changes { Some(MicroTime(clock)) } else { spec.acquire_time },
        lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(changes)),
        ..spec
    });
    Step::Write(Box::new(next))
}

/// The Lease that a leader leaves when it ends: without a holder, so that another takes over at once. `None` if the
/// replica does not hold it.
pub fn released(lease: &Lease, me: &str) -> Option<Lease> {
    let spec = lease.spec.clone()?;
    (spec.holder_identity.as_deref() == Some(me)).then(|| {
        let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
        Lease { spec: Some(spec), ..lease.clone() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    fn a_replica_leads_when_nobody_does_or_the_leader_is_silent() {
        let start = Instant::now();
        let seen = Seen { version: "1".into(), at: start };
        let table =
            [(None, 0, Some(4)), (Some("a"), 0, Some(3)), (Some("b"), 14, None), (Some("b"), 15, Some(4))];
        for (holder, after, transitions) in table {
            let now = start + Duration::from_secs(after);
            let step = decide(&lease(holder), &seen, "a", now, Timestamp::UNIX_EPOCH);
            let written = match step {
                Step::Write(lease) => {
                    let spec = lease.spec.unwrap();
                    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
                    spec.lease_transitions
                }
                Step::Follow => None,
            };
            assert_eq!(written, transitions, "{holder:?} after {after}s");
        }
    }

    #[test]
    fn only_the_holder_releases() {
        assert_eq!(released(&lease(Some("b")), "a"), None);
        let free = released(&lease(Some("a")), "a").unwrap();
        assert_eq!(free.spec.unwrap().holder_identity, None);
    }
}
