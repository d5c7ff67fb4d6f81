//! Pure. Chooses from a list of endpoints: round robin, random, or least request.

use std::cell::{Cell, RefCell};

/// Positions of endpoints, with weights.
#[derive(Debug)]
pub struct List {
    members: Vec<(usize, u32)>,
    /// Running sums of weights, only if weights differ.
    sums: Option<Vec<u64>>,
    cursor: Cell<usize>,
    /// Credit of each member in weighted round robin.
    credit: RefCell<Vec<i64>>,
}

impl List {
    /// A list whose round robin begins at `start`, so that proxies do not all begin at the same endpoint.
    pub fn new(members: Vec<(usize, u32)>, start: u32) -> Self {
        let even = members.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let sums = (!even).then(|| {
            members
                .iter()
                .scan(0u64, |sum, (_, weight)| {
                    *sum += u64::from(*weight);
                    Some(*sum)
                })
                .collect()
        });
        let cursor = Cell::new(if members.is_empty() { 0 } else { start as usize % members.len() });
        let credit = RefCell::new(vec![0; if even { 0 } else { members.len() }]);
        Self { members, sums, cursor, credit }
    }

    /// Round robin. Weighted turns are interleaved evenly.
    pub fn next(&self) -> Option<usize> {
        if self.members.is_empty() {
            return None;
        }
        if self.sums.is_none() {
            let at = self.cursor.get();
            self.cursor.set((at + 1) % self.members.len());
            return Some(self.members[at].0);
        }
        let mut credit = self.credit.borrow_mut();
        let total: i64 = self.members.iter().map(|(_, weight)| i64::from(*weight)).sum();
        credit.iter_mut().zip(&self.members).for_each(|(c, (_, weight))| *c += i64::from(*weight));
        let (at, _) = credit.iter().enumerate().max_by_key(|(i, c)| (**c, usize::MAX - i))?;
        credit[at] -= total;
        Some(self.members[at].0)
    }

    /// Weighted random choice.
    pub fn random(&self, random: u32) -> Option<usize> {
        self.draw(random).map(|at| self.members[at].0)
    }

    /// The least busy of `choices` random endpoints. An endpoint with twice the weight counts as half as busy.
    pub fn least_busy(
        &self,
        choices: u32,
        active: &dyn Fn(usize) -> u32,
        random: &dyn Fn() -> u32,
    ) -> Option<usize> {
        if let [(only, _)] = self.members[..] {
            return Some(only);
        }
        let mut best: Option<(usize, u64, u64)> = None;
        // More draws only see the same members again, and a configuration may ask for billions.
        let enough = u32::try_from(self.members.len()).unwrap_or(u32::MAX).saturating_mul(4);
        for _ in 0..choices.min(enough) {
            let (member, weight) = self.members[self.draw(random())?];
            let (busy, weight) = (u64::from(active(member)) + 1, u64::from(weight));
            if best.is_none_or(|(_, b, w)| busy * w < b * weight) {
                best = Some((member, busy, weight));
            }
        }
        best.map(|(member, ..)| member)
    }

    fn draw(&self, random: u32) -> Option<usize> {
        let count = self.members.len();
        match &self.sums {
            _ if count == 0 => None,
            None => Some(((u64::from(random) * count as u64) >> 32) as usize),
            Some(sums) => {
                let point = ((u128::from(random) * u128::from(*sums.last()?)) >> 32) as u64;
                Some(sums.partition_point(|sum| *sum <= point))
            }
        }
    }
}
