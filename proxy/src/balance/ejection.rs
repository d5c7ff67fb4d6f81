//! Pure. Balancing while endpoints are ejected. The picker for the other endpoints is built once for each set of
//! ejected ones, because a ring or a Maglev table costs as much as thousands of requests.

use super::Picker;
use crate::snapshot::cluster::Endpoints;
use api::model::cluster::Balancer as Policy;
use std::time::Duration;

/// The pickers of a cluster.
#[derive(Debug)]
pub struct Ejecting {
    policy: Policy,
    panic_threshold: u32,
    /// Whether outlier detection is on. If not, endpoints ejected under an earlier configuration are used again.
    detects: bool,
    /// The picker for all endpoints.
    whole: Picker,
    narrowed: Option<WithoutEjected>,
    /// The ejection count at the last scan.
    seen: u64,
}

#[derive(Debug)]
struct WithoutEjected {
    /// Positions of the ejected endpoints.
    ejected: Vec<usize>,
    /// When the first of their ejections ends.
    until: Duration,
    picker: Picker,
}

impl Ejecting {
    /// Builds the picker, assuming that no endpoint is ejected.
    pub fn new(
        endpoints: &Endpoints,
        policy: Policy,
        panic_threshold: u32,
        random: &dyn Fn() -> u32,
    ) -> Self {
        let whole = Picker::new(endpoints, policy, panic_threshold, &|_| true, random);
        Self { policy, panic_threshold, detects: true, whole, narrowed: None, seen: 0 }
    }

    /// The same with outlier detection on or off.
    #[must_use]
    pub fn detecting(self, detects: bool) -> Self {
        Self { detects, ..self }
    }

    /// The picker for the endpoints that are not ejected at `now` (time since the process began). `endpoints` must be
    /// those that it was built with.
    pub fn at(&mut self, endpoints: &Endpoints, now: Duration, random: &dyn Fn() -> u32) -> &Picker {
        // Read before the scan of the endpoints, so that an ejection during the scan is noticed at the next call.
        let count = endpoints.ejections.count();
        let ended = self.narrowed.as_ref().is_some_and(|narrowed| now >= narrowed.until);
        if self.detects && (count != self.seen || ended) {
            self.seen = count;
            self.look(endpoints, now, random);
        }
        self.narrowed.as_ref().map_or(&self.whole, |narrowed| &narrowed.picker)
    }

