//! Pure. Chooses the endpoint for a request: by priority, then locality, then the cluster's policy. Chooses only
//! healthy endpoints, and degraded ones where these do not suffice, unless so few are available that all must share the
//! load. Random numbers and loads are arguments.

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
use priority::Count;

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
    /// The endpoints that share the traffic, with their shares in percent: of each priority the healthy ones, then the
    /// degraded ones.
    shares: Vec<(u32, Members)>,
}

#[derive(Debug)]
struct Members {
    /// Parallel to `places`: weights of the localities' endpoints.
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
        let is = |health: Health, i: usize| endpoints.list[i].model.health == health && usable(i);
        let mut levels: Vec<u32> = endpoints.localities.iter().map(|g| g.priority).collect();
        levels.sort_unstable();
        levels.dedup();
        let groups = |level: u32| endpoints.localities.iter().filter(move |g| g.priority == level);
        let counts: Vec<Count> = levels
            .iter()
            .map(|level| {
                let members = || groups(*level).flat_map(|g| g.members.clone());
                let count = |health| members().filter(|i| is(health, *i)).count();
                Count {
                    healthy: count(Health::Healthy),
                    degraded: count(Health::Degraded),
                    total: members().count(),
                }
            })
            .collect();
        let mut picker = Self { policy, shares: vec![] };
        for (level, load) in levels.iter().zip(priority::loads(&counts, panic_threshold)) {
            let groups: Vec<&Group> = groups(*level).collect();
            let mut share = |part: u32, chosen: &dyn Fn(&usize) -> bool| {
                if part > 0 {
                    picker.shares.push((part, picker.arrange(endpoints, &groups, chosen, random)));
                }
            };
            if load.panics {
                // Draining endpoints are not used even in panic mode: they are about to stop.
                let chosen = |i: &usize| endpoints.list[*i].model.health != Health::Draining;
                share(load.healthy + load.degraded, &chosen);
            } else {
                share(load.healthy, &|i| is(Health::Healthy, *i));
                share(load.degraded, &|i| is(Health::Degraded, *i));
            }
        }
        picker
    }

    fn arrange(
        &self,
        endpoints: &Endpoints,
        groups: &[&Group],
        chosen: &dyn Fn(&usize) -> bool,
        random: &dyn Fn() -> u32,
    ) -> Members {
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
            return Members { weights: vec![1], places: vec![place(all)] };
        }
        let weigh = |group: &&Group| {
            priority::locality_weight(group.weight.unwrap_or(0), members(group).len(), group.members.len())
        };
        let weights = groups.iter().map(weigh).collect();
        Members { weights, places: groups.iter().map(|g| place(members(g))).collect() }
    }

    /// The position of the endpoint for the next request; `None`: there is none.
    pub fn pick(&self, context: &PickContext<'_>) -> Option<usize> {
        let members = match &self.shares[..] {
            [] => return None,
            [(_, only)] => only,
            many => {
                let place = weighted(many.iter().map(|(part, _)| *part), (context.random)())?;
                &many[place].1
            }
        };
        let place = match &members.places[..] {
            [only] => only,
            many => &many[weighted(members.weights.iter().copied(), (context.random)())?],
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

/// A healthy endpoint of the same priority as `like` that is not excluded, or a degraded one if there is none. Used for
/// a retry when the balancer keeps choosing the endpoint that just failed: one that refuses all connections is always
/// the least busy.
pub fn another(
    endpoints: &Endpoints,
    like: usize,
    excluded: &dyn Fn(usize) -> bool,
    random: u32,
) -> Option<usize> {
    let priority = endpoints.localities.iter().find(|g| g.members.contains(&like))?.priority;
    let groups = || endpoints.localities.iter().filter(|g| g.priority == priority);
    let one_of = |health: Health| {
        let is = |i: &usize| endpoints.list[*i].model.health == health && !excluded(*i);
        let others: Vec<usize> = groups().flat_map(|g| g.members.clone()).filter(is).collect();
        let at = (u64::from(random) * others.len() as u64) >> 32;
        others.get(at as usize).copied()
    };
    one_of(Health::Healthy).or_else(|| one_of(Health::Degraded))
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
