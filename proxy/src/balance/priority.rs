//! Pure. Divides traffic among priorities and localities when some endpoints are unhealthy, as Envoy does.

/// The number of a priority's endpoints, by health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Healthy endpoints.
    pub healthy: usize,
    /// Degraded endpoints.
    pub degraded: usize,
    /// All endpoints.
    pub total: usize,
}

/// The traffic of a priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// The share of its healthy endpoints, in percent.
    pub healthy: u32,
    /// The share of its degraded endpoints, in percent.
    pub degraded: u32,
    /// Whether so few of its endpoints are available that all of them carry both shares (panic mode).
    pub panics: bool,
}

/// Divides the traffic among priorities. A priority keeps all traffic while at least 1/1.4 of its endpoints are healthy.
/// What it cannot carry goes to the healthy endpoints of the next priorities, and only the rest to degraded endpoints.
/// `threshold`: percentage of available endpoints below which a priority uses all of its endpoints.
pub fn loads(counts: &[Count], threshold: u32) -> Vec<Load> {
    let health: Vec<u32> = counts.iter().map(|count| availability(count.healthy, count.total)).collect();
    let reserve: Vec<u32> = counts.iter().map(|count| availability(count.degraded, count.total)).collect();
    let sum = health.iter().chain(&reserve).sum::<u32>().min(100);
    // While the priorities together can carry all traffic, none of them needs its unhealthy endpoints.
    let panics = |count: &Count| sum < 100 && count.panics(threshold);
    let mut loads: Vec<Load> =
        counts.iter().map(|count| Load { panics: panics(count), ..Load::default() }).collect();
    if loads.iter().all(|load| load.panics) {
        by_size(counts, &mut loads);
        return loads;
    }
    if sum == 0 {
        // No endpoint is available, and panic mode is off.
        if let Some(first) = loads.first_mut() {
            first.healthy = 100;
        }
        return loads;
    }
    let mut left = 100;
    let mut take = |health: &u32| {
        let load = (health * 100 / sum).min(left);
        left -= load;
        load
    };
    loads.iter_mut().zip(&health).for_each(|(load, health)| load.healthy = take(health));
    loads.iter_mut().zip(&reserve).for_each(|(load, reserve)| load.degraded = take(reserve));
    // Rounding must not lose traffic.
    if let Some(first) = health.iter().position(|health| *health > 0) {
        loads[first].healthy += left;
    } else if let Some(first) = reserve.iter().position(|reserve| *reserve > 0) {
        loads[first].degraded += left;
    }
    loads
}

/// The shares when every priority is in panic mode: by their numbers of endpoints.
fn by_size(counts: &[Count], loads: &mut [Load]) {
    let all: usize = counts.iter().map(|count| count.total).sum();
    let mut left = 100;
    for (load, count) in loads.iter_mut().zip(counts) {
        load.healthy = (count.total * 100 / all.max(1)) as u32;
        left -= load.healthy;
    }
    let first = counts.iter().position(|count| count.total > 0).unwrap_or(0);
    if let Some(first) = loads.get_mut(first) {
        first.healthy += left;
    }
}

impl Count {
    /// Whether fewer of the endpoints than `threshold` percent are available.
    fn panics(self, threshold: u32) -> bool {
        self.total > 0 && (self.healthy + self.degraded) * 100 < self.total * threshold as usize
            || self.total == 0 && threshold > 0
    }
}

/// The share of traffic that some of the endpoints can carry, in percent.
fn availability(some: usize, total: usize) -> u32 {
    (some * OVERPROVISION).checked_div(total).unwrap_or(0).min(100) as u32
}

/// The effective weight of a locality, reduced if too few of its endpoints are chosen.
pub fn locality_weight(weight: u32, chosen: usize, total: usize) -> u32 {
    // Scaled by 100 so that small weights keep their proportions.
    (u64::from(weight) * u64::from(availability(chosen, total))).min(u64::from(u32::MAX)) as u32
}

