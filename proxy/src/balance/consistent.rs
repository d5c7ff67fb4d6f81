//! Pure. Consistent hashing: the same key finds the same endpoint while that one is there, and few keys move when
//! endpoints come and go.

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
        let size = min_size.clamp(1, MAX_SIZE);
        let mut points = vec![];
        for (position, weight, address) in endpoints {
            let share = (size * u64::from(*weight)).div_ceil(sum.max(1)).max(1);
            let name = address.to_string();
            points.extend((0..share).map(|n| (hash(format!("{name}_{n}").as_bytes()), *position)));
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
        let heaviest = endpoints.iter().map(|(_, weight, _)| *weight).max().unwrap_or(1);
        let mut orders: Vec<Order> = endpoints.iter().map(|e| Order::new(e, size, heaviest)).collect();
        let mut slots = vec![usize::MAX; size];
        let mut filled = 0;
        while filled < size {
            for order in &mut orders {
                order.credit += order.weight;
                if order.credit < 1.0 || filled == size {
                    continue;
                }
                order.credit -= 1.0;
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
    position: usize,
    weight: f64,
    credit: f64,
    at: usize,
    step: usize,
}

impl Order {
    fn new((position, weight, address): &(usize, u32, SocketAddr), size: usize, heaviest: u32) -> Self {
        let name = address.to_string();
        let offset = hash(name.as_bytes()) as usize % size;
        // Any step visits all slots only when the size is prime; an even table would never fill with an even step.
        let step = if is_prime(size) {
            hash(format!("{name}#").as_bytes()) as usize % (size - 1).max(1) + 1
        } else {
            1
        };
        Self {
            position: *position,
            weight: f64::from(*weight) / f64::from(heaviest.max(1)),
            credit: 0.0,
            at: offset,
            step,
        }
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

/// A hash that is the same in every process (FNV-1a, mixed).
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Envoy's bound on ring and table sizes.
const MAX_SIZE: u64 = 8 << 20;
