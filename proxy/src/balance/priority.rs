//! Pure. Divides traffic among priorities and localities when some endpoints are unhealthy.

/// The share of each priority in percent, from its `(healthy, total)`. A priority keeps all traffic while at least
/// 1/1.4 of its endpoints are healthy; the part that it cannot carry goes to the next.
pub fn loads(counts: &[(usize, usize)]) -> Vec<u32> {
    let health: Vec<u32> = counts
        .iter()
        .map(
            |(healthy, total)| {
                if *total == 0 { 0 } else { (healthy * OVERPROVISION / total).min(100) as u32 }
            },
        )
        .collect();
    let sum: u32 = health.iter().sum();
    if sum == 0 {
        // No endpoint is healthy: the first priority with endpoints takes all traffic, possibly in panic mode.
        let first = counts.iter().position(|(_, total)| *total > 0).unwrap_or(0);
        return (0..counts.len()).map(|i| if i == first { 100 } else { 0 }).collect();
    }
    let mut left = 100;
    let mut out: Vec<u32> = health
        .iter()
        .map(|health| {
            let load = (health * 100 / sum.min(100)).min(left);
            left -= load;
            load
        })
        .collect();
    // Rounding must not lose traffic.
    if let Some(first) = health.iter().position(|h| *h > 0) {
        out[first] += left;
    }
    out
}

/// Whether so few endpoints are healthy that all are used (panic mode).
pub fn panics(healthy: usize, total: usize, threshold: u32) -> bool {
    total > 0 && healthy * 100 < total * threshold as usize
}

/// The effective weight of a locality, reduced if too few of its endpoints are healthy.
pub fn locality_weight(weight: u32, healthy: usize, total: usize) -> u32 {
    if total == 0 {
        return 0;
    }
    let available = (healthy * OVERPROVISION / total).min(100);
    // Scaled by 100 so that small weights keep their proportions.
    (u64::from(weight) * available as u64).min(u64::from(u32::MAX)) as u32
}

/// Envoy's default overprovisioning factor, in percent.
const OVERPROVISION: usize = 140;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn traffic_spills_to_the_next_priority_as_health_falls() {
        for (counts, expected) in [
            (vec![(10, 10), (10, 10)], vec![100, 0]),
            (vec![(8, 10), (10, 10)], vec![100, 0]),
            (vec![(5, 10), (10, 10)], vec![70, 30]),
            (vec![(0, 10), (10, 10)], vec![0, 100]),
            (vec![(0, 10), (0, 10)], vec![100, 0]),
            (vec![(0, 0), (0, 10)], vec![0, 100]),
            (vec![(1, 10), (1, 10)], vec![50, 50]),
        ] {
            assert_eq!(loads(&counts), expected, "{counts:?}");
        }
    }

    #[test]
    fn panic_begins_below_the_threshold() {
        for (healthy, total, threshold, expected) in
            [(5, 10, 50, false), (4, 10, 50, true), (0, 10, 0, false), (0, 0, 50, false)]
        {
            assert_eq!(panics(healthy, total, threshold), expected, "{healthy}/{total} at {threshold}");
        }
    }

    proptest! {
        #[test]
        fn loads_add_up(counts in proptest::collection::vec((0usize..20, 0usize..20), 1..5)) {
            let counts: Vec<_> = counts.into_iter().map(|(h, t)| (h.min(t), t)).collect();
            prop_assert_eq!(loads(&counts).iter().sum::<u32>(), 100);
        }
    }
}