    fn look(&mut self, endpoints: &Endpoints, now: Duration, random: &dyn Fn() -> u32) {
        let found: Vec<(usize, Duration)> = endpoints
            .list
            .iter()
            .enumerate()
            .filter_map(|(i, target)| Some((i, target.health.ejected_until(now)?)))
            .collect();
        let Some(until) = found.iter().map(|(_, until)| *until).min() else {
            self.narrowed = None;
            return;
        };
        let ejected: Vec<usize> = found.into_iter().map(|(i, _)| i).collect();
        match &mut self.narrowed {
            Some(same) if same.ejected == ejected => same.until = until,
            _ => {
                let usable = |i: usize| ejected.binary_search(&i).is_err();
                let picker = Picker::new(endpoints, self.policy, self.panic_threshold, &usable, random);
                self.narrowed = Some(WithoutEjected { ejected, until, picker });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::PickContext;
    use crate::balance::tests::{chance, endpoints, healthy};
    use api::model::cluster::Outlier;
    use std::cell::Cell;

    fn rules(seconds: u64) -> Outlier {
        Outlier {
            consecutive_5xx: Some(1),
            consecutive_gateway: None,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(seconds),
            max_ejection: Duration::from_secs(300),
            max_percent: 100,
        }
    }

    fn eject(all: &Endpoints, position: usize, now: Duration, seconds: u64) {
        all.list[position].health.eject(now, &rules(seconds));
        all.ejections.add();
    }

    const POLICIES: [Policy; 5] = [
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastRequest { choices: 2 },
        Policy::RingHash { min_size: 64 },
        Policy::Maglev { table_size: 97 },
    ];

    /// The endpoints that 200 requests reach.
    fn reached(ejecting: &mut Ejecting, all: &Endpoints, now: Duration) -> Vec<usize> {
        let random = chance();
        let context = PickContext { active: &|_| 0, hash: None, random: &random };
        let picker = ejecting.at(all, now, &random);
        let mut found: Vec<usize> = (0..200).filter_map(|_| picker.pick(&context)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn ejected_endpoints_are_not_chosen_until_their_time_is_over() {
        let at = Duration::from_secs;
        for policy in POLICIES {
            let all = endpoints(vec![(0, None, healthy(&[1, 1, 1, 1]))]);
            let mut ejecting = Ejecting::new(&all, policy, 50, &chance());
            assert_eq!(reached(&mut ejecting, &all, at(0)), [0, 1, 2, 3], "{policy:?}");
            eject(&all, 1, at(0), 30);
            assert_eq!(reached(&mut ejecting, &all, at(1)), [0, 2, 3], "{policy:?}");
            eject(&all, 3, at(10), 30);
            assert_eq!(reached(&mut ejecting, &all, at(11)), [0, 2], "{policy:?}");
            assert_eq!(reached(&mut ejecting, &all, at(30)), [0, 1, 2], "{policy:?}: the first is back");
            assert_eq!(reached(&mut ejecting, &all, at(40)), [0, 1, 2, 3], "{policy:?}: all are back");
        }
    }

    #[test]
    fn the_arrangement_is_made_once_for_each_set_of_ejected_endpoints() {
        let all = endpoints(vec![(0, None, healthy(&[1; 5]))]);
        let asked = Cell::new(0);
        // A picker takes one random number for each of its lists.
        let random = || {
            asked.set(asked.get() + 1);
            7
        };
        let mut ejecting = Ejecting::new(&all, Policy::RoundRobin, 50, &random);
        let at = Duration::from_secs;
        let mut made = |now: Duration| {
            let before = asked.get();
            for _ in 0..10 {
                let picker = ejecting.at(&all, now, &random);
                picker.pick(&PickContext { active: &|_| 0, hash: None, random: &|| 0 });
            }
            asked.get() - before
        };
        assert_eq!(made(at(0)), 0);
        eject(&all, 1, at(0), 30);
        assert_eq!(made(at(1)), 1);
        assert_eq!(made(at(2)), 0);
        eject(&all, 1, at(3), 60);
        assert_eq!(made(at(4)), 0, "the same one again");
        assert_eq!(made(at(31)), 0, "its time is longer");
        eject(&all, 2, at(31), 30);
        assert_eq!(made(at(32)), 1);
        assert_eq!(made(at(300)), 0, "all are back");
    }

    #[test]
    fn turns_go_on_while_endpoints_are_ejected() {
        let all = endpoints(vec![(0, None, healthy(&[1; 4]))]);
        let random = chance();
        let mut ejecting = Ejecting::new(&all, Policy::RoundRobin, 50, &random);
        eject(&all, 0, Duration::ZERO, 30);
        let context = PickContext { active: &|_| 0, hash: None, random: &random };
        let mut counts = [0; 4];
        for _ in 0..300 {
            let picker = ejecting.at(&all, Duration::from_secs(1), &random);
            counts[picker.pick(&context).unwrap()] += 1;
        }
        assert_eq!(counts, [0, 100, 100, 100]);
    }

    #[test]
    fn an_ejection_by_a_request_of_a_former_version_counts() {
        let before = endpoints(vec![(0, None, healthy(&[1; 3]))]);
        let after = Endpoints::build(before.model.clone(), Some(&before));
        let mut ejecting = Ejecting::new(&after, Policy::RoundRobin, 50, &chance());
        eject(&before, 2, Duration::ZERO, 30);
        assert_eq!(reached(&mut ejecting, &after, Duration::from_secs(1)), [0, 1]);
    }

    #[test]
    fn without_outlier_detection_those_that_were_ejected_are_back() {
        let all = endpoints(vec![(0, None, healthy(&[1; 3]))]);
        eject(&all, 0, Duration::ZERO, 30);
        let mut ejecting = Ejecting::new(&all, Policy::RoundRobin, 50, &chance()).detecting(false);
        assert_eq!(reached(&mut ejecting, &all, Duration::from_secs(1)), [0, 1, 2]);
    }

    #[test]
    fn when_most_are_ejected_all_are_used() {
        let all = endpoints(vec![(0, None, healthy(&[1; 3]))]);
        let mut ejecting = Ejecting::new(&all, Policy::RoundRobin, 50, &chance());
        for position in [0, 1] {
            eject(&all, position, Duration::ZERO, 30);
        }
        assert_eq!(reached(&mut ejecting, &all, Duration::from_secs(1)), [0, 1, 2]);
    }
}
