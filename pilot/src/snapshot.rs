//! One immutable view of the configuration, as all proxies are served from it.

use crate::catalog::visibility::Labels;
use crate::catalog::{Catalog, Item};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// A catalog with its place in time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What is in force.
    pub catalog: Arc<Catalog>,
    /// Counts up with each change.
    pub generation: u64,
    /// When the change was seen.
    pub made: Instant,
    /// Labels by which objects select proxies, so that those of one namespace may differ: values by name.
    selected: BTreeMap<String, BTreeSet<String>>,
}

impl Snapshot {
    /// The view of a catalog that was in force from `made` on.
    pub fn new(catalog: Arc<Catalog>, generation: u64, made: Instant) -> Self {
        let selected = selected(&catalog);
        Self { catalog, generation, made, selected }
    }

    /// Whether some object selects proxies by this label.
    pub fn selects_by(&self, name: &str, value: &str) -> bool {
        self.selected.get(name).is_some_and(|values| values.contains(value))
    }

    /// The version that status pages show.
    pub fn version(&self) -> String {
        self.generation.to_string()
    }
}

fn selected(catalog: &Catalog) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, item) in catalog.items() {
        let selectors: Vec<&Labels> = match item {
            Item::Routes(set) => {
                let http = set.http.iter().flat_map(|r| &r.matches).map(|m| &m.source.labels);
                let tls = set.tls.iter().flat_map(|r| &r.matches).map(|m| &m.source.labels);
                let tcp = set.tcp.iter().flat_map(|r| &r.matches).map(|m| &m.source.labels);
                http.chain(tls).chain(tcp).collect()
            }
            Item::Sidecar(sidecar) => sidecar.selector.iter().collect(),
            Item::Gateway(gateway) => vec![&gateway.selector],
            _ => vec![],
        };
        for (name, value) in selectors.into_iter().flatten() {
            found.entry(name.clone()).or_default().insert(value.clone());
        }
    }
    found
}
