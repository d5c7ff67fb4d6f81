//! A worker thread's metrics, random numbers and clock: all that upstreams need of the thread.

use crate::telemetry::Sink;
use std::cell::Cell;
use std::hash::BuildHasher;
use std::time::Instant;

/// Metrics, random numbers and coarse clock of one thread.
pub(super) struct Local {
    pub(super) telemetry: Sink,
    random: Cell<u64>,
    /// Updated by the ticker, for uses that need no exact time.
    coarse: Cell<Instant>,
}

impl Local {
    pub(super) fn new(telemetry: Sink, now: Instant) -> Self {
        let random = Cell::new(std::hash::RandomState::new().hash_one(0));
        Self { telemetry, random, coarse: Cell::new(now) }
    }

    /// A random number, good enough for balancing, but not for secrets.
    pub(super) fn random(&self) -> u32 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }

    /// The time, at most one tick late.
    pub(super) fn coarse(&self) -> Instant {
        self.coarse.get()
    }

    /// Updates the coarse clock.
    pub(super) fn tick(&self, now: Instant) {
        self.coarse.set(now);
    }
}
