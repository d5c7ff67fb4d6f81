//! An immutable view of the configuration, which all proxies are served from.

use crate::catalog::Catalog;
use std::sync::Arc;
use std::time::Instant;

/// A catalog with its generation and time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The configuration in force.
    pub catalog: Arc<Catalog>,
    /// The generation; increases with each change.
    pub generation: u64,
    /// When the change was observed.
    pub observed: Instant,
}

impl Snapshot {
    /// Creates the snapshot of a catalog whose change was observed at `observed`.
    pub fn new(catalog: Arc<Catalog>, generation: u64, observed: Instant) -> Self {
        Self { catalog, generation, observed }
    }

    /// Whether an object selects proxies by this label.
    pub fn selects_by(&self, name: &str, value: &str) -> bool {
        self.catalog.selects_by(name, value)
    }

    /// The version that debug pages show.
    pub fn version(&self) -> String {
        self.generation.to_string()
    }
}
