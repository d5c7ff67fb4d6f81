//! Pure. Encoded resources by their versions, so that what is equal for proxies of several groups is one allocation.
//!
//! Who encodes waits for others only where both have bodies of the same shard.

use api::xds::table::Offered;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// Bodies that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    shards: [RwLock<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    by_version: HashMap<u64, Weak<[u8]>>,
    /// Entries that make it look for those that nobody holds any more.
    limit: usize,
}

impl Bodies {
    /// The same resource, with the bytes of an equal one where there is one.
    pub(super) fn share(&self, offered: Offered) -> Offered {
        let at = offered.version as usize % SHARDS;
        let mut shard = self.shards[at].write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.by_version.get(&offered.version).and_then(Weak::upgrade)
            && entry == offered.entry
        {
            return Offered { entry, ..offered };
        }
        shard.by_version.insert(offered.version, Arc::downgrade(&offered.entry));
        if shard.by_version.len() > shard.limit {
            shard.tidy();
        }
        offered
    }

    /// Forgets those that nobody holds any more.
    pub(super) fn tidy(&self) {
        for shard in &self.shards {
            shard.write().unwrap_or_else(PoisonError::into_inner).tidy();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().by_version.len()).sum()
    }
}

impl Shard {
    fn tidy(&mut self) {
        self.by_version.retain(|_, body| body.strong_count() > 0);
        self.limit = (2 * self.by_version.len()).max(FEW);
        self.by_version.shrink_to(self.limit);
    }
}

const SHARDS: usize = 16;
/// Bodies of a shard for which no look is worth it.
const FEW: usize = 64;
