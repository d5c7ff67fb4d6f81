//! Pure. Sets of TCP ports, as a list of ranges: the ports on which a listener filter runs.

use std::ops::RangeInclusive;

/// A set of ports. Equal sets have equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PortSet {
    /// Sorted ranges with at least one port between them.
    ranges: Box<[RangeInclusive<u16>]>,
}

impl PortSet {
    /// No port.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every port.
    pub fn all() -> Self {
        Self::range(0..=u16::MAX)
    }

    /// The ports of a range, which may be empty.
    pub fn range(range: RangeInclusive<u16>) -> Self {
        if range.is_empty() { Self::none() } else { Self { ranges: [range].into() } }
    }

    /// Whether the set contains a port.
    pub fn contains(&self, port: u16) -> bool {
        let place = self.ranges.partition_point(|range| *range.end() < port);
        self.ranges.get(place).is_some_and(|range| *range.start() <= port)
    }

    /// Whether the set contains no port.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ports as sorted ranges that do not touch each other.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.ranges
    }

    /// The ports that the set does not contain.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut ranges = vec![];
        let mut next = 0;
        for range in &self.ranges {
            if let Ok(first) = u16::try_from(next)
                && first < *range.start()
            {
                ranges.push(first..=range.start() - 1);
            }
            next = u32::from(*range.end()) + 1;
        }
        if let Ok(first) = u16::try_from(next) {
            ranges.push(first..=u16::MAX);
        }
        Self { ranges: ranges.into() }
    }

    /// The ports that are in at least one of the two sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.ranges.iter().chain(&other.ranges).cloned().collect()
    }

    /// The ports that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.complement().union(&other.complement()).complement()
    }
}

impl FromIterator<RangeInclusive<u16>> for PortSet {
    fn from_iter<T: IntoIterator<Item = RangeInclusive<u16>>>(ranges: T) -> Self {
        let mut all: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        all.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = vec![];
        for range in all {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Self { ranges: merged.into() }
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<T: IntoIterator<Item = u16>>(ports: T) -> Self {
        ports.into_iter().map(|port| port..=port).collect()
    }
}

/// `true` is every port, `false` is none.
impl From<bool> for PortSet {
    fn from(all: bool) -> Self {
        if all { Self::all() } else { Self::none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn sets() -> impl Strategy<Value = PortSet> {
        // Few numbers and both ends, so that ranges touch and overlap.
        let port = || prop_oneof![0u16..12, 65_525..=u16::MAX];
        vec((port(), port()), 0..5).prop_map(|pairs| pairs.into_iter().map(|(a, b)| a..=b).collect())
    }

    fn ports() -> impl Iterator<Item = u16> {
        (0..14).chain([30_000]).chain(65_520..=u16::MAX)
    }

    #[test]
    fn ranges_that_touch_are_merged() {
        let set: PortSet = [8080, 80, 81, 8080, 83].into_iter().collect();
        assert_eq!(set.ranges(), [80..=81, 83..=83, 8080..=8080]);
        assert_eq!(PortSet::all().ranges(), [0..=u16::MAX]);
        #[allow(clippy::reversed_empty_ranges, reason = "an empty range is a value that a message can hold")]
        let empty = PortSet::range(81..=80);
        assert_eq!(empty, PortSet::none());
    }

    proptest! {
        #[test]
        fn operations_agree_with_logic_on_each_port(a in sets(), b in sets()) {
            for port in ports() {
                let (in_a, in_b) = (a.contains(port), b.contains(port));
                prop_assert_eq!(a.complement().contains(port), !in_a);
                prop_assert_eq!(a.union(&b).contains(port), in_a || in_b);
                prop_assert_eq!(a.intersection(&b).contains(port), in_a && in_b);
            }
        }

        #[test]
        fn equal_sets_have_equal_values(a in sets(), b in sets()) {
            prop_assert_eq!(a.complement().complement(), a.clone());
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert_eq!(a.union(&a.complement()), PortSet::all());
            prop_assert_eq!(a.intersection(&a.complement()), PortSet::none());
        }
    }
}
