//! Pure. Consistent hashing: the same key finds the same endpoint while that one is there, and few keys move when
//! endpoints come and go.

use super::xxhash;
use std::net::SocketAddr;

/// Endpoints by hash.
#[derive(Debug)]
pub enum Table {
    /// Points on a ring, sorted.
    Ring(Vec<(u64, usize)>),
    /// A slot for each remainder.
    Slots(Vec<usize>),
}

impl Table {
    /// A ring of at least `min_size` points, shared by weight. `(position, weight, address)` for each endpoint.
    pub fn ring(endpoints: &[(usize, u32, SocketAddr)], min_size: u64) -> Self {
        let sum: u64 = endpoints.iter().map(|(_, weight, _)| u64::from(*weight)).sum();
        let of_all = |weight: u32| f64::from(weight) / sum.max(1) as f64;
        let least = endpoints.iter().map(|(_, weight, _)| of_all(*weight)).fold(1.0, f64::min);
        // The lightest endpoint has a whole number of points, and the others as many times more as they weigh.
        let wanted = min_size.clamp(1, MAX_SIZE) as f64;
        let scale = if least > 0.0 { ((least * wanted).ceil() / least).min(MAX_SIZE as f64) } else { wanted };
        let (mut points, mut due) = (vec![], 0.0);
        for (position, weight, address) in endpoints {
            due += scale * of_all(*weight);
            let name = address.to_string();
            for number in 0.. {
                if points.len() as f64 >= due {
                    break;
                }
                points.push((hash(format!("{name}_{number}").as_bytes()), *position));
            }
        }
        points.sort_unstable();
        Self::Ring(points)
    }

    /// A table whose size is a prime, filled in turn by each endpoint's own order of slots.
    pub fn maglev(endpoints: &[(usize, u32, SocketAddr)], size: u64) -> Self {
        let size = size.clamp(1, MAX_SIZE) as usize;
        if endpoints.is_empty() {
            return Self::Slots(vec![]);
        }
        let heaviest = endpoints.iter().map(|(_, weight, _)| u64::from(*weight)).max().unwrap_or(1);
        let mut orders: Vec<Order> = endpoints.iter().map(|e| Order::new(e, size)).collect();
        // The table depends on the order in which endpoints take turns, which must not be that of the configuration.
        orders.sort_by(|a, b| a.name.cmp(&b.name));
        let mut slots = vec![usize::MAX; size];
        let (mut filled, mut turn) = (0, 0);
        while filled < size {
            turn += 1;
            for order in &mut orders {
                if turn * order.weight < order.due || filled == size {
                    continue;
                }
                order.due += heaviest;
                let slot = (0..size).map(|_| order.next_slot(size)).find(|s| slots[*s] == usize::MAX);
                if let Some(slot) = slot {
                    slots[slot] = order.position;
                    filled += 1;
                }
            }
        }
        Self::Slots(slots)
    }

    /// The endpoint of a key.
    pub fn find(&self, hash: u64) -> Option<usize> {
        match self {
            Self::Ring(points) => {
                let at = points.partition_point(|(point, _)| *point < hash);
                points.get(at).or_else(|| points.first()).map(|(_, position)| *position)
            }
            Self::Slots(slots) => slots.get((hash % slots.len().max(1) as u64) as usize).copied(),
        }
    }
}

struct Order {
    name: String,
    position: usize,
    weight: u64,
    /// By how much its weight must have grown, turn by turn, before it takes the next slot.
    due: u64,
    at: usize,
    step: usize,
}

impl Order {
    fn new((position, weight, address): &(usize, u32, SocketAddr), size: usize) -> Self {
        let name = address.to_string();
        let at = (hash(name.as_bytes()) % size as u64) as usize;
        // Any step visits all slots only when the size is prime; an even table would never fill with an even step.
        let step = if is_prime(size) {
            (xxhash::hash(name.as_bytes(), 1) % (size as u64 - 1).max(1)) as usize + 1
        } else {
            1
        };
        Self { name, position: *position, weight: u64::from(*weight).max(1), due: 0, at, step }
    }

    fn next_slot(&mut self, size: usize) -> usize {
        let slot = self.at;
        self.at = (self.at + self.step) % size;
        slot
    }
}

fn is_prime(number: usize) -> bool {
    number > 1 && (2..=number.isqrt()).all(|d| !number.is_multiple_of(d))
}

/// A hash that is the same in every process, and in Envoy.
pub fn hash(bytes: &[u8]) -> u64 {
    xxhash::hash(bytes, 0)
}

/// Envoy's bound on ring and table sizes.
const MAX_SIZE: u64 = 8 << 20;
