//! Pure. Encoded resources by version, so that equal resources of proxies in different groups share one allocation.
//!
//! The table is sharded: threads that encode contend only for the same shard.

use api::xds::table::Offered;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// Encoded bodies that are in use.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    shards: [RwLock<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    by_version: HashMap<u64, Weak<[u8]>>,
    /// The number of entries at which unused bodies are removed.
    limit: usize,
}

impl Bodies {
    /// Returns the resource with the shared bytes of an equal one, if there is any.
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

    /// Removes the bodies that are no longer in use.
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
/// A shard with fewer bodies than this is not searched for unused ones.
const FEW: usize = 64;