/// Envoy's default overprovisioning factor, in percent.
const OVERPROVISION: usize = 140;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count((healthy, degraded, total): (usize, usize, usize)) -> Count {
        Count { healthy, degraded, total }
    }

    /// The shares of healthy and of degraded endpoints, by priority.
    fn shares(counts: &[(usize, usize, usize)], threshold: u32) -> Vec<(u32, u32)> {
        let counts: Vec<Count> = counts.iter().copied().map(count).collect();
        loads(&counts, threshold).iter().map(|load| (load.healthy, load.degraded)).collect()
    }

    #[test]
    fn traffic_spills_to_the_next_priority_as_health_falls() {
        for (counts, expected) in [
            (vec![(10, 10), (10, 10)], vec![100, 0]),
            (vec![(8, 10), (10, 10)], vec![100, 0]),
            (vec![(5, 10), (10, 10)], vec![70, 30]),
            (vec![(0, 10), (10, 10)], vec![0, 100]),
            (vec![(0, 10), (0, 10)], vec![100, 0]),
            (vec![(0, 0), (0, 10)], vec![100, 0]),
            (vec![(1, 10), (1, 10)], vec![50, 50]),
        ] {
            let all: Vec<_> = counts.iter().map(|(healthy, total)| (*healthy, 0, *total)).collect();
            let found: Vec<u32> = shares(&all, 0).into_iter().map(|(healthy, _)| healthy).collect();
            assert_eq!(found, expected, "{counts:?}");
        }
    }

    #[test]
    fn degraded_endpoints_get_what_all_healthy_ones_cannot_carry() {
        for (counts, expected) in [
            (vec![(8, 2, 10)], vec![(100, 0)]),
            (vec![(5, 5, 10)], vec![(70, 30)]),
            (vec![(5, 1, 10)], vec![(84, 16)]),
            (vec![(0, 10, 10)], vec![(0, 100)]),
            (vec![(0, 1, 10)], vec![(0, 100)]),
            (vec![(5, 5, 10), (10, 0, 10)], vec![(70, 0), (30, 0)]),
            (vec![(0, 10, 10), (5, 0, 10)], vec![(0, 30), (70, 0)]),
            (vec![(0, 10, 10), (0, 10, 10)], vec![(0, 100), (0, 0)]),
            // The example in Envoy's documentation of degraded endpoints.
            (vec![(1, 2, 10), (2, 1, 10), (1, 0, 10)], vec![(16, 28), (28, 14), (14, 0)]),
        ] {
            assert_eq!(shares(&counts, 0), expected, "{counts:?}");
        }
    }

    #[test]
    fn panic_begins_below_the_threshold_unless_other_priorities_carry_the_traffic() {
        for (counts, threshold, expected) in [
            (vec![(5, 0, 10)], 50, vec![(100, false)]),
            (vec![(4, 0, 10)], 50, vec![(100, true)]),
            (vec![(3, 2, 10)], 50, vec![(60, false)]),
            (vec![(2, 2, 10)], 50, vec![(100, true)]),
            (vec![(0, 0, 10)], 0, vec![(100, false)]),
            (vec![(0, 0, 0)], 50, vec![(100, true)]),
            (vec![(0, 0, 0)], 0, vec![(100, false)]),
            (vec![(1, 0, 10), (10, 0, 10)], 50, vec![(14, false), (86, false)]),
            (vec![(1, 0, 10), (6, 0, 10)], 50, vec![(15, true), (85, false)]),
            (vec![(1, 0, 10), (1, 0, 30)], 50, vec![(25, true), (75, true)]),
            (vec![(0, 0, 0), (0, 0, 5)], 50, vec![(0, true), (100, true)]),
        ] {
            let counted: Vec<Count> = counts.iter().copied().map(count).collect();
            let found: Vec<_> =
                loads(&counted, threshold).iter().map(|load| (load.healthy, load.panics)).collect();
            assert_eq!(found, expected, "{counts:?} at {threshold}");
        }
    }

    proptest! {
        #[test]
        fn loads_add_up(
            counts in proptest::collection::vec((0usize..20, 0usize..20, 0usize..20), 1..5),
            threshold in 0u32..101,
        ) {
            let counts: Vec<Count> = counts.into_iter().map(|(h, d, t)| count((h, d, h + d + t))).collect();
            let sum: u32 = loads(&counts, threshold).iter().map(|load| load.healthy + load.degraded).sum();
            prop_assert_eq!(sum, 100);
        }
    }
}
