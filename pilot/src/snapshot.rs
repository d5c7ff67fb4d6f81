//! One immutable view of the configuration, as all proxies are served from it.

use crate::catalog::Catalog;
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
    /// Some route depends on the labels of its caller, so that proxies of one namespace may differ.
    pub routes_look_at_labels: bool,
}

impl Snapshot {
    /// The view of a catalog that was in force from `made` on.
    pub fn new(catalog: Arc<Catalog>, generation: u64, made: Instant) -> Self {
        let routes_look_at_labels = looks_at_labels(&catalog);
        Self { catalog, generation, made, routes_look_at_labels }
    }

    /// The version that status pages show.
    pub fn version(&self) -> String {
        self.generation.to_string()
    }
}

fn looks_at_labels(catalog: &Catalog) -> bool {
    use crate::catalog::Item;
    catalog.items().any(|(_, item)| match item {
        Item::Routes(set) => {
            set.http.iter().flat_map(|r| &r.matches).any(|m| !m.source.labels.is_empty())
                || set.tls.iter().flat_map(|r| &r.matches).any(|m| !m.source.labels.is_empty())
                || set.tcp.iter().flat_map(|r| &r.matches).any(|m| !m.source.labels.is_empty())
        }
        Item::Sidecar(sidecar) => sidecar.selector.is_some(),
        _ => false,
    })
}
