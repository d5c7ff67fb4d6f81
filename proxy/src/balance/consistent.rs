//! Pure. Consistent hashing: a key maps to the same endpoint as long as that endpoint exists, and few keys move when
//! endpoints come and go.

use super::xxhash;
use std::net::SocketAddr;

/// A hash table of endpoints.
#[derive(Debug)]
pub enum Table {
    /// Points on a ring, sorted.
    Ring(Vec<(u64, usize)>),
    /// Maglev slots, indexed by the remainder of the hash.
    Slots(Vec<usize>),
}

impl Table {
    /// A ring of at least `min_size` points, divided by weight. Takes `(position, weight, address)` for each endpoint.
    pub fn ring(endpoints: &[(usize, u32, SocketAddr)], min_size: u64) -> Self {
        let sum: u64 = endpoints.iter().map(|(_, weight, _)| u64::from(*weight)).sum();
        let of_all = |weight: u32| f64::from(weight) / sum.max(1) as f64;
        let least = endpoints.iter().map(|(_, weight, _)| of_all(*weight)).fold(1.0, f64::min);
        // The lightest endpoint has a whole number of points; the others have as many times more as they weigh.
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

    /// A Maglev table. Endpoints fill it in turn, each in its own order of slots. The size should be prime.
    pub fn maglev(endpoints: &[(usize, u32, SocketAddr)], size: u64) -> Self {
        let size = size.clamp(1, MAX_SIZE) as usize;
        if endpoints.is_empty() {
            return Self::Slots(vec![]);
        }
        let heaviest = endpoints.iter().map(|(_, weight, _)| u64::from(*weight)).max().unwrap_or(1);
        let mut orders: Vec<Order> = endpoints.iter().map(|e| Order::new(e, size)).collect();
        // The table depends on the order of turns, which must not depend on the order of the configuration.
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

    /// The endpoint for a key's hash.
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
    /// The accumulated weight at which it takes its next slot.
    due: u64,
    at: usize,
    step: usize,
}

impl Order {
    fn new((position, weight, address): &(usize, u32, SocketAddr), size: usize) -> Self {
        let name = address.to_string();
        let at = (hash(name.as_bytes()) % size as u64) as usize;
        // With a prime size any step visits all slots. With an even size an even step would never fill the table.
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

/// A hash that is the same in every process and in Envoy.
pub fn hash(bytes: &[u8]) -> u64 {
    xxhash::hash(bytes, 0)
}

/// Envoy's limit on ring and table sizes.
const MAX_SIZE: u64 = 8 << 20;
