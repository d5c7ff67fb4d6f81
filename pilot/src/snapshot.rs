//! An immutable view of the configuration, which all proxies are served from.

use crate::catalog::Catalog;
use crate::catalog::gateway::Gateway;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The labels by which objects select proxies, as values by name. Proxies of a namespace that differ in them may
    /// get different configuration.
    selected: BTreeMap<String, BTreeSet<String>>,
}

impl Snapshot {
    /// Creates the snapshot of a catalog whose change was observed at `observed`.
    pub fn new(catalog: Arc<Catalog>, generation: u64, observed: Instant) -> Self {
        let selected = selected(&catalog);
        Self { catalog, generation, observed, selected }
    }

    /// Whether an object selects proxies by this label.
    pub fn selects_by(&self, name: &str, value: &str) -> bool {
        self.selected.get(name).is_some_and(|values| values.contains(value))
    }

    /// The version that debug pages show.
    pub fn version(&self) -> String {
        self.generation.to_string()
    }
}

fn selected(catalog: &Catalog) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Ingresses select gateways by the Gateways that they are converted to.
    let gateways = catalog.list::<Gateway>();
    let gateways = gateways.iter().map(|gateway| &gateway.selector);
    let written = catalog.items().flat_map(|(_, item)| item.selectors());
    for (name, value) in written.chain(gateways).flatten() {
        found.entry(name.clone()).or_default().insert(value.clone());
    }
    found
}
