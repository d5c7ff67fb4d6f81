//! Pure. Chooses the endpoint for a request: by priority, then locality, then the cluster's policy. Chooses only
//! healthy endpoints, unless so few are healthy that all must share the load. Random numbers and loads are arguments.

pub mod consistent;
pub mod ejection;
pub mod list;
pub mod priority;

mod xxhash;

use crate::snapshot::cluster::{Endpoints, Group};
use api::model::cluster::Balancer as Policy;
use api::model::endpoint::Health;
use consistent::Table;
use list::List;

/// The inputs of a choice besides the endpoints.
pub struct PickContext<'a> {
    /// Number of active requests at an endpoint, by position.
    pub active: &'a dyn Fn(usize) -> u32,
    /// The key's hash for consistent hashing.
    pub hash: Option<u64>,
    /// Source of random numbers.
    pub random: &'a dyn Fn() -> u32,
}

/// A cluster's endpoints, prepared for balancing.
#[derive(Debug)]
pub struct Picker {
    policy: Policy,
    /// For each priority, its share of traffic in percent and its endpoints.
    priorities: Vec<(u32, Priority)>,
}

#[derive(Debug)]
struct Priority {
    /// Parallel to `places`: weights of the localities' healthy endpoints.
    weights: Vec<u32>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    list: List,
    table: Option<Table>,
}

impl Picker {
    /// Prepares endpoints. Those for which `usable` is false count as unhealthy.
    pub fn new(
        endpoints: &Endpoints,
        policy: Policy,
        panic_threshold: u32,
        usable: &dyn Fn(usize) -> bool,
        random: &dyn Fn() -> u32,
    ) -> Self {
        let healthy = |i: usize| endpoints.list[i].model.health == Health::Healthy && usable(i);
        let mut levels: Vec<u32> = endpoints.localities.iter().map(|g| g.priority).collect();
        levels.sort_unstable();
        levels.dedup();
        let groups = |level: u32| endpoints.localities.iter().filter(move |g| g.priority == level);
        let counts: Vec<(usize, usize)> = levels
            .iter()
            .map(|level| {
                let members = || groups(*level).flat_map(|g| g.members.clone());
                (members().filter(|i| healthy(*i)).count(), members().count())
            })
            .collect();
        let loads = priority::loads(&counts);
        let mut picker = Self { policy, priorities: vec![] };
        for ((level, load), (sound, total)) in levels.iter().zip(loads).zip(counts) {
            // Draining endpoints are not used even in panic mode: they are about to stop.
            let panic = priority::panics(sound, total, panic_threshold);
            let chosen =
                |i: &usize| healthy(*i) || (panic && endpoints.list[*i].model.health != Health::Draining);
            let groups: Vec<&Group> = groups(*level).collect();
            picker.priorities.push((load, picker.arrange(endpoints, &groups, &chosen, random)));
        }
        picker
    }

    fn arrange(
        &self,
        endpoints: &Endpoints,
        groups: &[&Group],
        chosen: &dyn Fn(&usize) -> bool,
        random: &dyn Fn() -> u32,
    ) -> Priority {
        let place = |members: Vec<usize>| {
            let members: Vec<(usize, u32)> =
                members.into_iter().map(|i| (i, endpoints.list[i].model.weight.max(1))).collect();
            let addresses =
                members.iter().map(|(i, w)| (*i, *w, endpoints.list[*i].address)).collect::<Vec<_>>();
            let table = match self.policy {
                Policy::RingHash { min_size } => Some(Table::ring(&addresses, min_size)),
                Policy::Maglev { table_size } => Some(Table::maglev(&addresses, table_size)),
                _ => None,
            };
            Place { list: List::new(members, random()), table }
        };
        let members = |group: &Group| group.members.clone().filter(|i| chosen(i)).collect::<Vec<usize>>();
        if groups.iter().all(|g| g.weight.is_none()) {
            let all = groups.iter().flat_map(|g| members(g)).collect();
            return Priority { weights: vec![1], places: vec![place(all)] };
        }
        let weigh = |group: &&Group| {
            priority::locality_weight(group.weight.unwrap_or(0), members(group).len(), group.members.len())
        };
        let weights = groups.iter().map(weigh).collect();
        Priority { weights, places: groups.iter().map(|g| place(members(g))).collect() }
    }

    /// The position of the endpoint for the next request; `None`: there is none.
    pub fn pick(&self, context: &PickContext<'_>) -> Option<usize> {
        let priority = match &self.priorities[..] {
            [] => return None,
            [(_, only)] => only,
            many => {
                let place = weighted(many.iter().map(|(load, _)| *load), (context.random)())?;
                &many[place].1
            }
        };
        let place = match &priority.places[..] {
            [only] => only,
            many => &many[weighted(priority.weights.iter().copied(), (context.random)())?],
        };
        match (&place.table, context.hash) {
            (Some(table), Some(hash)) => table.find(hash),
            (Some(table), None) => table.find(u64::from((context.random)()) << 32 | 1),
            (None, _) => self.by_policy(&place.list, context),
        }
    }

    fn by_policy(&self, list: &List, context: &PickContext<'_>) -> Option<usize> {
        match self.policy {
            Policy::LeastRequest { choices } => {
                list.least_busy(choices.max(1), context.active, context.random)
            }
            Policy::Random => list.random((context.random)()),
            Policy::RoundRobin | Policy::Provided | Policy::RingHash { .. } | Policy::Maglev { .. } => {
                list.next()
            }
        }
    }
}

/// A healthy endpoint of the same priority as `like` that is not excluded. Used for a retry when the balancer keeps
/// choosing the endpoint that just failed: one that refuses all connections is always the least busy.
pub fn another(
    endpoints: &Endpoints,
    like: usize,
    excluded: &dyn Fn(usize) -> bool,
    random: u32,
) -> Option<usize> {
    let priority = endpoints.localities.iter().find(|g| g.members.contains(&like))?.priority;
    let groups = endpoints.localities.iter().filter(|g| g.priority == priority);
    let healthy = |i: &usize| endpoints.list[*i].model.health == Health::Healthy && !excluded(*i);
    let others: Vec<usize> = groups.flat_map(|g| g.members.clone()).filter(healthy).collect();
    let at = (u64::from(random) * others.len() as u64) >> 32;
    others.get(at as usize).copied()
}

/// A random position by weight; `None`: all weights are zero.
fn weighted(weights: impl Iterator<Item = u32> + Clone, random: u32) -> Option<usize> {
    let sum: u64 = weights.clone().map(u64::from).sum();
    let mut point = u64::from(random).checked_rem(sum)?;
    for (i, weight) in weights.enumerate() {
        match point.checked_sub(weight.into()) {
            Some(rest) => point = rest,
            None => return Some(i),
        }
    }
    None
}

#[cfg(test)]
mod tests;
